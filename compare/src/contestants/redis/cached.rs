//! cached: its store in Redis, behind the attribute. It has no singleflight.

use std::sync::OnceLock;
use std::time::Duration;

use cached::AsyncRedisCache;

use super::{Tier, service, url};
use crate::contestants::Calls;
use crate::values::{for_each_stored_value, load};

pub struct Redis;

static ADDRESS: OnceLock<String> = OnceLock::new();

impl Tier for Redis {
    const NAME: &'static str = "cached, redis store";

    async fn set_up() {
        let _ = ADDRESS.set(url());
    }
}

macro_rules! cached {
    ($name:ident, $capacity:tt, $value:ty) => {
        mod $name {
            use super::*;
            use ::cached::macros::concurrent_cached;

            type Store = AsyncRedisCache<u64, $value>;

            #[concurrent_cached(
                map_error = r##"|error| error.to_string()"##,
                ty = "Store",
                create = r##"{
                    Store::builder("user:")
                        .namespace(service())
                        .connection_string(ADDRESS.get().unwrap())
                        .ttl(Duration::from_secs(3600))
                        .build()
                        .await
                        .unwrap()
                }"##
            )]
            async fn user(id: u64) -> Result<$value, String> {
                Ok(load(id).await)
            }

            impl Calls<$value> for Redis {
                async fn call(id: u64) -> $value {
                    user(id).await.unwrap()
                }
            }
        }
    };
}
for_each_stored_value!(cached);
