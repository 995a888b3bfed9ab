use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
};

use super::wait;
use crate::redis::free_port;

/// The example under load, until it is dropped: it ends with its input, also where this process was killed.
pub(crate) struct Example {
    pub(crate) port: u16,
    process: Child,
}

impl Example {
    pub(super) fn start(redis: Option<&str>) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-observe"));
        command.args(["--port", &port.to_string()]).env("LARDER_URL", redis.unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let example = Self { port, process: command.spawn().unwrap() };
        wait("the example does not start", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        example
    }

    /// As a person would.
    pub(crate) fn type_in(&mut self, trouble: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input, "{trouble}").unwrap();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
