//! The seam to the tier that a fleet shares: the trait is what a load asks of one. Redis is behind
//! it, and in tests one whose every step is decided.
//!
//! A key in a remote tier is absent, leased to the one caller that runs the function, a value, or
//! held by a writer that is in the middle of a change. A fill is stored only if its lease still
//! stands, so that a run which began before an invalidation stores nothing.

mod backoff;
mod gather;
mod load;
#[cfg(feature = "redis")]
mod redis;
mod renewals;
mod repairs;
mod tags;

use std::{fmt, future::Future, ops::Deref, pin::Pin, sync::Weak, time::Duration};

pub(crate) use backoff::Backoff;
pub(crate) use gather::{Gather, Sent};
pub(crate) use load::{
    Asked, Confirmed, Fetched, Read, confirm_old, encoded, fetch, fill, fingerprint, give_back, of,
    peek, read_alone,
};
#[cfg(feature = "redis")]
pub(crate) use redis::{RedisSettings, redis};
pub(crate) use renewals::{Holding, Renewals};
pub(crate) use repairs::{ClearRepair, Repair, Repairs};
#[cfg(feature = "redis")]
pub(crate) use tags::TAGS;
pub use tags::{ReadStamps, Tags};
pub(crate) use tags::{key_of_tag, tag_of_key};

use crate::{blob::Codec, error::Error, stats::RedisStats};

#[cfg(feature = "limit")]
use crate::limit::{Limited, Rule, Step};

/// What a remote tier answers with.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// An answer for each of several keys, in their order. All of them are attempted.
pub type Answers<'a, T> = Pin<Box<dyn Future<Output = Vec<Result<T, Error>>> + Send + 'a>>;

/// A tier that several processes share. Keys come with the service: `shop:user:42`. Those of tags
/// begin with a colon: `:larder:shop:team:7`.
pub trait Remote: Send + Sync + 'static {
    /// What stands there, if the answer comes `within` this time. A value whose stamps are not those
    /// of the tags is one that nobody can use; before it says so, the tier reads them.
    fn get<'a>(
        &'a self,
        key: &'a str,
        tags: &'a Tags,
        within: Duration,
    ) -> Reply<'a, (Got, ReadStamps)>;

    /// The same of several keys, on one way.
    fn get_all(&self, reads: Vec<ReadOf>, within: Duration) -> Answers<'_, (Got, ReadStamps)>;

    /// Asks to be the one that runs the function, and reads the stamps of the tags, which what is
    /// filled will carry: they are from before the run. If a tag is held, so is the entry.
    ///
    /// A lease that is granted to a caller who does not learn of it, because the answer came late or
    /// the future was dropped, is given back by the tier.
    fn lease(&self, asks: Vec<Ask>, within: Duration) -> Answers<'_, (Leased, ReadStamps)>;

    /// Makes a lease last as long as a new one, and says whether the token still stands.
    fn renew<'a>(&'a self, key: &'a str, token: Token) -> Reply<'a, bool>;

    /// Stores values whose tokens still stand, and says which. False as well if the stamps of a value's
    /// tags have changed since the lease: nobody will be served it.
    fn fill(&self, fills: Vec<(Lease, Fill)>, within: Duration) -> Answers<'_, bool>;

    /// Gives leases back without a value, and says of which the token was found, and the stamps of its
    /// tags are those of the lease. Nobody refreshes a value that stays for as long as the `pause`.
    fn release(&self, leases: Vec<Lease>, pause: Duration) -> Answers<'_, bool>;

    /// Gives leases back for which nothing was run: who waits for one of them waits on, for the next.
    fn give_back(&self, leases: Vec<Lease>) -> Answers<'_, bool> {
        self.release(leases, Duration::ZERO)
    }

    /// Removes value and lease of each key, or the stamp of each tag, for good by the time of its
    /// answer, and tells all processes. A hold stays, and its writers learn that they were not alone.
    fn invalidate<'a>(&'a self, keys: &'a [String]) -> Answers<'a, ()>;

    /// Says that writers are in the middle of a change, for so long at most, or that they still are:
    /// removes value and lease, and lets nobody store. Tells all processes.
    fn hold<'a>(&'a self, holds: &'a [Hold], term: Duration, still: bool) -> Answers<'a, ()>;

    /// Ends holds, and says which of them were alone from beginning to end: their values are stored,
    /// but one that is too large, which is an error although its hold has ended. Of others, and where
    /// a hold has ended by itself, it removes what stands there. Tells all processes.
    fn settle(&self, settlements: Vec<Settlement>) -> Answers<'_, bool>;

    /// Returns when the key may have changed since `lease` said [`Leased::Busy`].
    fn changed<'a>(&'a self, key: &'a str) -> Reply<'a, Reason>;

    /// Does a step of a limit, all of it at one moment of the tier's clock. Without an answer, it may
    /// have been done or not.
    #[cfg(feature = "limit")]
    fn limit<'a>(&'a self, ask: Limiting<'a>) -> Reply<'a, Limited>;

    /// Asks for a lock, or for a place among those who wait for it, or renews it, by the tier's clock.
    ///
    /// A lock or a place that comes to a caller who does not learn of it, because the answer came late or
    /// the future was dropped, is given back by the tier: after an error, ask with another token.
    fn acquire<'a>(&'a self, claim: &'a Claim, wish: Wish) -> Reply<'a, Acquired>;

    /// Gives back what a claim has of a lock, the lock or a place, and says whether it had the lock. Tells
    /// the one whose turn it is then. What could not be given back is as soon as it can be.
    fn unlock<'a>(&'a self, claim: &'a Claim) -> Reply<'a, bool>;

    /// From now on, hears when it may be the turn of a claim.
    fn turns(&self, claim: &Claim) -> Box<dyn Turns>;

    /// Removes everything of the service, but for its limits and its locks.
    fn clear(&self) -> Reply<'_, ()>;

    /// From now on it tells the memory of this process what others change. Called once.
    fn tell(&self, _memory: Weak<dyn Memory>) {}

    /// Sees to it that memory is told, also if nothing is asked.
    fn attend(&self) {}

    /// False when nothing need be asked: it would fail at once.
    fn is_usable(&self) -> bool {
        true
    }

    /// What it has counted.
    fn stats(&self) -> RedisStats {
        RedisStats::default()
    }
}

/// The memory of a process, which other processes make invalid. Nothing here waits.
pub trait Memory: Send + Sync {
    /// The moment, by the clock that `proven` is told by.
    fn now(&self) -> u64;

    /// Somebody has changed a key or a tag, or is about to.
    fn invalidated(&self, key: &str);

    /// Somebody has invalidated everything.
    fn cleared(&self);

    /// What others changed may not have been told, and may not be from now on.
    fn broken(&self);

    /// Everything was told that others had changed by this moment.
    fn proven(&self, asked: u64);
}

/// A writer's hold on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// With the service.
    pub key: String,
    /// Names it.
    pub token: Token,
    /// Where the stamps are of the tags that its value is to carry.
    pub tags: Vec<String>,
}

/// How a hold ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// What ends.
    pub hold: Hold,
    /// To be stored if nobody else has changed the key meanwhile.
    pub value: Option<Fill>,
}

/// A step of a limit.
#[cfg(feature = "limit")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limiting<'a> {
    /// With the service, and of this rule alone.
    pub key: &'a str,
    /// How often it may be done.
    pub rule: Rule,
    /// What is asked.
    pub step: Step,
}

/// A claim to a lock: by one that holds it, waits for it or gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// With the service.
    pub key: String,
    /// Names it.
    pub token: Token,
    /// How long the lock lasts that is not renewed.
    pub lease: Duration,
}

/// What is asked for with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The lock, or nothing: a place that the claim has is given up.
    Now,
    /// The lock, or a place among those who wait. One that has a place keeps it by asking again, which it
    /// has to do every second.
    Wait,
    /// That the lock lasts as long as a new one.
    Renew,
}

/// The answer to `acquire`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// The claim has the lock.
    Held {
        /// Greater than that of all who had it before.
        fence: u64,
    },
    /// Somebody else has it, or comes first.
    Busy {
        /// By then that may be over, whatever becomes of it.
        left: Duration,
        /// How many come first; `None` of a claim without a place.
        ahead: Option<u64>,
    },
    /// To a renewal: the claim does not have it any more.
    Lost,
}

/// Hears when it may be the turn of a claim that waits.
pub trait Turns: Send {
    /// Returns when it may be, since the last time or since it began to hear; after so long at the latest.
    fn next(&mut self, within: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The answer to `get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// Nothing that can be served.
    Nothing,
    /// A value, also a stale one.
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
    /// What is left of its life; nothing of a stale one.
    pub life: Duration,
    /// Since its life ended.
    pub overdue: Duration,
    /// What is left of the time in which it is served while somebody refreshes it, its life included.
    pub stale: Duration,
    /// What the run cost that it comes from.
    pub cost: Duration,
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
    /// How long past that it is served while somebody refreshes it.
    pub stale: Duration,
    /// How long past its life it is served if the function fails.
    pub stale_if_error: Duration,
    /// What the run cost.
    pub cost: Duration,
}

#[cfg(feature = "redis")]
impl Fill {
    /// What is left until nobody is served it any more.
    pub(crate) fn servable(&self) -> Duration {
        self.life.saturating_add(self.stale.max(self.stale_if_error))
    }
}

/// The first bytes of what a caller has read and cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejected(pub Vec<u8>);

/// Names one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

/// A read of one key among several.
#[derive(Debug, Clone)]
pub struct ReadOf {
    /// With the service.
    pub key: String,
    /// Of the entry.
    pub tags: Tags,
}

/// The lease of a key, or the refresh of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// With the service.
    pub key: String,
    /// Names it.
    pub token: Token,
}

/// What is asked for with a lease.
#[derive(Debug, Clone)]
pub struct Ask {
    /// As it would be.
    pub lease: Lease,
    /// What the asker knows.
    pub seen: Seen,
    /// Of the entry.
    pub tags: Tags,
}

/// What the asker of a lease has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, or a lease, or a stale value.
    Nothing,
    /// A fresh value that it wants to refresh.
    Early,
    /// What it cannot use: to be replaced by the lease, if it still stands there.
    Rejected(Rejected),
    /// It wants to run in any case: `refresh()`.
    Refresh,
}

/// The answer to `lease`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// Run the function, then fill or release.
    Granted {
        /// A value stays, and is served meanwhile.
        is_refresh: bool,
    },
    /// A fresh value is there by now.
    Found(Found),
    /// A value is there that somebody else refreshes, or nobody because the last refresh has failed.
    /// It may be one that is kept only for the case of an error.
    Stale {
        /// The value; it may be fresh.
        found: Found,
        /// For so long nobody else may refresh it, unless who does it now is done before.
        pause: Duration,
        /// Somebody refreshes it.
        is_refreshed: bool,
    },
    /// Another caller runs the function, and there is nothing to serve.
    Busy,
    /// A writer is in the middle of a change: run the function and store nothing.
    Held,
    /// A value of a later format stands there: run the function, there is no lease.
    Newer,
}

/// Why a caller that waits should look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
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
