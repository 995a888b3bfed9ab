//! Limits: the scripts beside the algorithms in Rust, step by step.

mod hostile;
mod keys;
mod traces;

use super::*;
use crate::limit::{
    Algorithm, Arrival, Counts, Kept, LONGEST, Limited, Method, Rule, Span, State, Step, Verdict,
};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

fn rule(algorithm: Algorithm, limit: u32, per: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_micros(per), None)
}

/// The script of a rule, and a step as a call of it.
fn call(key: &str, rule: Rule, step: Step, how: impl FnOnce(&dyn Write) -> Cmd) -> Cmd {
    match rule.0 {
        Method::Gcra(rule) => how(&Gcra { key, rule, step }),
        Method::Window(rule) => how(&Window { key, rule, step }),
    }
}

/// A command, whatever it answers.
trait Write {
    fn script(&self) -> &'static Script;
    fn cmd(&self, name: &str, script: &str) -> Cmd;
}

impl<C: super::super::Command> Write for C {
    fn script(&self) -> &'static Script {
        super::super::Command::script(self)
    }

    fn cmd(&self, name: &str, script: &str) -> Cmd {
        super::super::Command::cmd(self, name, script)
    }
}

/// By the server's clock.
fn by_sha(key: &str, rule: Rule, step: Step) -> Cmd {
    call(key, rule, step, |command| command.cmd("EVALSHA", &command.script().sha))
}

/// By a clock that says this, in microseconds.
fn at(now: u64, key: &str, rule: Rule, step: Step) -> Cmd {
    let mut cmd = call(key, rule, step, |command| {
        command.cmd("EVALSHA", redis::Script::new(&timed(command.script())).get_hash())
    });
    cmd.arg(now / SECOND).arg(now % SECOND);
    cmd
}

/// A script that takes the time from its last two arguments.
pub(super) fn timed(script: &Script) -> String {
    let parts: Vec<_> = script.body.split("redis.call('TIME')").collect();
    assert_eq!(parts.len(), 2, "a script reads its clock once");
    parts.join("{ ARGV[#ARGV - 1], ARGV[#ARGV] }")
}

/// A connection to a server that knows the scripts.
fn connected() -> Connection {
    let mut connection = SERVER.connect();
    for script in [&*GCRA, &WINDOW] {
        for body in [script.body, &timed(script)] {
            redis::cmd("SCRIPT").arg("LOAD").arg(body).exec(&mut connection).unwrap();
        }
    }
    connection
}

/// What a script answered.
#[derive(Debug, PartialEq)]
struct Said {
    now: u64,
    limited: Limited,
    /// What it left.
    left: Left,
}

#[derive(Debug, PartialEq)]
enum Left {
    /// When the bucket is empty.
    Empty(Span),
    /// In this window and the one before.
    Counts(Counts),
}

fn said(rule: Rule, step: Step, reply: Value) -> Said {
    let check = |millis: u64, micros: u64| assert_eq!(millis, micros / 1000);
    match rule.0 {
        Method::Gcra(rule) => {
            let Answer { now: millis, outcome } = Gcra::answer(reply).unwrap();
            let Stepped { is_done, now, left } = outcome;
            check(millis, now);
            Said { now, limited: rule.stand(left, is_done, step, now), left: Left::Empty(left) }
        }
        Method::Window(rule) => {
            let Answer { now: millis, outcome } = Window::answer(reply).unwrap();
            let Stepped { is_done, now, left } = outcome;
            check(millis, now);
            Said { now, limited: rule.stand(left, is_done, step, now), left: Left::Counts(left) }
        }
    }
}

/// What a script would have to answer, and what stands there then.
fn expected(rule: Rule, state: Option<State>, step: Step, now: u64) -> (Option<State>, Said) {
    let left = match (rule.0, state) {
        (Method::Gcra(gcra), Some(State(Kept::Gcra(arrival)))) => {
            Left::Empty(gcra.step(Some(arrival), step, now).1)
        }
        (Method::Gcra(gcra), _) => Left::Empty(gcra.step(None, step, now).1),
        (Method::Window(window), Some(State(Kept::Window(counts)))) => {
            Left::Counts(window.step(Some(counts), step, now).1)
        }
        (Method::Window(window), _) => Left::Counts(window.step(None, step, now).1),
    };
    let (state, limited) = rule.decide(state, step, now);
    (state, Said { now, limited, left })
}

/// A state as the scripts keep it.
fn written(state: State) -> Vec<u8> {
    match state.0 {
        Kept::Gcra(Arrival { at: Span { micros, part }, parts, written }) => {
            let (part, parts) = (part.to_be_bytes(), parts.to_be_bytes());
            [b"g", &micros.to_be_bytes()[..], &part, &parts, &written.to_be_bytes()].concat()
        }
        Kept::Window(Counts { ends, previous, current }) => {
            let (previous, current) = (previous.to_be_bytes(), current.to_be_bytes());
            [b"w", &ends.to_be_bytes()[..], &previous, &current].concat()
        }
    }
}

/// What bytes are to a script.
fn read(rule: Rule, bytes: &[u8]) -> Option<State> {
    const MOST: u64 = (1 << 53) - 1;

    let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    match (rule.0, bytes) {
        (Method::Gcra(_), [b'g', ..]) if bytes.len() == 25 => {
            let at = Span { micros: u64_at(1), part: u32_at(9) };
            let (parts, written) = (u32_at(13), u64_at(17));
            let left = at.micros.checked_sub(written)?;
            let is_one = at.micros <= MOST && at.part < parts && left <= LONGEST;
            is_one.then_some(State(Kept::Gcra(Arrival { at, parts, written })))
        }
        (Method::Window(_), [b'w', ..]) if bytes.len() == 17 => {
            let counts = Counts { ends: u64_at(1), previous: u32_at(9), current: u32_at(13) };
            (counts.ends <= MOST).then_some(State(Kept::Window(counts)))
        }
        _ => None,
    }
}

/// As many as are ever allowed at once.
fn most(rule: Rule) -> u32 {
    rule.decide(None, Step::Take(0), 0).1.remaining
}
