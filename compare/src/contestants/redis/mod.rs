//! What is compared with Redis behind it.

use std::ops::Range;
use std::sync::OnceLock;

use super::{Calls, Entry, Limits, Locks, Many};
use crate::measure::Case;
use crate::process;
use crate::values::{Article, Profile};

mod batch;
mod by_hand;
mod cached;
mod index;
mod larder;
mod limited;
mod locked;
mod map;
mod storm;
mod tagged;

pub use by_hand::connect;
pub use storm::set_up as set_up_storm;

/// The first is what the others are held to, and what the second differs from it is chance.
pub const HITS: &[Entry] = &[
    Entry::in_redis::<by_hand::ByHand>(),
    Entry::in_redis::<by_hand::Again>(),
    Entry::in_redis::<by_hand::Unlimited>(),
    Entry::in_redis::<larder::Remote>(),
    Entry::in_redis::<larder::Postcard>(),
    Entry::in_redis::<larder::BothTiers>(),
    Entry::in_redis::<cached::Redis>(),
];

pub const MISSES: &[Entry] = &[
    Entry::in_redis::<by_hand::ByHand>(),
    Entry::in_redis::<by_hand::Again>(),
    Entry::in_redis::<larder::Remote>(),
    Entry::in_redis::<larder::BothTiers>(),
    Entry::in_redis::<cached::Redis>(),
];

pub const HAND_OFFS: &[Entry] =
    &[Entry::of_hand_offs::<by_hand::Polling>(), Entry::of_hand_offs::<larder::Woken>()];

pub const WRITERS: &[Entry] = &[
    Entry::of_writers::<map::Unlink>(),
    Entry::of_writers::<map::Again>(),
    Entry::of_writers::<map::UnlinkPublish>(),
    Entry::of_writers::<larder::Invalidated>(),
    Entry::of_writers::<larder::Held>(),
];

pub const READERS: &[Entry] =
    &[Entry::of_readers::<map::UnlinkPublish>(), Entry::of_readers::<larder::Invalidated>()];

/// The first and the second are the same.
pub const TAGGED: &[Entry] = &[
    Entry::tagged::<tagged::Untagged>(),
    Entry::tagged::<tagged::Again>(),
    Entry::tagged::<tagged::One>(),
    Entry::tagged::<tagged::Three>(),
    Entry::tagged::<tagged::Eight>(),
    Entry::tagged::<tagged::OneStrict>(),
    Entry::tagged::<tagged::ThreeStrict>(),
    Entry::tagged::<tagged::EightStrict>(),
];

pub const GROUPS: &[Entry] =
    &[Entry::of_groups::<index::Index>(), Entry::of_groups::<tagged::Grouped>()];

pub const FILLERS: &[Entry] = &[
    Entry::of_fills::<index::Unindexed>(),
    Entry::of_fills::<index::Index>(),
    Entry::of_fills::<tagged::Ungrouped>(),
    Entry::of_fills::<tagged::Grouped>(),
];

/// The first and the second are the same.
pub const BATCHES: &[Entry] = &[
    Entry::of_batches_in_redis::<batch::Mget>(),
    Entry::of_batches_in_redis::<batch::Again>(),
    Entry::of_batches_in_redis::<batch::Gets>(),
    Entry::of_batches_in_redis::<batch::Each>(),
    Entry::of_batches_in_redis::<batch::JoinAll>(),
];

pub const STORMS: &[Entry] = &[
    Entry::of_storms::<storm::Plain>(),
    Entry::of_storms::<storm::Jitter>(),
    Entry::of_storms::<storm::Early>(),
    Entry::of_storms::<storm::JitterAndEarly>(),
    Entry::of_storms::<storm::Stale>(),
];

/// The first and the second are the same.
pub const LIMITS: &[Entry] = &[
    Entry::of_limits_in_redis::<limited::Counter>(),
    Entry::of_limits_in_redis::<limited::Again>(),
    Entry::of_limits_in_redis::<limited::ByLimiter>(),
    Entry::of_limits_in_redis::<limited::FixedWindow>(),
    Entry::of_limits_in_redis::<limited::SlidingWindow>(),
    Entry::of_limits_in_redis::<limited::Function>(),
];

/// The first and the second are the same.
pub const LOCKS: &[Entry] = &[
    Entry::of_locks_in_redis::<locked::Polling>(),
    Entry::of_locks_in_redis::<locked::Again>(),
    Entry::of_locks_in_redis::<locked::Rslock>(),
    Entry::of_locks_in_redis::<locked::ByLock>(),
    Entry::of_locks_in_redis::<locked::Function>(),
];

/// A way to use Redis.
pub trait Tier: Calls<Profile> + 'static {
    const NAME: &'static str;

    /// Runs once in a process, before the first call.
    fn set_up() -> impl Future<Output = ()>;
}

/// Two processes that want one key, as two caches in this one.
pub trait HandOff: 'static {
    const NAME: &'static str;

    /// Runs once in a process, before the first call.
    fn set_up() -> impl Future<Output = ()>;

    /// A call of `measure::redis::run` in one of the two.
    fn call(which: Which, id: u64) -> impl Future<Output = ()> + Send;
}

/// Whoever changes what is cached.
pub trait Writer: 'static {
    const NAME: &'static str;

    /// Runs once in a process, before anything else.
    fn set_up() -> impl Future<Output = ()>;

    /// Stores an entry in Redis, and in the memory of this process if it has one.
    fn store(id: u64) -> impl Future<Output = ()> + Send;

    /// Removes entries that are stored.
    fn invalidate(ids: Range<u64>) -> impl Future<Output = ()> + Send;
}

/// A process with entries in memory, which others invalidate.
pub trait Reader: Writer {
    /// Whether a call would be answered from the memory of this process.
    fn has(id: u64) -> bool;

    /// A call of something else, which goes to Redis.
    fn other(id: u64) -> impl Future<Output = ()> + Send;
}

/// Whoever stores what was not stored.
pub trait Filler: 'static {
    const NAME: &'static str;

    /// Runs once in a process, before anything else.
    fn set_up() -> impl Future<Output = ()>;

    fn store(id: u64) -> impl Future<Output = ()> + Send;
}

/// One whose entries are all of one group.
pub trait Group: Filler {
    /// Invalidates all of them.
    fn invalidate() -> impl Future<Output = ()> + Send;
}

/// A way to keep entries that were stored together from being loaded together.
pub trait Storm: 'static {
    const NAME: &'static str;

    /// One call that loads all of these.
    fn fill(ids: &[u64]) -> impl Future<Output = ()>;

    /// A call of a function that is `measure::storm::run`.
    fn call(id: u64) -> impl Future<Output = ()> + Send;
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    First,
    Second,
}

impl Entry {
    const fn in_redis<C: Tier + Calls<Article>>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_in_redis::<C>)
    }

    const fn tagged<C: Tier>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_tagged::<C>)
    }

    const fn of_hand_offs<C: HandOff>() -> Self {
        Self::with_server(C::NAME, |_, scale| crate::measure::run_hand_offs::<C>(scale))
    }

    const fn of_writers<C: Writer>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_writer::<C>)
    }

    const fn of_readers<C: Reader>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_reader::<C>)
    }

    const fn of_groups<C: Group>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_group::<C>)
    }

    const fn of_fills<C: Filler>() -> Self {
        Self::with_server(C::NAME, |_, scale| crate::measure::run_fills::<C>(scale))
    }

    const fn of_batches_in_redis<C: Many>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_batches_in_redis::<C>)
    }

    const fn of_limits_in_redis<C: Limits>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_limits_in_redis::<C>)
    }

    const fn of_locks_in_redis<C: Locks>() -> Self {
        Self::with_server(C::NAME, crate::measure::run_locks_in_redis::<C>)
    }

    const fn of_storms<C: Storm>() -> Self {
        Self::with_server(C::NAME, |case, _| crate::measure::run_storm::<C>(case))
    }

    const fn with_server(name: &'static str, run: fn(Case, f64) -> Vec<f64>) -> Self {
        Entry { name, left_out: &[], tags: 0, takes_server: true, run }
    }
}

/// How a child learns where the server is.
pub const URL: &str = "COMPARE_REDIS_URL";

fn url() -> String {
    std::env::var(URL).unwrap()
}

/// Of the keys of this process and its peer: another one's are of no use to it.
fn service() -> &'static str {
    static SERVICE: OnceLock<String> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let process = process::peer_of().unwrap_or_else(std::process::id);
        format!("bench-{process}")
    })
}
