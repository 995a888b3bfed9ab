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

use common::wait::eventually;
