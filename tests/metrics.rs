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

use common::wait::{eventually, in_time};
