//! What is published through the facade `metrics`: every metric moves when something causes it, under its
//! exact name and labels.

#![cfg(all(feature = "metrics", feature = "redis", feature = "limit"))]

mod common;

#[path = "metrics/functions.rs"]
mod functions;
#[path = "metrics/limits.rs"]
mod limits;
#[path = "metrics/locks.rs"]
mod locks;
#[path = "metrics/publishing.rs"]
mod publishing;
#[path = "metrics/recorder.rs"]
mod recorder;
#[path = "metrics/redis.rs"]
mod redis;
#[path = "metrics/table.rs"]
mod table;

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// A hang fails the test.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if in_time(is_so()).await {
            return;
        }
        sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}
