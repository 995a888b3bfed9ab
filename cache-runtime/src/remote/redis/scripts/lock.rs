//! The commands about a lock.

use std::time::Duration;

use redis::Cmd;

use super::{ACQUIRE, Command, Rest, Script, UNLOCK, bytes, expiry, not_after, yes_or_no};
use crate::remote::{Token, Wish};

/// Asks for a lock, or renews it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acquire<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    /// How long it lasts.
    pub(crate) lease: Duration,
    /// The server's time after which nothing is done, in milliseconds.
    pub(crate) not_after: Option<u64>,
    pub(crate) wish: Wish,
}

/// The answer to [`Acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// The token has it, with this fence.
    Held(u64),
    /// Somebody else has it, or comes first.
    Busy {
        /// By then that may be over, whatever becomes of it.
        left: Duration,
        /// How many come first; `None` without a place.
        ahead: Option<u64>,
    },
    /// The command came too late, and nothing was done.
    Late,
    /// To a renewal: the token does not have it any more.
    Lost,
}

impl Command for Acquire<'_> {
    type Outcome = Acquired;

    fn script(&self) -> &'static Script {
        &ACQUIRE
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        let wish = match self.wish {
            Wish::Now => "now",
            Wish::Wait => "wait",
            Wish::Renew => "renew",
        };
        cmd.arg(bytes(self.token).as_slice())
            .arg(expiry(self.lease))
            .arg(not_after(self.not_after))
            .arg(wish);
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<Acquired> {
        Some(match code {
            1 => Acquired::Held(rest.number()?),
            2 => Acquired::Busy {
                left: Duration::from_millis(rest.number()?),
                ahead: rest.int()?.try_into().ok(),
            },
            3 => Acquired::Late,
            4 => Acquired::Lost,
            _ => return None,
        })
    }
}

/// Gives back what a token has of a lock, and says whether it had the lock itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unlock<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    pub(crate) channel: &'a str,
    /// What the message begins with to the one whose turn it is then: its name follows.
    pub(crate) message: &'a [u8],
}

impl Command for Unlock<'_> {
    type Outcome = bool;

    fn script(&self) -> &'static Script {
        &UNLOCK
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(bytes(self.token).as_slice()).arg(self.channel).arg(self.message);
    }

    fn outcome(code: i64, _: Rest) -> Option<bool> {
        yes_or_no(code)
    }
}

/// What one that waits for a lock is called in a message: as UNLOCK has it.
pub(crate) fn name_of(key: &str, Token(token): Token) -> String {
    format!("{key}:{token:032x}")
}
