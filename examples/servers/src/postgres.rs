use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{Folder, watch::Watch};

/// A PostgreSQL with an empty database.
#[derive(Debug)]
pub struct Postgres {
    process: Child,
    watch: Option<Watch>,
    programs: Programs,
    folder: Folder,
}

impl Postgres {
    /// As soon as it answers, with these settings beside its defaults (`fsync=off`).
    ///
    /// # Errors
    ///
    /// Says what is missing, or what it did not like.
    pub fn start(settings: &[&str]) -> anyhow::Result<Self> {
        let folder = Folder::new("postgres")?;
        let mut programs = Programs { folder: installed()?, user: None };
        // It refuses to run as root, and then it runs as `nobody`.
        if fs::metadata(folder.path())?.uid() == 0 {
            const NOBODY: u32 = 65534;
            chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
            programs.user = Some(NOBODY);
        }
        let mut initdb = programs.in_data("initdb", folder.path());
        let made = initdb
            .args(["--auth=trust", "--username=postgres", "--locale=C", "--no-sync"])
            .output();
        let made = made.context("initdb cannot be run")?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            bail!("initdb: {}", said.lines().next().unwrap_or_default());
        }
        let mut postgres = programs.in_data("postgres", folder.path());
        postgres.args(["-c", "listen_addresses=", "-k"]).arg(folder.path());
        postgres.args(settings.iter().flat_map(|setting| ["-c", setting]));
        // Not in the group of the terminal: a Ctrl-C is for the example, which stops it in the end.
        postgres.process_group(0);
        let process = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let watch = Watch::over(&process, folder.path()).ok();
        let mut server = Self { process, watch, programs, folder };
        server.answers()?;
        Ok(server)
    }

    fn answers(&mut self) -> anyhow::Result<()> {
        for _ in 0..200 {
            if let Some(status) = self.process.try_wait()? {
                bail!("PostgreSQL did not start: {status}");
            }
            let mut ready = self.programs.command("pg_isready", self.folder.path());
            if ready.arg("-q").arg("-h").arg(self.folder.path()).status()?.success() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("PostgreSQL was started, and does not answer")
    }

    /// For a `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// That of another database in it.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres:///{database}?user=postgres&host={}", self.folder.path().display())
    }

    /// Whether there is one to start.
    #[must_use]
    pub fn is_installed() -> bool {
        installed().is_ok()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.watch = None;
        let mut stop = self.programs.in_data("pg_ctl", self.folder.path());
        let stopped = stop.args(["stop", "-m", "immediate"]).output();
        if !stopped.is_ok_and(|stopped| stopped.status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// The programs of an installed PostgreSQL.
#[derive(Debug)]
struct Programs {
    folder: PathBuf,
    /// Who runs them, if it is somebody else.
    user: Option<u32>,
}

impl Programs {
    fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.current_dir(folder);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn in_data(&self, program: &str, folder: &Path) -> Command {
        let mut command = self.command(program, folder);
        command.arg("-D").arg(folder.join("data"));
        command
    }
}

/// Where they are: in the PATH, else where Debian has them.
fn installed() -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let has = |folder: &PathBuf| {
        let programs = ["initdb", "postgres", "pg_ctl", "pg_isready"];
        programs.iter().all(|name| folder.join(name).exists())
    };
    folders.into_iter().find(has).context(
        "PostgreSQL is not installed (`initdb`, `postgres`, `pg_ctl` and `pg_isready`), and no \
         DATABASE_URL names one",
    )
}
