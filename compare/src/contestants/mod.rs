//! Everything that is compared. A contestant is one file here and one line in `ALL`.

use crate::measure::{Case, Kind};
use crate::values::{Block, Shared, User, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Contestants whose calls are those of cached functions that never fail.
macro_rules! calls {
    ($value:ty; $($type:ident: $function:ident;)*) => {$(
        impl Calls<$value> for $type {
            async fn call(id: u64) -> $value {
                let Ok(value) = $function(id).await;
                value
            }
        }
    )*};
}

mod alone;
mod batch;
mod cached;
mod cachelito;
mod governor;
mod larder;
mod limited;
mod locked;
mod moka;
mod quick_cache;
pub mod redis;
mod tagged;

/// Always takes part in what it is not left out of: others are shown less what it needs.
pub const ALONE: &str = <alone::Alone as Contestant>::NAME;

/// In the order of the tables. The first that takes part in a table is what the others are held to.
pub const ALL: &[Entry] = &[
    Entry::of::<quick_cache::Get>(),
    Entry::of::<quick_cache::GetOrInsert>(),
    Entry::of::<moka::Get>(),
    Entry::of::<moka::TryGetWith>(),
    Entry::of::<cached::Plain>(),
    Entry::of::<cached::ByKey>(),
    Entry::of::<cached::Concurrent>(),
    Entry::of::<cached::ConcurrentBounded>(),
    Entry::of::<cachelito::Plain>(),
    Entry::of::<larder::Larder>(),
    Entry::of::<alone::Alone>(),
];

/// The first has no tags.
pub const TAGGED: &[Entry] = &[
    Entry::of::<larder::Larder>(),
    Entry::of::<tagged::One>(),
    Entry::of::<tagged::Three>(),
    Entry::of::<tagged::Eight>(),
];

/// What memory has all of.
pub const BATCHES: &[Entry] = &[
    Entry::of_batches::<batch::Calls>(),
    Entry::of_batches::<batch::JoinAll>(),
    Entry::of_batches::<batch::Each>(),
];

/// The first is what the others are held to.
pub const LIMITS: &[Entry] = &[
    Entry::of_limits::<governor::Keyed>(),
    Entry::of_limits::<governor::Direct>(),
    Entry::of_limits::<limited::ByLimiter>(),
    Entry::of_limits::<limited::FixedWindow>(),
    Entry::of_limits::<limited::SlidingWindow>(),
    Entry::of_limits::<limited::Function>(),
    Entry::of_limits::<limited::FunctionWithoutKey>(),
];

/// Those of `LIMITS` that keep something of each key.
pub const LIMITS_BY_KEY: &[Entry] = &[
    Entry::of_limits::<governor::Keyed>(),
    Entry::of_limits::<limited::ByLimiter>(),
    Entry::of_limits::<limited::FixedWindow>(),
    Entry::of_limits::<limited::SlidingWindow>(),
    Entry::of_limits::<limited::Function>(),
];

pub const LOCKS: &[Entry] = &[
    Entry::of_locks::<locked::Tokio>(),
    Entry::of_locks::<locked::TokioInMap>(),
    Entry::of_locks::<locked::ByLock>(),
    Entry::of_locks::<locked::Function>(),
];

/// A cache, or a way to use one.
pub trait Contestant:
    Calls<Shared> + Calls<User> + Calls<u64> + Calls<Arc<Block>> + 'static
{
    const NAME: &'static str;

    /// The measurements that mean nothing for it.
    const LEFT_OUT: &'static [Kind] = &[];

    /// How many tags its entries have.
    const TAGS: u32 = 0;

    /// Runs once in a process, before the first call.
    fn set_up(_capacity: usize) {}
}

/// A cached call of `values::load`.
pub trait Calls<V: Value> {
    fn call(id: u64) -> impl Future<Output = V> + Send;
}

/// A way to ask for many at once.
pub trait Many: 'static {
    const NAME: &'static str;

    type Value: Value;

    /// Runs once in a process, before the first call.
    fn set_up() -> impl Future<Output = ()>;

    /// One or several cached calls of `values::load` or `values::load_all`.
    fn call(ids: &[u64]) -> impl Future<Output = HashMap<u64, Self::Value>> + Send;
}

/// A way to limit how often something is done.
pub trait Limits: 'static {
    const NAME: &'static str;

    /// Whether each key has a limit of its own.
    const HAS_KEYS: bool = true;

    /// The commands that it sends to Redis.
    const SENDS: &'static [&'static str] = &[];

    /// Runs once in a process, before anything else.
    fn set_up() -> impl Future<Output = ()>;

    /// Whether it may be done, where nobody comes near to the limit: it is 100 a second, with a burst of
    /// `WIDE`, or as many in an hour.
    fn wide(key: u64) -> impl Future<Output = bool> + Send;

    /// The same where the limit is one in an hour.
    fn narrow(key: u64) -> impl Future<Output = bool> + Send;
}

/// More than anybody asks for.
pub const WIDE: u32 = 4_000_000_000;

/// A way to be the only one who does something.
pub trait Locks: 'static {
    const NAME: &'static str;

    /// The commands that it sends to Redis.
    const SENDS: &'static [&'static str] = &[];

    /// Runs once in a process, before anything else. With Redis each contender has a connection.
    fn set_up(contenders: usize) -> impl Future<Output = ()>;

    /// Runs the body as one of the contenders, under one of the locks.
    fn run<F: Future<Output: Send> + Send>(
        contender: usize,
        lock: u64,
        body: F,
    ) -> impl Future<Output = F::Output> + Send;
}

/// A contestant as the tables see it.
pub struct Entry {
    pub name: &'static str,
    pub left_out: &'static [Kind],
    pub tags: u32,
    /// Whether it takes a `redis-server`.
    pub takes_server: bool,
    pub run: fn(Case, f64) -> Vec<f64>,
}

impl Entry {
    const fn of<C: Contestant>() -> Self {
        Entry {
            name: C::NAME,
            left_out: C::LEFT_OUT,
            tags: C::TAGS,
            takes_server: false,
            run: crate::measure::run::<C>,
        }
    }

    const fn of_batches<C: Many>() -> Self {
        Entry {
            name: C::NAME,
            left_out: &[],
            tags: 0,
            takes_server: false,
            run: crate::measure::run_batches::<C>,
        }
    }

    const fn of_limits<C: Limits>() -> Self {
        Entry {
            name: C::NAME,
            left_out: &[],
            tags: 0,
            takes_server: false,
            run: crate::measure::run_limits::<C>,
        }
    }

    const fn of_locks<C: Locks>() -> Self {
        Entry {
            name: C::NAME,
            left_out: &[],
            tags: 0,
            takes_server: false,
            run: crate::measure::run_locks::<C>,
        }
    }
}
