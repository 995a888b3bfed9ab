//! larder's limits: by `Limiter`, and by the attribute over a function that does nothing else.

use std::sync::OnceLock;
use std::time::Duration;

use larder::{Algorithm, Cache, Limiter, RateLimited};

use super::{Limits, WIDE};

pub struct ByLimiter;

pub struct FixedWindow;

pub struct SlidingWindow;

pub struct Function;

/// One limit for all.
pub struct FunctionWithoutKey;

/// Those of a process: it asks by one algorithm.
static LIMITERS: OnceLock<[Limiter; 2]> = OnceLock::new();

/// In the cache that is current.
pub fn set_up(algorithm: Algorithm) {
    let limiter = |name, limit, per| {
        Limiter::new(&Cache::current(), name, limit, Duration::from_secs(per)).algorithm(algorithm)
    };
    let wide = match algorithm {
        Algorithm::Gcra => limiter("wide", 100, 1).burst(WIDE),
        _ => limiter("wide", WIDE, 3600),
    };
    let _ = LIMITERS.set([wide, limiter("narrow", 1, 3600)]);
}

pub async fn wide(key: u64) -> bool {
    LIMITERS.get().unwrap()[0].check(key).await.is_ok()
}

pub async fn narrow(key: u64) -> bool {
    LIMITERS.get().unwrap()[1].check(key).await.is_ok()
}

#[larder::rate_limited(limit = 100, per = "1s", burst = 4_000_000_000, key = "wide:{id}")]
async fn wide_function(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

#[larder::rate_limited(limit = 1, per = "1h", key = "narrow:{id}")]
async fn narrow_function(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

pub async fn wide_by_function(key: u64) -> bool {
    wide_function(key).await.is_ok()
}

pub async fn narrow_by_function(key: u64) -> bool {
    narrow_function(key).await.is_ok()
}

#[larder::rate_limited(limit = 100, per = "1s", burst = 4_000_000_000)]
async fn wide_without_key(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

#[larder::rate_limited(limit = 1, per = "1h")]
async fn narrow_without_key(id: u64) -> Result<u64, RateLimited> {
    Ok(id)
}

fn install() {
    Cache::builder("bench").build().unwrap().install().unwrap();
}

macro_rules! limiters {
    ($($type:ident: $name:literal, $algorithm:ident;)*) => {$(
        impl Limits for $type {
            const NAME: &'static str = $name;

            async fn set_up() {
                install();
                set_up(Algorithm::$algorithm);
            }

            async fn wide(key: u64) -> bool {
                wide(key).await
            }

            async fn narrow(key: u64) -> bool {
                narrow(key).await
            }
        }
    )*};
}
limiters! {
    ByLimiter: "larder, Limiter", Gcra;
    FixedWindow: "larder, Limiter, fixed_window", FixedWindow;
    SlidingWindow: "larder, Limiter, sliding_window", SlidingWindow;
}

impl Limits for Function {
    const NAME: &'static str = "larder, function";

    async fn set_up() {
        install();
    }

    async fn wide(key: u64) -> bool {
        wide_by_function(key).await
    }

    async fn narrow(key: u64) -> bool {
        narrow_by_function(key).await
    }
}

impl Limits for FunctionWithoutKey {
    const NAME: &'static str = "larder, function without `key`";
    const HAS_KEYS: bool = false;

    async fn set_up() {
        install();
    }

    async fn wide(key: u64) -> bool {
        wide_without_key(key).await.is_ok()
    }

    async fn narrow(key: u64) -> bool {
        narrow_without_key(key).await.is_ok()
    }
}
