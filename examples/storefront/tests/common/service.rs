//! The service itself, as anybody would start it: a process, which ends with its handle.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long it may take to start or to end, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Service {
    process: Child,
    /// A database, that is.
    has_its_own: bool,
    /// What it prints, line by line.
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) database_url: String,
    /// Empty if it has no Redis.
    pub(crate) redis_url: String,
}

impl Service {
    /// As soon as it can be asked. An URL that is empty is none.
    pub(crate) fn start(options: &[&str], database_url: &str, redis_url: &str) -> Self {
        let mut process = command(options, database_url, redis_url).spawn().unwrap();
        let lines = lines(process.stdout.take().unwrap());
        // From here on it ends with its handle.
        let mut service = Self {
            process,
            has_its_own: database_url.is_empty(),
            lines,
            address: ([127, 0, 0, 1], 0).into(),
            database_url: String::new(),
            redis_url: String::new(),
        };
        let url = service.line();
        service.address = url.strip_prefix("http://").and_then(|at| at.parse().ok()).expect(&url);
        let urls = service.line();
        let mut quoted = urls.split('\'').skip(1).step_by(2).map(str::to_owned);
        service.database_url = quoted.next().expect(&urls);
        service.redis_url = quoted.next().expect(&urls);
        service
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the service says nothing")
    }

    /// It answers nobody, and closes no connection.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// As a supervisor does.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// By SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.process.wait();
    }

    /// How it ended, after it was told to; and what it has said since it was started.
    pub(crate) fn ended(&mut self) -> (ExitStatus, Vec<String>) {
        let status = self.wait().expect("the service does not end");
        // The other end of its output is closed by now.
        (status, self.lines.iter().collect())
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.process), signal);
    }
}

/// What a process says, as it says it.
pub(crate) fn lines(said: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        // To the end also if nobody listens, as the pipe would be full.
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Builds what starts it, with nothing of the environment of the test.
pub(crate) fn command(options: &[&str], database_url: &str, redis_url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storefront"));
    command.args(options).env("DATABASE_URL", database_url).env("LARDER_URL", redis_url);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Drop for Service {
    fn drop(&mut self) {
        // What it has started or made for itself is gone with it only if it may end.
        if self.has_its_own {
            self.terminate();
            let _ = self.wait();
        }
        self.kill();
    }
}
