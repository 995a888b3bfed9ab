//! The commands about a limit, one for each kind of rule.

use redis::Cmd;

use super::{Command, GCRA, Rest, Script, WINDOW, yes_or_no};
use crate::limit::{self, Counts, Kind, Span, Step};

/// A step of a limit that is a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gcra<'a> {
    pub(crate) key: &'a str,
    pub(crate) rule: limit::Gcra,
    pub(crate) step: Step,
}

/// A step of a limit by windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) key: &'a str,
    pub(crate) rule: limit::Window,
    pub(crate) step: Step,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stepped<T> {
    pub(crate) is_done: bool,
    /// The server's clock, in microseconds.
    pub(crate) now: u64,
    /// What it has left, as of now.
    pub(crate) left: T,
}

impl Command for Gcra<'_> {
    type Outcome = Stepped<Span>;

    fn script(&self) -> &'static Script {
        &GCRA
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        let (cost, burst) = (self.rule.span_of(count(self.step)), self.rule.span_of_burst());
        cmd.arg(act(self.step)).arg(self.rule.parts());
        cmd.arg(cost.micros).arg(cost.part).arg(burst.micros).arg(burst.part);
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<Self::Outcome> {
        let (is_done, now) = (yes_or_no(code)?, rest.number()?);
        let left = Span { micros: rest.number()?, part: rest.small()? };
        Some(Stepped { is_done, now, left })
    }
}

impl Command for Window<'_> {
    type Outcome = Stepped<Counts>;

    fn script(&self) -> &'static Script {
        &WINDOW
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        let kind = match self.rule.kind() {
            Kind::Fixed => "fixed",
            Kind::Sliding => "sliding",
        };
        cmd.arg(act(self.step)).arg(kind).arg(self.rule.per()).arg(self.rule.limit());
        cmd.arg(count(self.step));
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<Self::Outcome> {
        let (is_done, now, ends) = (yes_or_no(code)?, rest.number()?, rest.number()?);
        let left = Counts { ends, previous: rest.small()?, current: rest.small()? };
        Some(Stepped { is_done, now, left })
    }
}

fn act(step: Step) -> &'static str {
    match step {
        Step::Take(_) => "take",
        Step::Refund(_) => "refund",
        Step::Reset => "reset",
    }
}

fn count(step: Step) -> u32 {
    match step {
        Step::Take(count) | Step::Refund(count) => count,
        Step::Reset => 0,
    }
}
