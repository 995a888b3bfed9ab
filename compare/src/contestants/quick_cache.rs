//! quick_cache: a sharded store with S3-FIFO eviction. No TTL.

use std::convert::Infallible;
use std::sync::LazyLock;

use quick_cache::sync::Cache;

use super::{Calls, Contestant};
use crate::measure::Kind;
use crate::values::{for_each_value, load};

/// `get`, then on a miss the function and `insert`: the floor, without singleflight.
pub struct Get;

/// With singleflight.
pub struct GetOrInsert;

impl Contestant for Get {
    const NAME: &'static str = "quick_cache get";
    const LEFT_OUT: &'static [Kind] = &[Kind::Stampede, Kind::Cancelled];
}

impl Contestant for GetOrInsert {
    const NAME: &'static str = "quick_cache get_or_insert_async";
    // The store is that of `Get`.
    const LEFT_OUT: &'static [Kind] = &[Kind::Memory];
}

macro_rules! cache {
    ($name:ident, $capacity:tt, $value:ty) => {
        fn $name() -> &'static Cache<u64, $value> {
            static CACHE: LazyLock<Cache<u64, $value>> = LazyLock::new(|| Cache::new($capacity));
            &CACHE
        }

        impl Calls<$value> for Get {
            async fn call(id: u64) -> $value {
                if let Some(value) = $name().get(&id) {
                    return value;
                }
                let value: $value = load(id).await;
                $name().insert(id, value.clone());
                value
            }
        }

        impl Calls<$value> for GetOrInsert {
            async fn call(id: u64) -> $value {
                let run = async { Ok::<$value, Infallible>(load(id).await) };
                let Ok(value) = $name().get_or_insert_async(&id, run).await;
                value
            }
        }
    };
}
for_each_value!(cache);
