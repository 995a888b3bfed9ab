//! The command about a tag alone. It is invalidated and held as an entry is.

use std::time::Duration;

use redis::Cmd;

use super::{Command, Rest, SEED, Script, expiry};

/// Reads the stamp of a tag, and makes one if there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed<'a> {
    pub(crate) key: &'a str,
    /// For how long it is kept at least.
    pub(crate) keep: Duration,
}

/// The answer to [`Seed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seeded {
    Stamp(u64),
    /// Writers are in the middle of a change.
    Held,
}

impl Command for Seed<'_> {
    type Outcome = Seeded;

    fn script(&self) -> &'static Script {
        &SEED
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(expiry(self.keep));
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<Seeded> {
        match code {
            0 => Some(Seeded::Held),
            1 => rest.number().map(Seeded::Stamp),
            _ => None,
        }
    }
}
