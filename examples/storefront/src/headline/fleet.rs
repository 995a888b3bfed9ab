//! The instances of the service: processes, as they would be on their machines.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Setup;

pub(super) struct Fleet {
    processes: Vec<Child>,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Fleet {
    pub(super) fn start(setup: Setup, database: &str, redis: &str) -> anyhow::Result<Self> {
        let mut fleet = Self { processes: Vec::new(), addresses: Vec::new() };
        for _ in 0..setup.instances {
            let mut instance = Command::new(env::current_exe()?);
            instance.args(["--port", "0", "--cache", setup.tiers.name()]);
            instance.env("DATABASE_URL", database).env("LARDER_URL", redis);
            fleet.processes.push(instance.stdout(Stdio::piped()).spawn()?);
            let stdout = fleet.processes.last_mut().and_then(|process| process.stdout.as_mut());
            let mut line = String::new();
            BufReader::new(stdout.context("no output")?).read_line(&mut line)?;
            let address = line.trim().strip_prefix("http://").context("it did not start")?;
            fleet.addresses.push(address.parse()?);
        }
        Ok(fleet)
    }

    /// As a supervisor does.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        for process in &self.processes {
            kill_process(Pid::from_child(process), Signal::TERM)?;
        }
        for process in &mut self.processes {
            let status = process.wait()?;
            ensure!(status.success(), "an instance ended with {status}");
        }
        self.processes.clear();
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
