//! Locks in the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use larder::{Cache, Lock, LockError};
use tokio::sync::Mutex;

use super::Locks;

/// One of tokio for each lock, made beforehand.
pub struct Tokio;

/// The same with a map, as a lock with a name takes it. No lock leaves the map.
pub struct TokioInMap;

pub struct ByLock;

pub struct Function;

/// Longer than any of them takes.
pub const WAIT: Duration = Duration::from_secs(60);

/// More than there are tasks.
static MUTEXES: [Mutex<()>; 64] = [const { Mutex::const_new(()) }; 64];

static MAP: LazyLock<std::sync::Mutex<HashMap<u64, Arc<Mutex<()>>>>> =
    LazyLock::new(Default::default);

/// By the name, in the cache that is given.
pub async fn run<F: Future>(cache: &Cache, lock: u64, body: F) -> F::Output {
    let guard = Lock::new(cache, &format!("job:{lock}")).acquire(WAIT).await.unwrap();
    let output = body.await;
    guard.release().await.unwrap();
    output
}

/// In the cache that is current.
#[larder::locked(key = "job:{id}", wait = "60s")]
pub async fn function<F>(id: u64, body: F) -> Result<F::Output, LockError>
where
    F: Future + Send,
    F::Output: Send,
{
    let _ = id;
    Ok(body.await)
}

impl Locks for Tokio {
    const NAME: &'static str = "tokio Mutex";

    async fn set_up(_contenders: usize) {}

    async fn run<F: Future<Output: Send> + Send>(_: usize, lock: u64, body: F) -> F::Output {
        let _guard = MUTEXES[lock as usize].lock().await;
        body.await
    }
}

impl Locks for TokioInMap {
    const NAME: &'static str = "tokio Mutex in a map";

    async fn set_up(_contenders: usize) {}

    async fn run<F: Future<Output: Send> + Send>(_: usize, lock: u64, body: F) -> F::Output {
        let mutex = MAP.lock().unwrap().entry(lock).or_default().clone();
        let _guard = mutex.lock().await;
        body.await
    }
}

fn install() {
    Cache::builder("bench").build().unwrap().install().unwrap();
}

impl Locks for ByLock {
    const NAME: &'static str = "larder, Lock";

    async fn set_up(_contenders: usize) {
        install();
    }

    async fn run<F: Future<Output: Send> + Send>(_: usize, lock: u64, body: F) -> F::Output {
        run(&Cache::current(), lock, body).await
    }
}

impl Locks for Function {
    const NAME: &'static str = "larder, function";

    async fn set_up(_contenders: usize) {
        install();
    }

    async fn run<F: Future<Output: Send> + Send>(_: usize, lock: u64, body: F) -> F::Output {
        function(lock, body).await.unwrap()
    }
}
