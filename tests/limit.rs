//! Limits of how often something is done: in the memory of a process, in Redis, and while Redis is away.
//! The algorithms themselves are beside their code, against logs by brute force.

#![cfg(feature = "limit")]

mod common;

#[path = "limit/attribute.rs"]
mod attribute;
#[path = "limit/away.rs"]
mod away;
#[cfg(feature = "redis")]
#[path = "limit/fleet.rs"]
mod fleet;
#[path = "limit/memory.rs"]
mod memory;
#[path = "limit/names.rs"]
mod names;
#[cfg(feature = "redis")]
#[path = "limit/redis.rs"]
mod redis;
#[path = "limit/seam.rs"]
mod seam;
#[cfg(feature = "redis")]
#[path = "limit/tap.rs"]
mod tap;
#[path = "limit/wait.rs"]
mod wait;

use std::{sync::Arc, time::Duration};

use common::{Process, Server, time::Virtual};
use larder::{Algorithm, Allowed, Cache, Limiter, ManualClock, RateLimited, WhenDown};

/// Plays a role in the fleet of another test.
#[cfg(feature = "redis")]
#[test]
fn a_process_of_the_fleet() {
    fleet::play();
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

/// In memory, by a clock that the test moves.
fn in_memory() -> (Cache, ManualClock) {
    let clock = ManualClock::new();
    (Cache::builder("test").clock(clock.clone()).build().unwrap(), clock)
}

/// In memory, by a clock that goes with tokio's.
fn virtual_memory() -> Cache {
    Cache::builder("test").clock(Virtual::new()).build().unwrap()
}

/// A server, and a process of the fleet by a clock that goes with tokio's.
fn in_fleet() -> (Arc<Server>, Arc<Process>, Cache) {
    let server = Server::new();
    let (process, cache) = process(&server, "a");
    (server, process, cache)
}

/// One more.
fn process(server: &Arc<Server>, name: &'static str) -> (Arc<Process>, Cache) {
    let process = server.connect(name);
    let remote = Arc::clone(&process) as _;
    let cache = Cache::builder("test").remote(remote).clock(Virtual::new()).build().unwrap();
    (process, cache)
}

/// How many of so many are allowed, one after another.
async fn allowed(limiter: &Limiter, key: u64, tries: u32) -> u32 {
    let mut allowed = 0;
    for _ in 0..tries {
        allowed += u32::from(limiter.check(key).await.is_ok());
    }
    allowed
}

/// When a denial says to come again.
fn retry(answer: Result<Allowed, RateLimited>) -> Duration {
    answer.unwrap_err().retry_after
}
