//! What is compared with Redis behind it.

use std::sync::OnceLock;

use super::{Calls, Entry};
use crate::measure::Case;
use crate::values::{Article, Profile};

mod by_hand;
mod cached;
mod larder;

pub use by_hand::connect;

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

/// A way to use Redis.
pub trait Tier: Calls<Profile> + Calls<Article> + 'static {
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

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    First,
    Second,
}

impl Entry {
    const fn in_redis<C: Tier>() -> Self {
        Entry { name: C::NAME, left_out: &[], run: crate::measure::run_in_redis::<C> }
    }

    const fn of_hand_offs<C: HandOff>() -> Self {
        let run = |_: Case, scale: f64| crate::measure::run_hand_offs::<C>(scale);
        Entry { name: C::NAME, left_out: &[], run }
    }
}

/// How a child learns where the server is.
pub const URL: &str = "COMPARE_REDIS_URL";

fn url() -> String {
    std::env::var(URL).unwrap()
}

/// Of the keys of this process: another one's are of no use to it.
fn service() -> &'static str {
    static SERVICE: OnceLock<String> = OnceLock::new();
    SERVICE.get_or_init(|| format!("bench-{}", std::process::id()))
}
