//! The commands about all of a service.

use redis::Cmd;

use super::{CLEAR, Command, Rest, SERVICE, Script, yes_or_no};

/// Reads the stamp of a service, on each new connection, and makes one if there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service<'a> {
    /// The service's own.
    pub(crate) key: &'a str,
    /// Who the server is: its `run_id` and `replid`.
    pub(crate) server: &'a str,
    pub(crate) policy: Policy,
}

/// What becomes of the values of a server that is not the one of last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They are outdated, once for all processes.
    Clear,
    /// They are served.
    Trust,
}

/// The answer to [`Service`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) stamp: u64,
    /// Another server was seen last. Only the first that meets the new one learns it here; to the
    /// others the stamp tells it.
    pub(crate) changed: bool,
}

impl Command for Service<'_> {
    type Outcome = Serving;

    fn script(&self) -> &'static Script {
        &SERVICE
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(self.server).arg(match self.policy {
            Policy::Clear => "clear",
            Policy::Trust => "trust",
        });
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<Serving> {
        Some(Serving { changed: yes_or_no(code)?, stamp: rest.number()? })
    }
}

/// Outdates every value of a service, tells all processes in the same step, and says the new
/// stamp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clear<'a> {
    /// The service's own.
    pub(crate) key: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) message: &'a [u8],
}

impl Command for Clear<'_> {
    type Outcome = u64;

    fn script(&self) -> &'static Script {
        &CLEAR
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(self.channel).arg(self.message);
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<u64> {
        if code == 0 { rest.number() } else { None }
    }
}
