//! larder with a URL.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder::{Cache, CacheBuilder, Codec, InvalidationBuilder};
use tokio::time::sleep;

use super::{HandOff, Reader, Tier, Which, Writer, service, url};
use crate::contestants::Calls;
use crate::measure::redis::run;
use crate::values::{Profile, for_each_stored_value, load};

/// With nothing in memory, so that every call is one to Redis.
pub struct Remote;

/// The same, with another codec.
pub struct Postcard;

/// As it is.
pub struct BothTiers;

/// Two caches of one service.
pub struct Woken;

/// An invalidation after a change.
pub struct Invalidated;

/// One that keeps others from storing during the change.
pub struct Held;

fn builder() -> CacheBuilder {
    // callgrind is slower than any server.
    Cache::builder(service()).redis(url()).redis_budget(Duration::from_secs(5))
}

impl Tier for Remote {
    const NAME: &'static str = "larder, local = false";

    async fn set_up() {
        builder().build().unwrap().install().unwrap();
    }
}

impl Tier for Postcard {
    const NAME: &'static str = "larder, local = false, postcard";

    async fn set_up() {
        builder().codec(Codec::Postcard).build().unwrap().install().unwrap();
    }
}

impl Tier for BothTiers {
    const NAME: &'static str = "larder";

    async fn set_up() {
        builder().build().unwrap().install().unwrap();
    }
}

macro_rules! larder {
    ($name:ident, $capacity:tt, $value:ty) => {
        mod $name {
            use super::*;

            #[::larder::cached(ttl = 3600, local = false, key = "user:{id}")]
            async fn remote(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            #[::larder::cached(ttl = 3600, key = "user:{id}")]
            async fn both(id: u64) -> Result<$value, Infallible> {
                Ok(load(id).await)
            }

            calls! {
                $value;
                Remote: remote;
                Postcard: remote;
                BothTiers: both;
            }
        }
    };
}
for_each_stored_value!(larder);

static CACHES: OnceLock<[Cache; 2]> = OnceLock::new();

#[larder::cached(ttl = 3600, key = "handed:{id}")]
async fn handed(id: u64) -> Result<u64, &'static str> {
    run(id).await
}

impl HandOff for Woken {
    const NAME: &'static str = "larder, two caches";

    async fn set_up() {
        let caches = [builder().build().unwrap(), builder().build().unwrap()];
        let _ = CACHES.set(caches);
    }

    async fn call(which: Which, id: u64) {
        let cache = &CACHES.get().unwrap()[which as usize];
        // Made inside, or it would be a call in the cache that is current here.
        let _ = cache.scope(async { handed(id).await }).await;
    }
}

#[larder::cached(ttl = 3600, key = "profile:{id}")]
async fn profile(id: u64) -> Result<Profile, Infallible> {
    Ok(load(id).await)
}

fn invalidation(ids: Range<u64>) -> InvalidationBuilder {
    ids.fold(Cache::current().invalidation(), |invalidation, id| invalidation.entry(profile(id)))
}

impl Writer for Invalidated {
    const NAME: &'static str = "larder";

    async fn set_up() {
        builder().build().unwrap().install().unwrap();
        // With the first entry in memory it begins to hear of what others change.
        Self::store(u64::MAX).await;
        sleep(Duration::from_millis(200)).await;
    }

    async fn store(id: u64) {
        let Ok(_) = profile(id).await;
    }

    async fn invalidate(ids: Range<u64>) {
        invalidation(ids).await.unwrap().complete().await.unwrap();
    }
}

impl Writer for Held {
    const NAME: &'static str = "larder, with a hold";

    async fn set_up() {
        Invalidated::set_up().await;
    }

    async fn store(id: u64) {
        Invalidated::store(id).await;
    }

    async fn invalidate(ids: Range<u64>) {
        let held = invalidation(ids).hold(Duration::from_secs(5)).await.unwrap();
        held.complete().await.unwrap();
    }
}

impl Reader for Invalidated {
    fn has(id: u64) -> bool {
        // What memory does not have takes more than one poll.
        let peeked = pin!(profile(id).peek()).poll(&mut Context::from_waker(Waker::noop()));
        matches!(peeked, Poll::Ready(Some(_)))
    }

    async fn other(id: u64) {
        <Remote as Calls<Profile>>::call(id).await;
    }
}
