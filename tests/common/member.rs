//! Another process of the fleet: the test binary once more, in a role.
//!
//! Its test `a_process_of_the_fleet` plays the role, which the environment names; it returns at once
//! where there is none. Orders go to it as lines of its input, and what it says comes back as lines
//! of its output.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _, stdin},
    process::{Child, ChildStdin, Command, Stdio},
    str::FromStr,
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Before each line of ours, for the test harness prints too.
const MARK: char = '@';

const ROLE: &str = "FLEET_ROLE";

/// For whatever ends in a moment, or never.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
    orders: ChildStdin,
    said: mpsc::Receiver<String>,
}

impl Member {
    pub(crate) fn start(role: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["a_process_of_the_fleet", "--exact", "--nocapture", "--test-threads=1"])
            .env_remove("LARDER_URL")
            .env(ROLE, role)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (saying, said) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness leaves its own line open.
                if let Some((_, said)) = line.split_once(MARK)
                    && saying.send(said.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Self { child, orders, said }
    }

    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// What it says next.
    pub(crate) fn hear(&self) -> String {
        self.said.recv_timeout(PATIENCE).unwrap()
    }

    /// The numbers in what it says next, after the first word, which is as expected.
    pub(crate) fn hear_numbers(&self, first: &str) -> Vec<u64> {
        numbers(&self.hear(), first)
    }

    /// The same after any number of lines like `before`.
    pub(crate) fn hear_numbers_after(&self, before: &str, first: &str) -> Vec<u64> {
        loop {
            let said = self.hear();
            if said != before {
                return numbers(&said, first);
            }
        }
    }

    /// From now on none of its threads goes on.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Goes on after `freeze`, and finds that time has passed.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id();
        // The shell has one of its own; the program may not be installed.
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
        assert!(sent.unwrap().success());
    }

    /// With SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn numbers(said: &str, first: &str) -> Vec<u64> {
    let mut words = said.split(' ');
    assert_eq!(words.next(), Some(first), "{said}");
    words.map(|word| word.parse().unwrap()).collect()
}

/// The role of this process, if it is one that a test has started.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// A variable of this process.
pub(crate) fn variable<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}")))
}

pub(crate) fn say(line: &str) {
    println!("{MARK}{line}");
}

/// The orders to this process, which ends with the one that gives them.
pub(crate) fn orders() -> UnboundedReceiver<String> {
    let (giving, orders) = unbounded_channel();
    thread::spawn(move || {
        for order in stdin().lines().map_while(Result::ok) {
            let _ = giving.send(order);
        }
        std::process::exit(0);
    });
    orders
}
