//! cached: an attribute over functions. Its default has no bound, no TTL and no singleflight.

use std::convert::Infallible;

use super::{Calls, Contestant};
use crate::measure::Kind;
use crate::values::{for_each_value, load};

/// `#[cached]` as it is.
pub struct Plain;

/// `#[cached]` with all that larder does: singleflight, capacity, TTL.
pub struct ByKey;

/// `#[concurrent_cached]` as it is.
pub struct Concurrent;

/// `#[concurrent_cached]` with capacity and TTL. It has no singleflight.
pub struct ConcurrentBounded;

impl Contestant for Plain {
    const NAME: &'static str = "cached";
}

impl Contestant for ByKey {
    const NAME: &'static str = "cached by_key, bounded";
}

impl Contestant for Concurrent {
    const NAME: &'static str = "cached concurrent";
}

impl Contestant for ConcurrentBounded {
    const NAME: &'static str = "cached concurrent, bounded";
    // Bound and TTL change nothing in how callers meet.
    const LEFT_OUT: &'static [Kind] = &[Kind::Stampede, Kind::Cancelled];
}

macro_rules! call {
    ($contestant:ty, $value:ty, $function:path) => {
        impl Calls<$value> for $contestant {
            async fn call(id: u64) -> $value {
                let Ok(value) = $function(id).await;
                value
            }
        }
    };
}

macro_rules! cached {
    ($name:ident, $capacity:tt, $value:ty) => {
        mod $name {
            use super::*;
            use ::cached::macros::{cached, concurrent_cached};

            #[cached]
            async fn plain(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            #[cached(max_size = $capacity, ttl_secs = 3600, sync_writes = "by_key")]
            async fn by_key(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            #[concurrent_cached]
            async fn concurrent(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            #[concurrent_cached(max_size = $capacity, ttl_secs = 3600)]
            async fn concurrent_bounded(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            call!(Plain, $value, plain);
            call!(ByKey, $value, by_key);
            call!(Concurrent, $value, concurrent);
            call!(ConcurrentBounded, $value, concurrent_bounded);
        }
    };
}
for_each_value!(cached);
