//! A real `redis-server` for a test: on a free port or a socket of its own, gone with the test.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    fmt, fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread::sleep,
    time::{Duration, Instant},
};

/// A server that runs until it is dropped.
pub(crate) struct RedisServer {
    place: Place,
    /// Where it would save what it has; removed with the server.
    dir: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    /// Ends the server when this process is killed: its standard input closes then.
    watch: Option<Child>,
}

#[derive(Clone)]
enum Place {
    Port(u16),
    Socket(PathBuf),
}

/// How long a server may take to answer its first PING.
const PATIENCE: Duration = Duration::from_secs(10);

impl RedisServer {
    /// On a free port of this machine, with nothing saved.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// As `start`, with further arguments: `["--maxmemory", "1mb"]`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let mut server = Self::new(Place::Port(free_port()), arguments);
            if server.spawn().is_ok() {
                return server;
            }
        }
        panic!("no redis-server came up on a free port with {arguments:?}");
    }

    /// On a socket of the file system.
    pub(crate) fn start_on_socket() -> Self {
        let mut server = Self::new(Place::Port(0), &[]);
        server.place = Place::Socket(server.dir.join("redis.sock"));
        server.spawn().unwrap();
        server
    }

    fn new(place: Place, arguments: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("redis-{}-{}", std::process::id(), STARTED.fetch_add(1, Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { place, dir, arguments, child: None, watch: None }
    }

    /// Starts the process, and waits until it answers.
    fn spawn(&mut self) -> io::Result<()> {
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&self.dir);
        match &self.place {
            Place::Port(port) => {
                command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
            }
            Place::Socket(path) => {
                command.args(["--port", "0", "--unixsocket"]).arg(path);
            }
        }
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = match command.spawn() {
            Ok(child) => Some(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("this test needs `redis-server` in the PATH; install Redis")
            }
            Err(error) => panic!("`redis-server` does not start: {error}"),
        };
        self.watch = Some(self.watch());
        let started = Instant::now();
        while !self.answers() {
            let child = self.child.as_mut().unwrap();
            if child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                self.kill();
                return Err(io::Error::other("redis-server gave up"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn watch(&self) -> Child {
        let pid = self.child.as_ref().unwrap().id().to_string();
        Command::new("sh")
            .args(["-c", r#"cat >/dev/null; kill -9 "$1"; rm -rf "$2""#, "sh", &pid])
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Whether it is this server that answers at its place.
    fn answers(&self) -> bool {
        let pid = format!("process_id:{}\r", self.child.as_ref().unwrap().id());
        let info = self.try_command(&["INFO", "server"], Duration::from_millis(500));
        // One that wants a password does not say.
        info.is_ok_and(|info| info.contains(&pid) || info.contains("NOAUTH"))
    }

    /// What a cache is configured with.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Port(port) => format!("redis://127.0.0.1:{port}/0"),
            Place::Socket(path) => format!("unix://{}", path.display()),
        }
    }

    /// Of a server on a port.
    pub(crate) fn port(&self) -> u16 {
        match &self.place {
            Place::Port(port) => *port,
            Place::Socket(path) => panic!("{} is no port", path.display()),
        }
    }

    /// Where it keeps its files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        // In this order: another process may get the number of one that has ended.
        for mut child in self.watch.take().into_iter().chain(self.child.take()) {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// A new server in the place of the old one, with what that one had saved.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.spawn().unwrap();
    }

    /// As `restart`, with the dump of `dir` for data.
    pub(crate) fn restart_with_data_of(&mut self, dir: &Path) {
        self.kill();
        fs::copy(dir.join("dump.rdb"), self.dir.join("dump.rdb")).unwrap();
        self.spawn().unwrap();
    }

    /// From now on it has its connections and answers nothing.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    /// Goes on after `hang`.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id();
        // The shell has one of its own; the program may not be installed.
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
        assert!(sent.unwrap().success());
    }

    /// Sends a command on a connection of its own. The reply is flat: an error begins with `-`,
    /// the elements of an array are lines, a missing value is `(nil)`.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.try_command(words, PATIENCE).unwrap()
    }

    fn try_command(&self, words: &[&str], patience: Duration) -> io::Result<String> {
        match &self.place {
            Place::Port(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(patience))?;
                exchange(stream, words)
            }
            Place::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                exchange(stream, words)
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        // What is left in the directory of temporary files does not fail a test.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

/// A port that nobody listens on. Not one of those that the system gives to connections: it would
/// be taken while a server is down.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 10_000 + (random % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn exchange(mut stream: impl Read + Write, words: &[&str]) -> io::Result<String> {
    write!(stream, "*{}\r\n", words.len())?;
    for word in words {
        write!(stream, "${}\r\n{word}\r\n", word.len())?;
    }
    let mut lines = Vec::new();
    read_reply(&mut BufReader::new(stream), &mut lines)?;
    Ok(lines.join("\n"))
}

fn read_reply(stream: &mut impl BufRead, lines: &mut Vec<String>) -> io::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let Some(kind) = line.chars().next() else {
        return Err(ErrorKind::UnexpectedEof.into());
    };
    let rest = &line[1..];
    match (kind, rest.parse::<usize>()) {
        ('+' | ':', _) => lines.push(rest.to_owned()),
        ('$', Ok(length)) => {
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes)?;
            lines.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
        ('*', Ok(count)) => (0..count).try_for_each(|_| read_reply(stream, lines))?,
        ('$' | '*', Err(_)) => lines.push("(nil)".to_owned()),
        _ => lines.push(line.to_owned()),
    }
    Ok(())
}
