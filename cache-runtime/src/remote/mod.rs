//! The seam to the tier that a fleet shares: the trait is what a load asks of one. Redis is behind
//! it, and in tests one whose every step is decided.
//!
//! A key in a remote tier is absent, leased to the one caller that runs the function, a value, or
//! held by a writer that is in the middle of a change. A fill is stored only if its lease still
//! stands, so that a run which began before an invalidation stores nothing.

mod backoff;
mod load;
#[cfg(feature = "redis")]
mod redis;
mod renewals;
mod repairs;

use std::{fmt, future::Future, ops::Deref, pin::Pin, time::Duration};

pub(crate) use load::{
    Asked, Fetched, Read, fetch, fill, fingerprint, give_back, of, peek, read_alone,
};
#[cfg(feature = "redis")]
pub(crate) use redis::{RedisSettings, redis};
pub(crate) use renewals::Renewals;
pub(crate) use repairs::{ClearRepair, Repair, Repairs};

use crate::{blob::Codec, error::Error, stats::RedisStats};

/// What a remote tier answers with.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A tier that several processes share. Keys come with the service: `shop:user:42`.
pub trait Remote: Send + Sync + 'static {
    /// What stands there, if the answer comes `within` this time.
    fn get<'a>(&'a self, key: &'a str, within: Duration) -> Reply<'a, Got>;

    /// Asks to be the one that runs the function.
    ///
    /// A lease that is granted to a caller who does not learn of it, because the answer came late or
    /// the future was dropped, is given back by the tier.
    fn lease<'a>(
        &'a self,
        key: &'a str,
        token: Token,
        seen: Seen,
        within: Duration,
    ) -> Reply<'a, Leased>;

    /// Makes a lease last as long as a new one, and says whether the token still stands.
    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool>;

    /// Stores a value if the token still stands, and says whether it did.
    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: Token,
        value: Fill,
        within: Duration,
    ) -> Reply<'a, bool>;

    /// Gives a lease back without a value, and says whether the token was found.
    fn release<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool>;

    /// Removes value and lease, for good by the time of the answer.
    fn invalidate<'a>(&'a self, key: &'a str) -> Reply<'a, ()>;

    /// Returns when the key may have changed since `lease` said [`Leased::Busy`].
    fn changed<'a>(&'a self, key: &'a str) -> Reply<'a, Change>;

    /// Removes everything of the service.
    fn clear(&self) -> Reply<'_, ()>;

    /// False when nothing need be asked: it would fail at once.
    fn is_usable(&self) -> bool {
        true
    }

    /// What it has counted.
    fn stats(&self) -> RedisStats {
        RedisStats::default()
    }
}

/// The answer to `get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// Nothing that can be served.
    Nothing,
    /// A value.
    Found(Found),
    /// Something that nobody can use any more: to be replaced by a lease.
    Rejected(Rejected),
    /// A value of a later format, to be left alone.
    Newer,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Empty for a `None`.
    pub payload: Payload,
    /// How it is encoded.
    pub codec: Codec,
    /// It stands for a `None`.
    pub negative: bool,
    /// Of the value's type and the function's version: others cannot read it.
    pub fingerprint: u64,
    /// Since the load began that it comes from.
    pub age: Duration,
    /// What is left of its life.
    pub life: Duration,
}

impl Found {
    /// For a reader that cannot use it.
    pub(crate) fn seen(self) -> Rejected {
        self.payload.seen()
    }
}

/// The encoded form of a value that was read, where it stands in what was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Vec<u8>,
    from: usize,
    /// What was read, if that is not `bytes`.
    seen: Option<Box<Rejected>>,
}

/// So much of it a reader shows that cannot use it.
const SEEN: usize = 128;

impl Payload {
    /// What stands behind so many bytes.
    #[cfg(feature = "redis")]
    fn behind(from: usize, bytes: Vec<u8>) -> Self {
        Self { bytes, from, seen: None }
    }

    /// What was read in a form of its own.
    #[cfg(feature = "redis")]
    fn unpacked(bytes: Vec<u8>, seen: Rejected) -> Self {
        Self { bytes, from: 0, seen: Some(Box::new(seen)) }
    }

    fn seen(mut self) -> Rejected {
        if let Some(seen) = self.seen {
            return *seen;
        }
        self.bytes.truncate(SEEN);
        Rejected(self.bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, from: 0, seen: None }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<&T> for Payload {
    fn eq(&self, other: &&T) -> bool {
        **self == *other.as_ref()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A value to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Empty for a `None`.
    pub payload: Vec<u8>,
    /// How it is encoded.
    pub codec: Codec,
    /// It stands for a `None`.
    pub negative: bool,
    /// Of the value's type and the function's version: others cannot read it.
    pub fingerprint: u64,
    /// Since the load began that it comes from.
    pub age: Duration,
    /// What is left of its life.
    pub life: Duration,
    /// What the run cost.
    pub cost: Duration,
}

/// The first bytes of what a caller has read and cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejected(pub Vec<u8>);

/// Names one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

/// What the asker of a lease has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, or a lease.
    Nothing,
    /// What it cannot use: to be replaced by the lease, if it still stands there.
    Rejected(Rejected),
    /// It wants to run in any case: `refresh()`.
    Refresh,
}

/// The answer to `lease`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// Run the function, then fill or release.
    Granted,
    /// A value is there by now.
    Found(Found),
    /// Another caller runs the function.
    Busy,
    /// A writer is in the middle of a change: run the function and store nothing.
    Held,
    /// A value of a later format stands there: run the function, there is no lease.
    Newer,
}

/// Why a caller that waits should look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The run that it waits for has ended, with a value or without.
    Woken,
    /// The key was invalidated.
    Invalidated,
    /// Nothing is known: it is time, a message may have been missed, or the tier is gone.
    Poll,
}

impl fmt::Debug for dyn Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
