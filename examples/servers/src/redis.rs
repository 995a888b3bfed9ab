use std::{
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Folder, watch::Watch};

/// A Redis that can be stopped, and started again at the same place, with nothing in it.
#[derive(Debug)]
pub struct Redis {
    folder: Folder,
    process: Option<Child>,
    watch: Option<Watch>,
}

impl Redis {
    /// As soon as it answers.
    ///
    /// # Errors
    ///
    /// Says what is missing.
    pub fn start() -> io::Result<Self> {
        let mut server = Self { folder: Folder::new("redis")?, process: None, watch: None };
        server.start_again()?;
        Ok(server)
    }

    /// If it does not run.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_again(&mut self) -> io::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let socket = self.socket();
        // That of one which was killed.
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""]);
        command.current_dir(self.folder.path()).stdout(Stdio::null());
        // Not in the group of the terminal: a Ctrl-C is for the example, which stops it in the end.
        command.process_group(0);
        let process = command.spawn().map_err(|_| {
            io::Error::other("no `redis-server` here; install it, or name a Redis in LARDER_URL")
        })?;
        self.watch = Watch::over(&process, self.folder.path()).ok();
        let process = self.process.insert(process);
        while !socket.exists() {
            if let Some(status) = process.try_wait()? {
                return Err(io::Error::other(format!("`redis-server` did not start: {status}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// For a `LARDER_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Whether there is a process, which may hang.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// As an operator does, by SIGTERM.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        // One that hangs would not hear of it.
        self.signal(Signal::CONT);
        self.wait();
    }

    /// By SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// It answers nobody, and closes no connection, until it is woken.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on.
    pub fn wake(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            let _ = kill_process(Pid::from_child(process), signal);
        }
    }

    fn wait(&mut self) {
        self.watch = None;
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
