//! Limits with Redis: a counter by hand, and larder's.

use std::time::Duration;

use larder::{Algorithm, Cache};
use redis::AsyncCommands as _;

use super::by_hand::{ByHand, connection};
use super::{Tier as _, service, url};
use crate::contestants::{Limits, WIDE, limited};

/// `INCR`, and `EXPIRE` by whoever was the first: one that dies in between leaves a counter that
/// never goes.
pub struct Counter;

/// The very same.
pub struct Again;

pub struct ByLimiter;

pub struct FixedWindow;

pub struct SlidingWindow;

pub struct Function;

async fn count(key: u64, limit: u32) -> bool {
    let mut connection = connection();
    let key = format!("{}:{limit}:{key}", service());
    // What the client has a method for is `INCRBY`.
    let count: u64 = redis::cmd("INCR").arg(&key).query_async(&mut connection).await.unwrap();
    if count == 1 {
        let () = connection.expire(&key, 3600).await.unwrap();
    }
    count <= u64::from(limit)
}

macro_rules! counters {
    ($($type:ident: $name:literal;)*) => {$(
        impl Limits for $type {
            const NAME: &'static str = $name;
            const SENDS: &'static [&'static str] = &["incr", "expire"];

            async fn set_up() {
                ByHand::set_up().await;
            }

            async fn wide(key: u64) -> bool {
                count(key, WIDE).await
            }

            async fn narrow(key: u64) -> bool {
                count(key, 1).await
            }
        }
    )*};
}
counters! {
    Counter: "INCR by hand";
    Again: "INCR by hand, again";
}

fn install() {
    // callgrind is slower than any server.
    let builder = Cache::builder(service()).redis(url()).redis_budget(Duration::from_secs(5));
    builder.build().unwrap().install().unwrap();
}

macro_rules! limits {
    ($($type:ident: $name:literal, $algorithm:ident, $wide:ident, $narrow:ident;)*) => {$(
        impl Limits for $type {
            const NAME: &'static str = $name;
            const SENDS: &'static [&'static str] = &["evalsha"];

            async fn set_up() {
                install();
                limited::set_up(Algorithm::$algorithm);
            }

            async fn wide(key: u64) -> bool {
                limited::$wide(key).await
            }

            async fn narrow(key: u64) -> bool {
                limited::$narrow(key).await
            }
        }
    )*};
}
limits! {
    ByLimiter: "larder, Limiter", Gcra, wide, narrow;
    FixedWindow: "larder, Limiter, fixed_window", FixedWindow, wide, narrow;
    SlidingWindow: "larder, Limiter, sliding_window", SlidingWindow, wide, narrow;
    Function: "larder, function", Gcra, wide_by_function, narrow_by_function;
}
