//! Locks with Redis: by hand, by rslock, and larder's.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use larder::Cache;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Script};
use rslock::LockManager;
use tokio::time::sleep;

use super::{connect, service, url};
use crate::contestants::{Locks, locked};

/// `SET NX PX`, asked for again after a while, and a script that deletes what is still one's own.
pub struct Polling;

/// The very same.
pub struct Again;

/// A crate that does it for one server or several.
pub struct Rslock;

pub struct ByLock;

pub struct Function;

const LEASE: Duration = Duration::from_secs(10);

/// Those of the contenders, each with a connection of its own.
static CONNECTIONS: OnceLock<Vec<MultiplexedConnection>> = OnceLock::new();
static MANAGERS: OnceLock<Vec<LockManager>> = OnceLock::new();
static CACHES: OnceLock<Vec<Cache>> = OnceLock::new();

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
",
    )
});

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn key(lock: u64) -> String {
    format!("{}:lock:{lock}", service())
}

impl Locks for Polling {
    const NAME: &'static str = "SET NX by hand, a look after 5 to 50 ms";
    const SENDS: &'static [&'static str] = &["set", "evalsha"];

    async fn set_up(contenders: usize) {
        let mut connections = Vec::new();
        for _ in 0..contenders {
            connections.push(connect(AsyncConnectionConfig::new()).await);
        }
        let _ = CONNECTIONS.set(connections);
    }

    async fn run<F: Future<Output: Send> + Send>(
        contender: usize,
        lock: u64,
        body: F,
    ) -> F::Output {
        let mut connection = CONNECTIONS.get().unwrap()[contender].clone();
        let (key, token) = (key(lock), random());
        loop {
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(token).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
            let set: Option<String> = set.query_async(&mut connection).await.unwrap();
            if set.is_some() {
                break;
            }
            sleep(Duration::from_micros(5_000 + random() % 45_000)).await;
        }
        let output = body.await;
        let deleted: u64 = RELEASE.key(key).arg(token).invoke_async(&mut connection).await.unwrap();
        assert_eq!(deleted, 1);
        output
    }
}

impl Locks for Again {
    const NAME: &'static str = "SET NX by hand, again";
    const SENDS: &'static [&'static str] = Polling::SENDS;

    async fn set_up(contenders: usize) {
        Polling::set_up(contenders).await;
    }

    async fn run<F: Future<Output: Send> + Send>(
        contender: usize,
        lock: u64,
        body: F,
    ) -> F::Output {
        Polling::run(contender, lock, body).await
    }
}

impl Locks for Rslock {
    const NAME: &'static str = "rslock, a look after 0 to 50 ms";
    const SENDS: &'static [&'static str] = &["set", "evalsha"];

    async fn set_up(contenders: usize) {
        let manager = || {
            let mut manager = LockManager::new(vec![url()]);
            manager.set_retry(u32::MAX, Duration::from_millis(50));
            manager
        };
        let _ = MANAGERS.set((0..contenders).map(|_| manager()).collect());
    }

    async fn run<F: Future<Output: Send> + Send>(
        contender: usize,
        lock: u64,
        body: F,
    ) -> F::Output {
        let manager = &MANAGERS.get().unwrap()[contender];
        let guard = manager.acquire(&*key(lock), LEASE).await.unwrap();
        let output = body.await;
        guard.release().await;
        output
    }
}

/// The first of them is the one that is current.
fn install(contenders: usize) {
    let cache = || {
        // callgrind is slower than any server.
        let builder = Cache::builder(service()).redis(url());
        builder.redis_budget(Duration::from_secs(5)).build().unwrap()
    };
    let caches: Vec<_> = (0..contenders).map(|_| cache()).collect();
    caches[0].clone().install().unwrap();
    let _ = CACHES.set(caches);
}

impl Locks for ByLock {
    const NAME: &'static str = "larder, Lock";
    const SENDS: &'static [&'static str] = &["evalsha"];

    async fn set_up(contenders: usize) {
        install(contenders);
    }

    async fn run<F: Future<Output: Send> + Send>(
        contender: usize,
        lock: u64,
        body: F,
    ) -> F::Output {
        locked::run(&CACHES.get().unwrap()[contender], lock, body).await
    }
}

impl Locks for Function {
    const NAME: &'static str = "larder, function";
    const SENDS: &'static [&'static str] = &["evalsha"];

    async fn set_up(contenders: usize) {
        install(contenders);
    }

    async fn run<F: Future<Output: Send> + Send>(
        contender: usize,
        lock: u64,
        body: F,
    ) -> F::Output {
        let cache = &CACHES.get().unwrap()[contender];
        cache.scope(locked::function(lock, body)).await.unwrap()
    }
}
