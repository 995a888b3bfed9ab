//! Locks: in the memory of one process, on the tier that a test decides, and on a real Redis. With real
//! processes they are in `lock_fleet.rs`.

mod common;

#[path = "lock/body.rs"]
mod body;
#[path = "lock/chance.rs"]
mod chance;
#[path = "lock/held.rs"]
mod held;
#[path = "lock/outage.rs"]
mod outage;
#[path = "lock/queue.rs"]
mod queue;
#[cfg(feature = "redis")]
#[path = "lock/redis.rs"]
mod redis;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{At, Process, Server, Verb, node::Node};
use larder::{
    __private::{KeyBytes, LockSite, Locked, lock_on},
    Cache, Error, Lock, LockError, LockGuard, fence,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

/// For whatever needs no time to happen.
const MOMENT: Duration = Duration::from_millis(1);

/// Unless a test says otherwise.
const LEASE: Duration = Duration::from_secs(10);

/// The lock of most tests, and where it is.
const NAME: &str = "job:7";
const KEY: &str = ":lock:test:job:7";

/// `#[locked(key = "job:{id}")]`, and the same with `wait = "5s"`.
static AT_ONCE: LockSite = LockSite::new("job:{}");
static PATIENT: LockSite = LockSite::new("job:{}").wait(5_000);

/// The lock of a call with an `id` of 7.
fn locked(cache: &Cache, site: &'static LockSite) -> Locked {
    let mut key = KeyBytes::new();
    key.writer().part(&7_u64);
    lock_on(cache, site, key)
}

/// One step of a future.
fn step<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A claim on a task of its own, which has got to where it waits.
async fn claimed(node: &Node, wait: Duration) -> JoinHandle<Result<LockGuard, LockError>> {
    let lock = Lock::new(&node.cache, NAME);
    let claim = tokio::spawn(async move { lock.acquire(wait).await });
    sleep(MOMENT).await;
    claim
}

async fn taken(node: &Node) -> LockGuard {
    Lock::new(&node.cache, NAME).acquire(Duration::ZERO).await.unwrap()
}

/// That nobody has the lock or waits for it.
#[track_caller]
fn assert_free(server: &Server) {
    let standing = server.standing(KEY).unwrap_or_default();
    assert_eq!((standing.holder, standing.places), (0, vec![]));
    assert_eq!(server.waiting(), 0);
}
