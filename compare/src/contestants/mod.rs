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
mod larder;
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
}
