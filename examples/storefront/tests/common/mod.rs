//! A shop to ask, and what it stands on.

// Each test binary uses a part of it.
#![allow(dead_code, unused_imports, unused_macros)]

mod backends;
#[path = "../../src/client.rs"]
mod client;
mod service;
mod shop;
mod time;

pub(crate) use self::{
    backends::Backends,
    client::{Answer, Client},
    service::{Service, command},
    shop::{PRODUCTS, Shop, basket, basket_id},
    time::wait_until,
};

/// Each of these on SQLite and memory; and, with the feature `servers`, on PostgreSQL and Redis too. Each has a shop of
/// its own, so that it can count.
macro_rules! on_all_backends {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite_and_memory {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(&mut crate::common::Shop::open(crate::common::Backends::none()).await).await;
                }
            )*
        }

        #[cfg(feature = "servers")]
        mod on_postgres_and_redis {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(&mut crate::common::Shop::open(crate::common::Backends::servers().await).await).await;
                }
            )*
        }
    };
}
pub(crate) use on_all_backends;
