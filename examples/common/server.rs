//! The Redis of an example.

use std::{
    env, fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// The Redis that `LARDER_URL` names (`redis://localhost`), else one of the example's own, on a
/// socket in its folder.
pub(crate) struct Server {
    pub(crate) url: String,
    /// A folder for whatever the example needs. It is deleted at the end.
    pub(crate) folder: PathBuf,
    /// Where the example has started it; it ends with the example.
    pub(crate) process: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("larder-example-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let url = env::var("LARDER_URL").unwrap_or_default();
        let mut server = Self { url, folder, process: None };
        if !server.url.is_empty() {
            return Ok(server);
        }
        let socket = server.folder.join("redis.sock");
        server.url = format!("unix://{}", socket.display());
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""]);
        command.current_dir(&server.folder).stdout(Stdio::null());
        let process = command.spawn().map_err(|_| {
            io::Error::other("no `redis-server` here; install it, or name a Redis in LARDER_URL")
        })?;
        let process = server.process.insert(process);
        while !socket.exists() {
            if let Some(status) = process.try_wait()? {
                return Err(io::Error::other(format!("`redis-server` did not start: {status}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
