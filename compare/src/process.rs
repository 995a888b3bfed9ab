//! Every measurement is a child process, which is this program again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Output, Stdio, exit};
use std::thread;
use std::time::Duration;

use crate::contestants::{Entry, redis};
use crate::measure::{Case, TABLES};

/// The first argument of a child.
const CHILD: &str = "child";

/// No measurement comes near to it, even under callgrind.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What this process was started to measure, if it is a child.
pub fn child() -> Option<Child> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [CHILD, name, case, scale] = *arguments.iter().map(String::as_str).collect::<Vec<_>>()
    else {
        return None;
    };
    // Several tables have a case, with contestants of their own.
    let (contestant, case) = TABLES.iter().find_map(|table| {
        let (case, _) = table.cases.iter().find(|(known, _)| format!("{known:?}") == case)?;
        Some((table.contestants.iter().find(|contestant| contestant.name == name)?, *case))
    })?;
    Some(Child { contestant, case, scale: scale.parse().ok()? })
}

pub struct Child {
    contestant: &'static Entry,
    case: Case,
    scale: f64,
}

impl Child {
    pub fn run(&self) {
        thread::spawn(|| {
            thread::sleep(TIME_LIMIT);
            eprintln!("still not done after {TIME_LIMIT:?}");
            exit(1);
        });
        for figure in (self.contestant.run)(self.case, self.scale) {
            println!("{figure}");
        }
    }
}

/// What a child measured; nothing if it failed.
pub fn figures(contestant: &Entry, case: Case, scale: f64, redis: Option<&str>) -> Vec<f64> {
    let mut child = Command::new(program());
    child.envs(redis.map(|url| (redis::URL, url)));
    let Some(output) = output(&mut child, contestant, case, scale) else {
        return Vec::new();
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The instructions that a call takes, from two children that differ in nothing but the number of calls.
pub fn instructions_per_call(
    contestant: &Entry,
    case: Case,
    scale: f64,
    redis: Option<&str>,
) -> Vec<f64> {
    let (few, many) = (scale / 10.0, scale);
    // Side by side: a count is the same on a busy machine.
    let (more, less) = thread::scope(|threads| {
        let less = threads.spawn(|| instructions(contestant, case, few, redis));
        (instructions(contestant, case, many, redis), less.join().unwrap())
    });
    let (Some(more), Some(less)) = (more, less) else {
        return Vec::new();
    };
    let calls = (case.calls() * many).floor() - (case.calls() * few).floor();
    vec![(more - less) / calls]
}

fn instructions(contestant: &Entry, case: Case, scale: f64, redis: Option<&str>) -> Option<f64> {
    let mut child = Command::new("valgrind");
    child.envs(redis.map(|url| (redis::URL, url)));
    child.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program());
    let output = output(&mut child, contestant, case, scale)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    stderr.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())
}

fn output(command: &mut Command, contestant: &Entry, case: Case, scale: f64) -> Option<Output> {
    command.args([CHILD, contestant.name, &format!("{case:?}"), &scale.to_string()]);
    match command.output() {
        Ok(output) if output.status.success() => Some(output),
        Ok(output) => {
            eprint!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            eprintln!("{command:?}: {error}");
            None
        }
    }
}

/// A second process for the measurement of this one: the same child once more. Gone when it is
/// dropped, or when its input ends.
pub struct Peer {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Of a peer: whose it is.
const PEER_OF: &str = "COMPARE_PEER_OF";

/// The number of the process that this is the peer of, if it is one.
pub fn peer_of() -> Option<u32> {
    std::env::var(PEER_OF).ok()?.parse().ok()
}

impl Peer {
    pub fn start() -> Self {
        let mut process = Command::new(program())
            .args(std::env::args().skip(1))
            .env(PEER_OF, std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    pub fn tell(&mut self, number: u64) {
        writeln!(self.input, "{number}").unwrap();
    }

    pub fn hear(&mut self) -> u64 {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().parse().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

fn program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}
