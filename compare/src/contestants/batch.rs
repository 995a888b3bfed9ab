//! larder in memory, asked for many at once.

use std::collections::HashMap;
use std::convert::Infallible;

use futures_util::future::join_all;

use super::{Contestant, Many};
use crate::values::{Bounded, Shared, load, load_all};

/// One call after another.
pub struct Calls;

/// All calls at once.
pub struct JoinAll;

/// One call with `each`.
pub struct Each;

/// Not the same code as that of `larder`: the compiler would make one of the two, and no part of a hit.
#[larder::cached(ttl = 3600, key = "user:{id}")]
async fn user(id: u64) -> Result<Shared, Infallible> {
    let loaded = load(id).await;
    tokio::task::yield_now().await;
    Ok(loaded)
}

#[larder::cached(ttl = 3600, key = "user:{id}", each(id in ids))]
async fn users(ids: &[u64]) -> Result<HashMap<u64, Shared>, Infallible> {
    Ok(load_all(ids).await)
}

fn set_up() {
    super::larder::Larder::set_up(Shared::CAPACITY);
}

impl Many for Calls {
    const NAME: &'static str = "100 calls, one after another";

    type Value = Shared;

    async fn set_up() {
        set_up();
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Shared> {
        let mut found = HashMap::with_capacity(ids.len());
        for &id in ids {
            let Ok(value) = user(id).await;
            found.insert(id, value);
        }
        found
    }
}

impl Many for JoinAll {
    const NAME: &'static str = "100 calls, join_all";

    type Value = Shared;

    async fn set_up() {
        set_up();
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Shared> {
        let found = join_all(ids.iter().map(|&id| user(id))).await;
        ids.iter().copied().zip(found.into_iter().flatten()).collect()
    }
}

impl Many for Each {
    const NAME: &'static str = "each";

    type Value = Shared;

    async fn set_up() {
        set_up();
    }

    async fn call(ids: &[u64]) -> HashMap<u64, Shared> {
        let Ok(found) = users(ids).await;
        found
    }
}
