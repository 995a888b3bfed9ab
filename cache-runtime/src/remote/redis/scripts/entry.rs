//! The commands about one entry.

use std::time::Duration;

use redis::Cmd;

use super::{
    Command, FILL, HOLD, INVALIDATE, LEASE, RELEASE, Rest, SEEN, SETTLE, Script, bytes, expiry,
    not_after, yes_or_no,
};
use crate::remote::Token;

/// Asks to be the one that runs the function, or renews that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    /// How long it lasts.
    pub(crate) term: Duration,
    /// The server's time after which nothing is done, in milliseconds.
    pub(crate) not_after: Option<u64>,
    pub(crate) ask: Ask,
    /// What stands there as far as the caller knows, and is of no use to it: the value as it was
    /// read, or its first [`SEEN`] bytes. Empty for none.
    pub(crate) seen: &'a [u8],
}

/// What is asked for. Whatever it is, a token that stands already is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A lease, or the refresh of a value that is no longer fresh.
    Load,
    /// The same, and the refresh of a fresh value whose life is half over.
    Early,
    /// The same, whoever has a lease or refreshes.
    Refresh,
    /// What the token has, if it still has it.
    Renew,
}

/// The answer to [`Lease`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leased {
    /// The caller runs the function.
    Granted(Grant),
    /// A fresh value.
    Found(Vec<u8>),
    /// A value that may be old. Another caller refreshes it, or it is not yet time for a try after
    /// an error.
    Stale(Vec<u8>),
    /// Another caller runs the function, for so long at most, and wakes whoever waits.
    Busy(Duration),
    /// Writers are in the middle of a change: nothing may be stored.
    Held,
    /// A value of a later format stands there.
    Newer,
    /// The command came too late, and nothing was done.
    Late,
    /// To a renewal: the token does not stand any more.
    Lost,
}

/// What was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Nothing else stands there.
    Lease,
    /// A value stands there, and is served meanwhile.
    Refresh,
}

impl Command for Lease<'_> {
    type Outcome = Leased;

    fn script(&self) -> &'static Script {
        &LEASE
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        let ask = match self.ask {
            Ask::Load => "load",
            Ask::Early => "early",
            Ask::Refresh => "refresh",
            Ask::Renew => "renew",
        };
        let seen = self.seen.get(..SEEN).unwrap_or(self.seen);
        cmd.arg(bytes(self.token).as_slice())
            .arg(expiry(self.term))
            .arg(not_after(self.not_after))
            .arg(ask)
            .arg(seen);
    }

    fn outcome(code: i64, mut rest: Rest) -> Option<Leased> {
        Some(match code {
            1 => Leased::Granted(match rest.int()? {
                0 => Grant::Lease,
                _ => Grant::Refresh,
            }),
            2 => Leased::Found(rest.bytes()?),
            3 => Leased::Stale(rest.bytes()?),
            4 => Leased::Busy(Duration::from_millis(rest.number()?)),
            5 => Leased::Held,
            6 => Leased::Newer,
            7 => Leased::Late,
            8 => Leased::Lost,
            _ => return None,
        })
    }
}

/// Stores a value if the token still stands, and says whether it did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    /// As `blob::encode` makes it.
    pub(crate) value: &'a [u8],
    /// After which Redis removes it.
    pub(crate) life: Duration,
    pub(crate) channel: &'a str,
    /// For those who wait.
    pub(crate) wake: &'a [u8],
}

impl Command for Fill<'_> {
    type Outcome = bool;

    fn script(&self) -> &'static Script {
        &FILL
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(bytes(self.token).as_slice()).arg(self.value).arg(expiry(self.life));
        cmd.arg(self.channel).arg(self.wake);
    }

    fn outcome(code: i64, _: Rest) -> Option<bool> {
        yes_or_no(code)
    }

    fn size(&self) -> usize {
        256 + self.value.len()
    }
}

/// Gives a lease or a refresh back without a value, and says whether the token stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    /// For so long nobody refreshes the value that stays; zero after a run that was not an error.
    pub(crate) pause: Duration,
    pub(crate) channel: &'a str,
    /// For those who wait.
    pub(crate) wake: &'a [u8],
}

impl Command for Release<'_> {
    type Outcome = bool;

    fn script(&self) -> &'static Script {
        &RELEASE
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        let pause = if self.pause.is_zero() { 0 } else { expiry(self.pause) };
        cmd.arg(bytes(self.token).as_slice()).arg(pause).arg(self.channel).arg(self.wake);
    }

    fn outcome(code: i64, _: Rest) -> Option<bool> {
        yes_or_no(code)
    }
}

/// Removes whatever stands there, and tells all processes in the same step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invalidate<'a> {
    pub(crate) key: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) message: &'a [u8],
}

/// The answer to [`Invalidate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalidated {
    /// Nothing stood there.
    Absent,
    Removed,
    /// The hold stays, and its writers will store nothing.
    Held,
}

impl Command for Invalidate<'_> {
    type Outcome = Invalidated;

    fn script(&self) -> &'static Script {
        &INVALIDATE
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(self.channel).arg(self.message);
    }

    fn outcome(code: i64, _: Rest) -> Option<Invalidated> {
        match code {
            0 => Some(Invalidated::Absent),
            1 => Some(Invalidated::Removed),
            2 => Some(Invalidated::Held),
            _ => None,
        }
    }
}

/// Says that a writer is in the middle of a change, or that it still is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    /// How long it lasts.
    pub(crate) term: Duration,
    /// The server's time after which nothing is done, in milliseconds.
    pub(crate) not_after: Option<u64>,
    /// Whether it has begun before.
    pub(crate) is_renewal: bool,
    pub(crate) channel: &'a str,
    pub(crate) message: &'a [u8],
}

/// The answer to [`Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nobody else has changed anything so far.
    Alone,
    /// Somebody has, or may have.
    Contended,
    /// The command came too late, and nothing was done.
    Late,
}

impl Command for Hold<'_> {
    type Outcome = Held;

    fn script(&self) -> &'static Script {
        &HOLD
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        cmd.arg(bytes(self.token).as_slice())
            .arg(expiry(self.term))
            .arg(not_after(self.not_after))
            .arg(if self.is_renewal { "renew" } else { "begin" })
            .arg(self.channel)
            .arg(self.message);
    }

    fn outcome(code: i64, _: Rest) -> Option<Held> {
        match code {
            0 => Some(Held::Contended),
            1 => Some(Held::Alone),
            2 => Some(Held::Late),
            _ => None,
        }
    }
}

/// Ends the hold of one writer, and says whether that was alone from beginning to end. If it was,
/// its value is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settle<'a> {
    pub(crate) key: &'a str,
    pub(crate) token: Token,
    /// As `blob::encode` makes it, and after which time Redis removes it.
    pub(crate) value: Option<(&'a [u8], Duration)>,
    pub(crate) channel: &'a str,
    pub(crate) message: &'a [u8],
}

impl Command for Settle<'_> {
    type Outcome = bool;

    fn script(&self) -> &'static Script {
        &SETTLE
    }

    fn key(&self) -> &str {
        self.key
    }

    fn write(&self, cmd: &mut Cmd) {
        let (value, life) = self.value.map_or((&[][..], 0), |(value, life)| (value, expiry(life)));
        cmd.arg(bytes(self.token).as_slice()).arg(value).arg(life);
        cmd.arg(self.channel).arg(self.message);
    }

    fn outcome(code: i64, _: Rest) -> Option<bool> {
        yes_or_no(code)
    }

    fn size(&self) -> usize {
        256 + self.value.map_or(0, |(value, _)| value.len())
    }
}
