//! The scripts that change a key, as typed commands. The layout of the bytes is in `blob`, that of a
//! limit and of a lock with its script.
//!
//! A script checks the type, the first byte and the length of what it finds before it takes
//! anything out of it: whatever another program has put there, it is no error. Each has one key,
//! and takes the time from the server.

mod entry;
#[cfg(feature = "limit")]
mod limit;
mod lock;
mod service;
mod tag;
#[cfg(test)]
mod tests;

use std::{sync::LazyLock, time::Duration, vec};

use redis::{Cmd, Value};

#[cfg(feature = "limit")]
pub(crate) use self::limit::{Gcra, Stepped, Window};
pub(crate) use self::{
    entry::{Ask, Fill, Grant, Held, Hold, Invalidate, Lease, Leased, Release, Settle},
    lock::{Acquire, Acquired, Unlock, name_of},
    service::{Clear, Policy, Service},
    tag::{Seed, Seeded},
};
use crate::remote::Token;

/// As much as LEASE compares of what a caller has read and rejected.
pub(crate) const SEEN: usize = crate::remote::SEEN;

/// A century. Redis refuses an expiry that overflows its clock.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// A script in Lua.
#[derive(Debug)]
pub(crate) struct Script {
    pub(super) body: &'static str,
    sha: String,
}

impl Script {
    pub(super) fn new(body: &'static str) -> Self {
        Self { body, sha: redis::Script::new(body).get_hash().to_owned() }
    }
}

macro_rules! scripts {
    ($($name:ident: $($file:literal)+;)*) => {$(
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!(concat!("scripts/", $file))),+))
        });
    )*};
}

scripts! {
    LEASE: "key.lua" "lease.lua";
    FILL: "key.lua" "fill.lua";
    RELEASE: "key.lua" "release.lua";
    INVALIDATE: "key.lua" "invalidate.lua";
    HOLD: "key.lua" "hold.lua";
    SETTLE: "key.lua" "settle.lua";
    SEED: "key.lua" "seed.lua";
    SERVICE: "stamp.lua" "service.lua";
    CLEAR: "stamp.lua" "clear.lua";
    ACQUIRE: "lock.lua" "acquire.lua";
    UNLOCK: "lock.lua" "unlock.lua";
}

#[cfg(feature = "limit")]
scripts! {
    GCRA: "limit.lua" "gcra.lua";
    WINDOW: "limit.lua" "window.lua";
}

/// A command that a script carries out.
pub(crate) trait Command {
    type Outcome;

    fn script(&self) -> &'static Script;

    fn key(&self) -> &str;

    /// Writes the arguments after the key.
    fn write(&self, cmd: &mut Cmd);

    /// What a reply says that begins with this code.
    fn outcome(code: i64, rest: Rest) -> Option<Self::Outcome>;

    /// About how long the arguments are.
    fn size(&self) -> usize {
        256
    }

    /// By the name of the script, which a server may not know.
    fn by_sha(&self) -> Cmd {
        self.cmd("EVALSHA", &self.script().sha)
    }

    fn cmd(&self, name: &str, script: &str) -> Cmd {
        let mut cmd = Cmd::with_capacity(10, script.len() + self.key().len() + self.size());
        cmd.arg(name).arg(script).arg(1).arg(self.key());
        self.write(&mut cmd);
        cmd
    }

    /// What the server answered; `None` if that is no answer to this command.
    fn answer(value: Value) -> Option<Answer<Self::Outcome>> {
        let Value::Array(values) = value else {
            return None;
        };
        let mut rest = Rest(values.into_iter());
        let code = rest.int()?;
        let now = rest.number()?;
        Some(Answer { now, outcome: Self::outcome(code, rest)? })
    }
}

/// What a script said, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    /// The server's clock, in milliseconds.
    pub(crate) now: u64,
    pub(crate) outcome: T,
}

/// What is left of a reply.
#[derive(Debug)]
pub(crate) struct Rest(vec::IntoIter<Value>);

impl Rest {
    fn int(&mut self) -> Option<i64> {
        match self.0.next()? {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.int()?.try_into().ok()
    }

    #[cfg(feature = "limit")]
    fn small(&mut self) -> Option<u32> {
        self.int()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        match self.0.next()? {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn bytes(Token(token): Token) -> [u8; 16] {
    token.to_be_bytes()
}

/// Milliseconds that Redis takes for an expiry.
pub(super) fn expiry(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(LONGEST).clamp(1, LONGEST)
}

/// Zero says that there is no such time.
fn not_after(time: Option<u64>) -> u64 {
    time.map_or(0, |time| time.max(1))
}

fn yes_or_no(code: i64) -> Option<bool> {
    match code {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
