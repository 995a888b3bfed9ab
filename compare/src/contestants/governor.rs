//! governor: GCRA in the process, for one thing or for each of several keys.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{Limits, WIDE};

/// A limit for each key.
pub struct Keyed;

/// One limit for all.
pub struct Direct;

const WIDE_QUOTA: Quota =
    Quota::per_second(NonZeroU32::new(100).unwrap()).allow_burst(NonZeroU32::new(WIDE).unwrap());
const NARROW_QUOTA: Quota = Quota::per_hour(NonZeroU32::MIN);

static KEYED_WIDE: LazyLock<DefaultKeyedRateLimiter<u64>> =
    LazyLock::new(|| RateLimiter::keyed(WIDE_QUOTA));
static KEYED_NARROW: LazyLock<DefaultKeyedRateLimiter<u64>> =
    LazyLock::new(|| RateLimiter::keyed(NARROW_QUOTA));
static DIRECT_WIDE: LazyLock<DefaultDirectRateLimiter> =
    LazyLock::new(|| RateLimiter::direct(WIDE_QUOTA));
static DIRECT_NARROW: LazyLock<DefaultDirectRateLimiter> =
    LazyLock::new(|| RateLimiter::direct(NARROW_QUOTA));

impl Limits for Keyed {
    const NAME: &'static str = "governor, keyed";

    async fn set_up() {}

    async fn wide(key: u64) -> bool {
        KEYED_WIDE.check_key(&key).is_ok()
    }

    async fn narrow(key: u64) -> bool {
        KEYED_NARROW.check_key(&key).is_ok()
    }
}

impl Limits for Direct {
    const NAME: &'static str = "governor, direct";
    const HAS_KEYS: bool = false;

    async fn set_up() {}

    async fn wide(_key: u64) -> bool {
        DIRECT_WIDE.check().is_ok()
    }

    async fn narrow(_key: u64) -> bool {
        DIRECT_NARROW.check().is_ok()
    }
}
