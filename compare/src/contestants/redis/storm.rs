//! larder with a URL, and several ways to spread what would expire together.

use std::collections::HashMap;
use std::convert::Infallible;

use larder::Cache;

use super::{Storm, service, url};
use crate::measure::storm::{LIFE, run};

pub async fn set_up() {
    // Of a machine that is busy, and not of a server that is away.
    let cache = Cache::builder(service()).redis(url()).redis_budget(LIFE).build().unwrap();
    cache.install().unwrap();
}

macro_rules! storms {
    ($($type:ident: $name:literal, $function:ident, [$($option:tt)*];)*) => {$(
        pub struct $type;

        mod $function {
            use super::*;

            #[::larder::cached(ttl = 2, key = "read:{id}", $($option)*)]
            pub async fn read(id: u64) -> Result<u64, Infallible> {
                run().await;
                Ok(id)
            }

            /// All of them with one run, and so from one moment on.
            #[::larder::cached(ttl = 2, key = "read:{id}", each(id in ids), $($option)*)]
            pub async fn fill(ids: &[u64]) -> Result<HashMap<u64, u64>, Infallible> {
                run().await;
                Ok(ids.iter().map(|&id| (id, id)).collect())
            }
        }

        impl Storm for $type {
            const NAME: &'static str = $name;

            async fn fill(ids: &[u64]) {
                let Ok(_) = $function::fill(ids).await;
            }

            async fn call(id: u64) {
                let Ok(_) = $function::read(id).await;
            }
        }
    )*};
}
storms! {
    Plain: "ttl alone", plain, [];
    Jitter: "jitter", jitter, [jitter = 1];
    Early: "refresh_early", early, [refresh_early];
    JitterAndEarly: "jitter, refresh_early", jitter_and_early, [jitter = 1, refresh_early];
    Stale: "stale", stale, [stale = 2];
}
