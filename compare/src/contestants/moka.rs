//! moka: a concurrent store with TinyLFU eviction and TTL.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use moka::future::Cache;

use super::{Calls, Contestant};
use crate::measure::Kind;
use crate::values::{for_each_value, load};

/// `get`, then on a miss the function and `insert`, without singleflight.
pub struct Get;

/// With singleflight.
pub struct TryGetWith;

impl Contestant for Get {
    const NAME: &'static str = "moka get";
    const LEFT_OUT: &'static [Kind] = &[Kind::Stampede, Kind::Cancelled];
}

impl Contestant for TryGetWith {
    const NAME: &'static str = "moka try_get_with";
    // The store is that of `Get`.
    const LEFT_OUT: &'static [Kind] = &[Kind::Memory];
}

macro_rules! cache {
    ($name:ident, $capacity:tt, $value:ty) => {
        fn $name() -> &'static Cache<u64, $value> {
            static CACHE: LazyLock<Cache<u64, $value>> = LazyLock::new(|| {
                Cache::builder()
                    .max_capacity($capacity)
                    .time_to_live(Duration::from_secs(3600))
                    .build()
            });
            &CACHE
        }

        impl Calls<$value> for Get {
            async fn call(id: u64) -> $value {
                if let Some(value) = $name().get(&id).await {
                    return value;
                }
                let value: $value = load(id).await;
                $name().insert(id, value.clone()).await;
                value
            }
        }

        impl Calls<$value> for TryGetWith {
            async fn call(id: u64) -> $value {
                let run = async { Ok::<$value, Infallible>(load(id).await) };
                $name().try_get_with(id, run).await.unwrap()
            }
        }
    };
}
for_each_value!(cache);
