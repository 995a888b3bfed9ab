//! PostgreSQL, which is started for the example where nobody names one.

use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use sqlx::AnyPool;
use tokio::time::sleep;

use crate::{bank, sqlite::Folder};

/// One that is started for the example, and ends with it.
pub(crate) struct Postgres {
    pub(crate) pool: AnyPool,
    _server: Server,
}

impl Postgres {
    /// The error says what is missing.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut server = Server::start()?;
        let pool = server.connect().await?;
        Ok(Self { pool, _server: server })
    }
}

/// A PostgreSQL on a socket in a folder of its own. Both go with it.
struct Server {
    process: Child,
    programs: Programs,
    folder: Folder,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let folder = Folder::new("postgres")?;
        let mut programs = Programs { folder: installed()?, user: None };
        // It refuses to run as root, and then it runs as `nobody`.
        if fs::metadata(&folder.0)?.uid() == 0 {
            const NOBODY: u32 = 65534;
            chown(&folder.0, Some(NOBODY), Some(NOBODY))?;
            programs.user = Some(NOBODY);
        }
        let mut initdb = programs.command("initdb", &folder.0);
        let made = initdb.args(["--auth=trust", "--username=postgres", "--no-sync"]).output();
        let made = made.context("initdb cannot be run")?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            bail!("initdb: {}", said.lines().next().unwrap_or_default());
        }
        let mut postgres = programs.command("postgres", &folder.0);
        // No port, and nothing that is safe from a power failure.
        postgres.args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(&folder.0);
        let process = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { process, programs, folder })
    }

    /// As soon as it answers.
    async fn connect(&mut self) -> anyhow::Result<AnyPool> {
        let url = format!("postgres:///postgres?user=postgres&host={}", self.folder.0.display());
        for _ in 0..200 {
            if let Some(status) = self.process.try_wait()? {
                bail!("it did not start: {status}");
            }
            match bank::connect(&url).await {
                Ok(pool) => return Ok(pool),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
        bail!("it was started, and does not answer")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.programs.command("pg_ctl", &self.folder.0);
        let stopped = stop.args(["stop", "-m", "immediate"]).output();
        if !stopped.is_ok_and(|stopped| stopped.status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// The programs of an installed PostgreSQL.
struct Programs {
    folder: PathBuf,
    /// Who runs them, if it is somebody else.
    user: Option<u32>,
}

impl Programs {
    fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.current_dir(folder).arg("-D").arg(folder.join("data"));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// Where they are: in the PATH, else where Debian has them.
pub(crate) fn installed() -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let has = |folder: &PathBuf| {
        ["initdb", "postgres", "pg_ctl"].iter().all(|name| folder.join(name).exists())
    };
    folders.into_iter().find(has).context(
        "it is not installed (`initdb`, `postgres` and `pg_ctl`), and no DATABASE_URL names one",
    )
}
