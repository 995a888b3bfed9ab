//! What is told to a subscriber of the crate `tracing`: each span and event appears when something causes it,
//! with its fields, in the span that it belongs to, and none of them has a key.

#![cfg(all(feature = "tracing", feature = "redis", feature = "limit"))]

mod common;

#[path = "tracing/batches.rs"]
mod batches;
#[path = "tracing/calls.rs"]
mod calls;
#[path = "tracing/cost.rs"]
mod cost;
#[path = "tracing/events.rs"]
mod events;
#[path = "tracing/redis.rs"]
mod redis;
#[path = "tracing/table.rs"]
mod table;
#[path = "tracing/tasks.rs"]
mod tasks;
#[path = "tracing/watch.rs"]
mod watch;

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
