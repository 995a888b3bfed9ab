//! Locks on a real Redis. Each cache is a process of the fleet, with connections of its own.

use std::sync::atomic::AtomicU64;

use tokio::{task::JoinSet, time::timeout};

use super::*;
use common::{
    dice::Dice,
    proxy::{Mode, Proxy},
    redis::RedisServer,
};

/// One whose budget no busy machine uses up.
fn patient(url: &str) -> Cache {
    let budget = Duration::from_secs(10);
    Cache::builder("test").redis(url).redis_budget(budget).build().unwrap()
}

async fn until(mut fact: impl AsyncFnMut() -> bool) {
    let eventually = async {
        while !fact().await {
            sleep(MOMENT).await;
        }
    };
    timeout(Duration::from_secs(60), eventually).await.unwrap();
}

/// How long what stands at the key is: 41 bytes, and 24 for each who waits.
fn length(server: &RedisServer) -> String {
    server.command(&["STRLEN", KEY])
}

/// Whether nobody has the lock or waits for it.
fn is_free(server: &RedisServer) -> bool {
    let script = "local b = redis.call('GET', KEYS[1]) or '' \
        return #b == 41 and b:sub(2, 17) == string.rep('\\0', 16) and 1 or 0";
    server.command(&["EVAL", script, "1", KEY]) == "1"
}

/// What the lock is for.
#[derive(Debug, Default)]
struct Resource {
    inside: AtomicU32,
    last: AtomicU64,
    entered: AtomicU32,
}

/// One that is inside, until it is dropped.
struct Inside<'a>(&'a Resource);

impl<'a> Inside<'a> {
    fn enter(resource: &'a Resource) -> Self {
        let fence = fence().unwrap();
        assert_eq!(resource.inside.fetch_add(1, SeqCst), 0, "two are inside");
        let last = resource.last.swap(fence, SeqCst);
        assert!(fence > last, "{fence} after {last}");
        resource.entered.fetch_add(1, SeqCst);
        Self(resource)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_bodies_run_one_after_another_and_nobody_starves() {
    const ROUNDS: u32 = 4_000;
    static SITE: LockSite = LockSite::new("job:{}").wait(60_000);

    let server = RedisServer::start();
    let resource = Arc::new(Resource::default());
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let cache = patient(&server.url());
        for _ in 0..2 {
            let (cache, resource) = (cache.clone(), Arc::clone(&resource));
            tasks.spawn(async move {
                let mut mine = 0_u32;
                while resource.entered.load(SeqCst) < ROUNDS {
                    let body = async {
                        let _inside = Inside::enter(&resource);
                        tokio::task::yield_now().await;
                    };
                    locked(&cache, &SITE).run(body).await.unwrap();
                    mine += 1;
                }
                mine
            });
        }
    }
    let came = tasks.join_all().await;
    let (least, most) = (came.iter().min().unwrap(), came.iter().max().unwrap());
    println!("{came:?}");
    assert!(2 * least >= *most, "{came:?}");
    assert!(is_free(&server));
}

const MODES: [Mode; 5] = [Mode::Cut, Mode::Drop, Mode::BlackHole, Mode::Lose, Mode::Garbage];

/// What becomes of the connections of a process.
async fn weather(proxy: Arc<Proxy>, mut dice: Dice) {
    loop {
        sleep(Duration::from_millis(dice.below(5_000))).await;
        proxy.set(match dice.below(8) {
            number @ 0..5 => MODES[number as usize],
            _ => Mode::Delay(Duration::from_millis(dice.below(80))),
        });
        sleep(Duration::from_millis(dice.below(150))).await;
        proxy.set(Mode::Pass);
    }
}

/// The same while the lock is held, for longer than a lease.
fn storm(proxy: &Arc<Proxy>, mode: Mode) {
    let proxy = Arc::clone(proxy);
    proxy.set(mode);
    tokio::spawn(async move {
        sleep(Duration::from_millis(600)).await;
        proxy.set(Mode::Pass);
    });
}

// On one thread: between a look at the clock and what is done then no time passes, as far as a machine
// can promise that.
#[tokio::test]
async fn no_two_are_inside_whatever_becomes_of_their_connections() {
    const ROUNDS: u32 = 600;
    static SITE: LockSite = LockSite::new("job:{}").lease(400).wait(2_000);

    let server = RedisServer::start();
    let resource = Arc::new(Resource::default());
    let mut tasks = JoinSet::new();
    let mut weathers = JoinSet::new();
    for process in 0..4 {
        let proxy = Arc::new(Proxy::before(server.port()));
        let cache = Cache::builder("test").redis(proxy.url()).build().unwrap();
        weathers.spawn(weather(Arc::clone(&proxy), Dice::new(process, 99)));
        for task in 0..3 {
            let (cache, resource) = (cache.clone(), Arc::clone(&resource));
            let (proxy, mut dice) = (Arc::clone(&proxy), Dice::new(process, task));
            tasks.spawn(async move {
                let (mut lost, mut refused, mut cancelled) = (0_u32, 0_u32, 0_u32);
                while resource.entered.load(SeqCst) < ROUNDS {
                    let storms = (dice.below(150) == 0).then(|| MODES[dice.below(5) as usize]);
                    let (steps, pause) =
                        if storms.is_some() { (50, 10) } else { (dice.below(3), 1) };
                    let body = async {
                        let _inside = Inside::enter(&resource);
                        if let Some(mode) = storms {
                            storm(&proxy, mode);
                        }
                        for _ in 0..steps {
                            sleep(Duration::from_millis(pause)).await;
                            assert_eq!(resource.inside.load(SeqCst), 1);
                        }
                    };
                    let patience = match dice.below(4) {
                        0 if storms.is_none() => Duration::from_millis(dice.below(50)),
                        _ => Duration::from_secs(3_600),
                    };
                    match timeout(patience, locked(&cache, &SITE).run(body)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(LockError::Lost)) => lost += 1,
                        Ok(Err(_)) => refused += 1,
                        Err(_) => cancelled += 1,
                    }
                }
                (lost, refused, cancelled)
            });
        }
    }
    let came = tasks.join_all().await;
    let sum = |of: fn(&(u32, u32, u32)) -> u32| came.iter().map(of).sum::<u32>();
    let (lost, refused, cancelled) = (sum(|came| came.0), sum(|came| came.1), sum(|came| came.2));
    println!("{lost} lost, {refused} refused, {cancelled} cancelled");
    // It was not all fair weather.
    assert!(lost > 0 && cancelled > ROUNDS / 20);
    weathers.shutdown().await;
    // What could not be given back ends by itself.
    let cache = patient(&server.url());
    until(async || Lock::new(&cache, NAME).try_acquire().await.unwrap().is_some()).await;
    until(async || is_free(&server)).await;
}

#[tokio::test]
async fn a_lock_is_one_key_that_goes_by_itself() {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    let guard = Lock::new(&cache, NAME).acquire(SECOND).await.unwrap();
    let mut keys: Vec<_> = server.command(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, [":larder:test", KEY]);
    let left = || server.command(&["PTTL", KEY]).parse::<u64>().unwrap();
    assert!(left() > 600_000);
    guard.release().await.unwrap();
    assert!((1..=600_000).contains(&left()));
    assert!(is_free(&server));
}

#[tokio::test]
async fn a_cancelled_claim_leaves_no_place_behind() {
    let server = RedisServer::start();
    let (one, other) = (patient(&server.url()), patient(&server.url()));
    let guard = Lock::new(&one, NAME).try_acquire().await.unwrap().unwrap();
    for wait in [0, 1, 2, 5, 10, 20] {
        let lock = Lock::new(&other, NAME);
        assert!(timeout(wait * MOMENT, lock.acquire(LEASE)).await.is_err());
        until(async || length(&server) == "41").await;
    }
    drop(guard);
    until(async || is_free(&server)).await;
}

#[tokio::test]
async fn fences_rise_also_when_the_server_was_emptied() {
    let mut server = RedisServer::start();
    let cache = Cache::builder("test").redis(server.url()).build().unwrap();
    let lock = Lock::new(&cache, NAME).lease(3 * SECOND);
    let mut last = 0;
    for _ in 0..3 {
        let guard = lock.acquire(Duration::from_secs(30)).await.unwrap();
        assert!(guard.fence() > last);
        last = guard.fence();
        server.restart();
        // It is found out by the next renewal, and the end of it as well.
        guard.lost().await;
        assert!(guard.release().await.is_err());
    }
    server.command(&["FLUSHALL"]);
    let guard = lock.acquire(Duration::from_secs(30)).await.unwrap();
    assert!(guard.fence() > last);
}

#[tokio::test]
async fn a_redis_that_is_away_costs_an_attempt_and_soon_nothing() {
    let mut server = RedisServer::start();
    let cache = Cache::builder("test").redis(server.url()).build().unwrap();
    let lock = Lock::new(&cache, NAME);
    until(async || matches!(lock.try_acquire().await, Ok(Some(_)))).await;
    until(async || is_free(&server)).await;
    let timeouts = || cache.stats().redis.timeouts;

    // It hangs: three budgets are lost, by one after another, and then none.
    let before = timeouts();
    server.hang();
    for _ in 0..50 {
        let refused = lock.acquire(Duration::ZERO).await;
        assert!(matches!(refused, Err(LockError::Unavailable { .. })), "{refused:?}");
    }
    assert!(timeouts() - before <= 3, "{}", timeouts() - before);
    server.resume();
    until(async || matches!(lock.try_acquire().await, Ok(Some(_)))).await;

    // It is dead: nobody waits for it, but one who waits for the lock.
    until(async || is_free(&server)).await;
    server.kill();
    until(async || lock.try_acquire().await.is_err()).await;
    let sent = cache.stats().redis.commands;
    for _ in 0..50 {
        assert!(matches!(lock.try_acquire().await, Err(LockError::Unavailable { .. })));
    }
    assert_eq!(cache.stats().redis.commands, sent, "nothing is sent to where nobody is");
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire(Duration::from_secs(60)).await }
    });
    let refused = lock.acquire(50 * MOMENT).await;
    assert!(matches!(refused, Err(LockError::Unavailable { .. })), "{refused:?}");
    server.restart();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_body_keeps_its_lock_over_a_short_outage() {
    static SITE: LockSite = LockSite::new("job:{}").lease(60_000);

    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let cache = Cache::builder("test").redis(proxy.url()).build().unwrap();
    until(async || matches!(Lock::new(&cache, NAME).try_acquire().await, Ok(Some(_)))).await;
    until(async || is_free(&server)).await;
    for mode in [Mode::Cut, Mode::BlackHole, Mode::Lose, Mode::Garbage] {
        let body = async {
            proxy.set(mode);
            until(async || {
                // Who asks notices.
                let _ = Lock::new(&cache, "another").try_acquire().await;
                cache.stats().redis.breaker_openings > 0
            })
            .await;
            proxy.set(Mode::Pass);
            fence().unwrap()
        };
        let fence = locked(&cache, &SITE).run(body).await.unwrap();
        // If it was not given back at once, it is when the connection is.
        until(async || is_free(&server)).await;
        until(async || match Lock::new(&cache, NAME).try_acquire().await {
            Ok(Some(guard)) => {
                assert!(guard.fence() > fence);
                true
            }
            _ => false,
        })
        .await;
        until(async || is_free(&server)).await;
    }
}

#[tokio::test]
async fn a_handoff_costs_three_commands() {
    const HANDOFFS: u64 = 200;

    let server = RedisServer::start();
    let caches = [patient(&server.url()), patient(&server.url())];
    // The scripts are known, and the connections made.
    for cache in &caches {
        Lock::new(cache, NAME).acquire(SECOND).await.unwrap().release().await.unwrap();
        let guard = Lock::new(cache, NAME).acquire(SECOND).await.unwrap();
        guard.release().await.unwrap();
    }
    let sent = || caches.iter().map(|cache| cache.stats().redis.commands).sum::<u64>();
    let before = sent();
    let mut tasks = JoinSet::new();
    for cache in caches.clone() {
        tasks.spawn(async move {
            for _ in 0..HANDOFFS / 2 {
                let guard = Lock::new(&cache, NAME).acquire(60 * SECOND).await.unwrap();
                guard.release().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let sent = sent() - before;
    // To ask, to ask again when it was told, and to give back.
    assert!((2 * HANDOFFS..=3 * HANDOFFS + 20).contains(&sent), "{sent}");
}
