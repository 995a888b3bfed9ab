//! When it is published, to whom, and what several caches make of it together.

use std::time::Duration;

use larder::{Cache, Limiter, Lock, LockError, RateLimited, cached, locked, rate_limited};
use metrics::{set_default_local_recorder, with_local_recorder};
use tokio::{
    runtime::{Builder, Handle},
    time::sleep,
};

use crate::{common::redis::RedisServer, recorder::Recorder};

const SECOND: Duration = Duration::from_secs(1);

#[cached(ttl = 60, key = "by_itself", cache = cache, skip(cache))]
async fn by_itself(cache: &Cache) {}

#[tokio::test(start_paused = true)]
async fn a_cache_publishes_by_itself_until_it_is_dropped() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let of = r#"{function="metrics::publishing::by_itself"}"#;
    let misses = || recorder.counter(&format!("larder_cache_misses_total{of}"));
    let cache = Cache::memory();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 0);
    by_itself(&cache).await;
    assert_eq!(misses(), 0);
    sleep(2 * SECOND).await;
    assert_eq!(misses(), 1);
    cache.clear().await.unwrap();
    by_itself(&cache).await;
    sleep(2 * SECOND).await;
    assert_eq!((misses(), tasks()), (2, 1));

    // What was counted since is not lost.
    cache.clear().await.unwrap();
    by_itself(&cache).await;
    cache.shutdown().await.unwrap();
    assert_eq!(misses(), 3);
    cache.clear().await.unwrap();
    by_itself(&cache).await;
    drop(cache);
    assert_eq!(misses(), 4);
    sleep(2 * SECOND).await;
    assert_eq!((misses(), tasks()), (4, 0));
}

#[cached(ttl = 60, key = "moved:{id}", cache = cache, skip(cache))]
async fn moved(cache: &Cache, id: u32) {}

#[test]
fn where_one_runtime_ends_another_goes_on() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let of = r#"{function="metrics::publishing::moved"}"#;
    let cache = Cache::memory();
    for id in 1..=3 {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            moved(&cache, id).await;
            sleep(2 * SECOND).await;
        });
        assert_eq!(recorder.counter(&format!("larder_cache_misses_total{of}")), u64::from(id));
    }
}

#[cached(ttl = 60, key = "timeless:{id}", cache = cache, skip(cache))]
async fn timeless(cache: &Cache, id: u32) -> u32 {
    id
}

#[test]
fn a_runtime_without_timers_publishes_when_it_is_asked_to() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let of = r#"{function="metrics::publishing::timeless"}"#;
    let cache = Cache::memory();
    Builder::new_current_thread().build().unwrap().block_on(async {
        for id in 0..9 {
            assert_eq!(timeless(&cache, id).await, id);
            tokio::task::yield_now().await;
        }
    });
    cache.record_metrics();
    assert_eq!(recorder.counter(&format!("larder_cache_misses_total{of}")), 9);
}

#[cached(ttl = 60, key = "late", cache = cache, skip(cache))]
async fn late(cache: &Cache) {}

#[tokio::test]
async fn every_recorder_gets_all_of_it_whenever_it_comes() {
    let of = r#"{function="metrics::publishing::late",tier="memory"}"#;
    let hits = |recorder: &Recorder| recorder.counter(&format!("larder_cache_hits_total{of}"));
    let cache = Cache::memory();
    for _ in 0..4 {
        late(&cache).await;
    }
    cache.record_metrics();
    let (one, other) = (Recorder::default(), Recorder::default());
    with_local_recorder(&one, || cache.record_metrics());
    assert_eq!(hits(&one), 3);
    late(&cache).await;
    with_local_recorder(&other, || cache.record_metrics());
    assert_eq!((hits(&one), hits(&other)), (3, 4));
    for _ in 0..2 {
        with_local_recorder(&one, || cache.record_metrics());
        with_local_recorder(&other, || cache.record_metrics());
        cache.record_metrics();
    }
    assert_eq!((hits(&one), hits(&other)), (4, 4));
}

#[cached(ttl = 60, key = "both:{is_slow}", cache = cache, skip(cache))]
async fn both(cache: Cache, is_slow: bool) {
    if is_slow {
        sleep(3600 * SECOND).await;
    }
}

#[tokio::test]
async fn caches_add_up() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let of = r#"{function="metrics::publishing::both"}"#;
    let runs = || recorder.counter(&format!("larder_cache_runs_total{of}"));
    let under_way = || recorder.gauge(&format!("larder_cache_inflight_requests{of}"));
    let (one, other) = (Cache::memory(), Cache::memory());
    let mut calls = Vec::new();
    for cache in [&one, &other, &other] {
        both(cache.clone(), false).await;
        cache.clear().await.unwrap();
        calls.push(tokio::spawn(both(cache.clone(), true)));
        tokio::task::yield_now().await;
    }
    one.record_metrics();
    other.record_metrics();
    assert_eq!((runs(), under_way()), (6, Some(3.0)));

    // What one of them has counted stays, and what it was at is no more.
    let call = calls.remove(0);
    call.abort();
    call.await.unwrap_err();
    drop(one);
    assert_eq!((runs(), under_way()), (6, Some(2.0)));
    other.record_metrics();
    assert_eq!((runs(), under_way()), (6, Some(2.0)));
}

#[cached(ttl = 60, key = "broken", local = false, cache = cache, skip(cache))]
async fn broken(cache: &Cache) {}

#[tokio::test]
async fn of_two_breakers_of_a_service_one_that_is_open_counts() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let mut server = RedisServer::start();
    let build = || Cache::builder("two").redis(server.url()).build().unwrap();
    let (one, other, idle) = (build(), build(), build());
    server.kill();
    broken(&one).await;
    broken(&other).await;
    let open = || recorder.gauge(r#"larder_redis_breaker_open{service="two"}"#);
    for cache in [&one, &idle, &other] {
        cache.record_metrics();
        assert_eq!(open(), Some(1.0));
    }
    drop(one);
    assert_eq!(open(), Some(1.0));
    drop(other);
    assert_eq!(open(), Some(0.0));
}

const SECRET: &str = "Ada-Lovelace";

#[cached(ttl = 60, key = "user:{name}", tags("team:{name}"), cache = cache, skip(cache))]
async fn by_template(cache: &Cache, name: &str) -> Option<u32> {
    Some(7)
}

#[cached(ttl = 60, cache = cache, skip(cache))]
async fn by_function(cache: &Cache, name: &str) -> u32 {
    7
}

#[locked(key = "user:{name}", cache = cache)]
async fn one_at_a_time(cache: &Cache, name: &str) -> Result<(), LockError> {
    Ok(())
}

#[rate_limited(limit = 1, per = "1h", key = "user:{name}", cache = cache)]
async fn seldom(cache: &Cache, name: &str) -> Result<(), RateLimited> {
    Ok(())
}

#[tokio::test]
async fn no_key_is_in_a_label() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let there = Cache::builder("secrets").redis(server.url()).build().unwrap();
    for cache in [Cache::memory(), there] {
        by_template(&cache, SECRET).await;
        by_template(&cache, SECRET).invalidate().await.unwrap();
        by_function(&cache, SECRET).await;
        cache.invalidate_tag(&format!("team:{SECRET}")).await.unwrap();
        let options = larder::Options::ttl(SECOND);
        let load = async { Ok::<_, ()>(7) };
        cache.get_or_load(&format!("load:{SECRET}"), options, load).await.unwrap();
        let _ = one_at_a_time(&cache, SECRET).await;
        let _ = seldom(&cache, SECRET).await;
        let _ = seldom(&cache, SECRET).await;
        let limiter = Limiter::new(&cache, "visits", 20, SECOND).burst(1);
        let _ = limiter.wait(SECRET, Duration::ZERO).await;
        let _ = limiter.wait(SECRET, SECOND).await;
        let _ = Lock::new(&cache, SECRET).acquire(SECOND).await;
        cache.record_metrics();
    }
    let series = recorder.series();
    let telling: Vec<_> = series.iter().filter(|series| series.contains("Lovelace")).collect();
    assert!(telling.is_empty(), "{telling:?}");
    // Something was told of all of them.
    for part in [
        "by_template",
        "by_function",
        "get_or_load",
        "lock=\"user:{}\"",
        "limit=\"user:{}\"",
        "limit=\"visits\"",
        "publishing.rs:",
        "larder_limit_wait_seconds",
        "larder_redis_command_seconds",
    ] {
        assert!(series.iter().any(|series| series.contains(part)), "{part}: {series:#?}");
    }
}
