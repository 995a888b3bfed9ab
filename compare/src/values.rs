//! The values that are cached, and the function that makes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a real handler returns: one struct with a few strings, seven allocations behind an `Arc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub tags: Vec<String>,
}

/// What most measurements cache.
pub type Shared = Arc<User>;

/// 64 bytes without an allocation of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block([u64; 8]);

/// What measurements of Redis store: about 150 bytes as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub city: String,
    pub tags: Vec<String>,
    pub score: f64,
}

/// As `Profile`: about 10 KB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Article {
    pub id: u64,
    pub title: String,
    pub comments: Vec<Comment>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comment {
    pub author: String,
    pub likes: u32,
    pub text: String,
}

pub trait Value: Bounded + Clone + Send + Sync + 'static {
    fn new(id: u64) -> Self;
}

/// The capacity of the cache that holds this type of value.
pub trait Bounded {
    const CAPACITY: usize;
}

/// Calls `$macro!(name, capacity, type)` for each type of value.
///
/// The caches live in statics and the peers' attributes want literals, so none of it can be generic:
/// a contestant says once what it does for one type, and this says it for all.
macro_rules! for_each_value {
    ($macro:ident) => {
        $macro!(shared, 100_000, $crate::values::Shared);
        $macro!(owned, 100_000, $crate::values::User);
        $macro!(number, 200_000, u64);
        $macro!(block, 200_000, ::std::sync::Arc<$crate::values::Block>);
    };
}
pub(crate) use for_each_value;

/// As `for_each_value`, for those that go to Redis.
macro_rules! for_each_stored_value {
    ($macro:ident) => {
        $macro!(profile, 10_000, $crate::values::Profile);
        $macro!(article, 10_000, $crate::values::Article);
    };
}
pub(crate) use for_each_stored_value;

macro_rules! bounded {
    ($name:ident, $capacity:tt, $value:ty) => {
        impl Bounded for $value {
            const CAPACITY: usize = $capacity;
        }
    };
}
for_each_value!(bounded);
for_each_stored_value!(bounded);

static RUNS: AtomicU64 = AtomicU64::new(0);
static DELAY_MS: AtomicU64 = AtomicU64::new(0);

/// The function behind every cache.
pub async fn load<V: Value>(id: u64) -> V {
    run().await;
    V::new(id)
}

/// The function behind every batch: one run, whatever the number.
pub async fn load_all<V: Value>(ids: &[u64]) -> HashMap<u64, V> {
    run().await;
    ids.iter().map(|&id| (id, V::new(id))).collect()
}

async fn run() {
    RUNS.fetch_add(1, Relaxed);
    let delay = DELAY_MS.load(Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
}

/// How long `load` takes from now on; at first it is instant.
pub fn set_delay(delay: Duration) {
    DELAY_MS.store(delay.as_millis() as u64, Relaxed);
}

/// How often `load` and `load_all` were begun.
pub fn runs() -> u64 {
    RUNS.load(Relaxed)
}

impl Value for User {
    fn new(id: u64) -> Self {
        User {
            id,
            name: String::from("Grace Hopper"),
            email: String::from("grace@example.com"),
            tags: Vec::from(["admin", "beta", "early"].map(String::from)),
        }
    }
}

impl Value for Shared {
    fn new(id: u64) -> Self {
        Arc::new(User::new(id))
    }
}

impl Value for u64 {
    fn new(id: u64) -> Self {
        id
    }
}

impl Value for Arc<Block> {
    fn new(id: u64) -> Self {
        Arc::new(Block([id; 8]))
    }
}

impl Value for Profile {
    fn new(id: u64) -> Self {
        Profile {
            id,
            name: String::from("Grace Hopper"),
            email: String::from("grace@example.com"),
            city: String::from("Arlington, Virginia"),
            tags: Vec::from(["admin", "beta", "early"].map(String::from)),
            score: 98.25,
        }
    }
}

impl Value for Article {
    fn new(id: u64) -> Self {
        let comments = (0..32).map(|number| Comment {
            author: String::from("Grace Hopper"),
            likes: number,
            text: "The most dangerous phrase is: we have always done it this way. ".repeat(4),
        });
        Article { id, title: String::from("On compilers"), comments: comments.collect() }
    }
}
