//! Many at once, with Redis: one command for all that is there and one pipeline for what was not, or
//! a call of each.

use std::collections::HashMap;
use std::convert::Infallible;

use futures_util::future::join_all;
use redis::AsyncCommands as _;

use super::by_hand::{self, connection};
use super::{Tier as _, larder, service};
use crate::contestants::{Calls, Many};
use crate::values::{Profile, load, load_all};

/// By hand.
pub struct Mget;

/// The very same.
pub struct Again;

/// As many `GET`, each of them by hand.
pub struct Gets;

/// One call with `each`.
pub struct Each;

/// As many calls of a function for a single one.
pub struct JoinAll;

impl Many for Mget {
    const NAME: &'static str = "MGET by hand";

    type Value = Profile;

    async fn set_up() {
        by_hand::ByHand::set_up().await;
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Profile> {
        let mut connection = connection();
        let keys: Vec<_> = ids.iter().map(|id| format!("{}:user:{id}", service())).collect();
        let stored: Vec<Option<Vec<u8>>> = connection.mget(&keys).await.unwrap();
        let mut found = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        for (&id, stored) in ids.iter().zip(stored) {
            match stored {
                Some(stored) => _ = found.insert(id, serde_json::from_slice(&stored).unwrap()),
                None => missing.push(id),
            }
        }
        if missing.is_empty() {
            return found;
        }
        let loaded = load_all::<Profile>(&missing).await;
        let mut pipeline = redis::pipe();
        for (id, value) in &loaded {
            let stored = serde_json::to_vec(value).unwrap();
            pipeline.set_ex(format!("{}:user:{id}", service()), stored, 3600).ignore();
        }
        let () = pipeline.query_async(&mut connection).await.unwrap();
        found.extend(loaded);
        found
    }
}

impl Many for Again {
    const NAME: &'static str = "MGET by hand, again";

    type Value = Profile;

    async fn set_up() {
        Mget::set_up().await;
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Profile> {
        Mget::call(ids).await
    }
}

impl Many for Gets {
    const NAME: &'static str = "100 GETs by hand, join_all";

    type Value = Profile;

    async fn set_up() {
        by_hand::ByHand::set_up().await;
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Profile> {
        let found = join_all(ids.iter().map(|&id| <by_hand::ByHand as Calls<Profile>>::call(id)));
        ids.iter().copied().zip(found.await).collect()
    }
}

#[::larder::cached(ttl = 3600, local = false, key = "user:{id}")]
async fn user(id: u64) -> Result<Profile, Infallible> {
    Ok(load(id).await)
}

#[::larder::cached(ttl = 3600, local = false, key = "user:{id}", each(id in ids))]
async fn users(ids: &[u64]) -> Result<HashMap<u64, Profile>, Infallible> {
    Ok(load_all(ids).await)
}

impl Many for Each {
    const NAME: &'static str = "larder, each";

    type Value = Profile;

    async fn set_up() {
        larder::Remote::set_up().await;
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Profile> {
        let Ok(found) = users(ids).await;
        found
    }
}

impl Many for JoinAll {
    const NAME: &'static str = "larder, 100 calls, join_all";

    type Value = Profile;

    async fn set_up() {
        larder::Remote::set_up().await;
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Profile> {
        let found = join_all(ids.iter().map(|&id| user(id))).await;
        ids.iter().copied().zip(found.into_iter().flatten()).collect()
    }
}
