//! With a real Redis, also one that is away, hangs, refuses and comes back.

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::common::{
    proxy::{Mode, Proxy},
    redis::RedisServer,
};

/// One whose budget no busy machine uses up.
fn patient(url: &str) -> Cache {
    Cache::builder("test").redis(url).redis_budget(MINUTE).build().unwrap()
}

/// How often a script about a limit was called.
fn calls(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let calls = stats.split_once("cmdstat_evalsha:calls=").map_or("0", |(_, calls)| calls);
    calls.split(',').next().unwrap().parse().unwrap()
}

/// A hang fails the test.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(MINUTE, future).await.unwrap()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < MINUTE, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Until it is Redis that answers.
async fn is_used(cache: &Cache) {
    let probe = Limiter::new(cache, "probe", 1, HOUR).when_down(WhenDown::Deny);
    eventually("Redis is used", async || probe.peek(()).await.remaining == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_one_command_and_a_denial_that_is_remembered_none() {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    for algorithm in ALGORITHMS {
        let limiter = Limiter::new(&cache, "login", 10, HOUR).algorithm(algorithm);
        is_used(&cache).await;
        let before = calls(&server);
        assert_eq!(allowed(&limiter, 1, 10).await, 10);
        assert_eq!(calls(&server), before + 10);
        // A window of the server may end meanwhile, and an hour has ten more.
        let of_two_windows = allowed(&limiter, 1, 1_000).await;
        assert!(of_two_windows <= 10);
        assert!(calls(&server) <= before + 10 + u64::from(of_two_windows) + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_a_service_count_together_and_services_apart() {
    let server = RedisServer::start();
    let (one, other) = (patient(&server.url()), patient(&server.url()));
    let stranger = Cache::builder("shop").redis(server.url()).redis_budget(MINUTE).build().unwrap();
    for cache in [&one, &other, &stranger] {
        is_used(cache).await;
    }
    let limiter = |cache: &Cache| Limiter::new(cache, "login", 3, HOUR);
    let (one, other, stranger) = (limiter(&one), limiter(&other), limiter(&stranger));
    assert_eq!((allowed(&one, 1, 2).await, allowed(&other, 1, 9).await), (2, 1));
    assert_eq!(allowed(&stranger, 1, 9).await, 3);
    other.reset(1_u64).await;
    assert_eq!(allowed(&one, 1, 9).await, 3);
    let keys = server.command(&["KEYS", ":limit:*"]);
    let mut keys: Vec<_> = keys.lines().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [":limit:shop:gcra:3600000000:login:1", ":limit:test:gcra:3600000000:login:1"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_small_and_expires_by_itself() {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    for algorithm in ALGORITHMS {
        let limiter =
            Limiter::new(&cache, "login", 2, Duration::from_millis(200)).algorithm(algorithm);
        is_used(&cache).await;
        let long = "x".repeat(1 << 20);
        for key in ["a", "a:b", "\r\n*1\r\n$8\r\nFLUSHALL\r\n", "\0", &long] {
            assert!(limiter.check(key).await.is_ok());
        }
        let longest = "local most = 0 for _, key in ipairs(redis.call('KEYS', ':limit:*')) do \
                       most = math.max(most, #key + redis.call('STRLEN', key)) end return most";
        let longest: u64 = server.command(&["EVAL", longest, "0"]).parse().unwrap();
        assert!(longest <= 300, "{longest}");
        eventually("all of it is gone", async || server.command(&["KEYS", ":limit:*"]).is_empty())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clearing_the_service_clears_no_limit() {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    let limiter = Limiter::new(&cache, "login", 3, HOUR);
    is_used(&cache).await;
    assert_eq!(allowed(&limiter, 1, 9).await, 3);
    cache.clear().await.unwrap();
    assert_eq!(limiter.peek(1_u64).await.remaining, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_wait_cost_two_commands_a_grant() {
    const WAITERS: u64 = 200;

    let server = RedisServer::start();
    let cache = patient(&server.url());
    for algorithm in ALGORITHMS {
        let limiter = Limiter::new(&cache, "mail", 10, Duration::from_millis(50))
            .algorithm(algorithm)
            .burst(1);
        is_used(&cache).await;
        let before = calls(&server);
        let mut waiters = JoinSet::new();
        for _ in 0..WAITERS {
            let limiter = limiter.clone();
            waiters.spawn(async move { limiter.wait("all", HOUR).await.is_ok() });
        }
        let admitted = in_time(waiters.join_all()).await;
        assert!(admitted.into_iter().all(|is_ok| is_ok));
        let asked = calls(&server) - before;
        // Each may have asked before it knew that it has to wait.
        assert!(asked <= 3 * WAITERS, "{asked}");
    }
}

const WAYS: [WhenDown; 3] = [WhenDown::Local, WhenDown::Allow, WhenDown::Deny];

/// What is said of as many as one may, and one more, without the tier.
fn expected(when_down: WhenDown) -> u32 {
    match when_down {
        WhenDown::Local => 3,
        WhenDown::Allow => 20,
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_never_there_is_away() {
    let cache = Cache::builder("test").redis("redis://127.0.0.1:1").build().unwrap();
    for (key, when_down) in (0..).zip(WAYS) {
        let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(when_down);
        assert_eq!(in_time(allowed(&limiter, key, 20)).await, expected(when_down));
        assert_eq!(in_time(limiter.peek(key)).await.limit, 3);
        in_time(limiter.refund(key, 1)).await;
        in_time(limiter.reset(key)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_gone_and_comes_back() {
    for (key, when_down) in (0..).zip(WAYS) {
        let server = RedisServer::start();
        let proxy = Proxy::before(server.port());
        // An answer that is late is none, and here none is.
        let cache = patient(&proxy.url());
        let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(when_down);
        is_used(&cache).await;
        assert!(limiter.check(key).await.is_ok());
        proxy.set(Mode::Cut);
        eventually("it is known to be gone", async || {
            limiter.peek(1_000_u64).await;
            cache.stats().redis.breaker_openings > 0
        })
        .await;
        let before = calls(&server);
        assert_eq!(in_time(allowed(&limiter, key, 20)).await, expected(when_down));
        assert_eq!(calls(&server), before);
        proxy.set(Mode::Pass);
        is_used(&cache).await;
        // As it was left there.
        assert_eq!(in_time(allowed(&limiter, key, 20)).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_three_calls_their_budget_and_the_others_nothing() {
    for (key, when_down) in (0..).zip(WAYS) {
        let server = RedisServer::start();
        let proxy = Proxy::before(server.port());
        let cache = Cache::builder("test")
            .redis(proxy.url())
            .redis_budget(Duration::from_millis(50))
            .build()
            .unwrap();
        let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(when_down);
        is_used(&cache).await;
        let timeouts = || cache.stats().redis.timeouts;
        let (before, sent) = (timeouts(), cache.stats().redis.commands);
        proxy.set(Mode::BlackHole);
        let mut allowed = 0;
        for _ in 0..20 {
            let lost = timeouts();
            allowed += u32::from(in_time(limiter.check(key)).await.is_ok());
            assert!(timeouts() <= lost + 1, "one budget at most");
        }
        assert_eq!(allowed, expected(when_down));
        assert!(timeouts() - before <= 3, "{}", timeouts() - before);
        assert!(cache.stats().redis.commands - sent <= 3);
        // Nobody waits for longer, however many there are.
        let mut checks = JoinSet::new();
        for key in 0..200_u64 {
            let limiter = limiter.clone();
            checks.spawn(async move { limiter.check(1_000 + key).await.is_ok() });
        }
        let answers = in_time(checks.join_all()).await;
        assert!(answers.into_iter().all(|is_ok| is_ok == (when_down != WhenDown::Deny)));
        assert!(timeouts() - before <= 3);
        proxy.set(Mode::Pass);
        is_used(&cache).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_came_too_late_is_taken_and_was_not_given() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let cache = Cache::builder("test")
        .redis(proxy.url())
        .redis_budget(Duration::from_millis(50))
        .build()
        .unwrap();
    let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(WhenDown::Deny);
    is_used(&cache).await;
    proxy.set(Mode::Drop);
    assert_eq!(retry(in_time(limiter.check(1_u64)).await), SECOND);
    let other = patient(&server.url());
    is_used(&other).await;
    let other = Limiter::new(&other, "login", 3, HOUR);
    assert_eq!(other.peek(1_u64).await.remaining, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_is_as_if_it_were_away() {
    let server = RedisServer::start();
    let rights = ["on", ">pass", "~*", "&*", "+@all"];
    server.command(&[&["ACL", "SETUSER", "joe"][..], &rights].concat());
    let cache = patient(&server.url().replace("://", "://joe:pass@"));
    is_used(&cache).await;
    // It may not read what stands there, as if the limits of this service were not for it.
    server.command(&["ACL", "SETUSER", "joe", "resetkeys", "~:larder:*"]);
    for (key, when_down) in (0..).zip(WAYS) {
        let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(when_down);
        assert_eq!(in_time(allowed(&limiter, key, 20)).await, expected(when_down));
    }
    server.command(&["ACL", "SETUSER", "joe", "~:limit:test:*"]);
    is_used(&cache).await;
    let limiter = Limiter::new(&cache, "login", 3, HOUR);
    assert_eq!(in_time(allowed(&limiter, 9, 20)).await, 3);
}
