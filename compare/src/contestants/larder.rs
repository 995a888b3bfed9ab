//! larder: an attribute over async functions, with singleflight, capacity and TTL.

use std::convert::Infallible;

use super::{Calls, Contestant};
use crate::values::{for_each_value, load};

pub struct Larder;

impl Contestant for Larder {
    const NAME: &'static str = "larder";

    fn set_up(capacity: usize) {
        larder::Cache::builder("bench").capacity(capacity).build().unwrap().install().unwrap();
    }
}

macro_rules! larder {
    ($name:ident, $capacity:tt, $value:ty) => {
        mod $name {
            use super::*;

            // One key for all types of value: a process caches values of one type only.
            #[::larder::cached(ttl = 3600, key = "user:{id}")]
            async fn user(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            impl Calls<$value> for Larder {
                async fn call(id: u64) -> $value {
                    let Ok(value) = user(id).await;
                    value
                }
            }
        }
    };
}
for_each_value!(larder);
