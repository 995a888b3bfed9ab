//! Of a real Redis, and of the way there.

use std::time::Duration;

use larder::{Cache, CacheBuilder, cached, invalidates};
use metrics::set_default_local_recorder;
use tokio::task::JoinSet;

use crate::{
    common::{
        proxy::{Kind, Mode, Proxy},
        redis::RedisServer,
    },
    eventually, in_time,
    recorder::Recorder,
};

#[cached(ttl = 600, key = "item:{id}", local = false, cache = cache, skip(cache))]
async fn item(cache: Cache, id: u64) -> u64 {
    id
}

#[invalidates(item(cache.clone(), id), hold = "5s")]
async fn change(cache: &Cache, id: u64) {}

/// One whose budget no busy machine uses up.
fn patient(service: &str, url: String) -> CacheBuilder {
    Cache::builder(service).redis(url).redis_budget(Duration::from_secs(10))
}

fn count(recorder: &Recorder, service: &str, name: &str) -> u64 {
    recorder.counter(&format!(r#"larder_redis_{name}_total{{service="{service}"}}"#))
}

fn gauge(recorder: &Recorder, service: &str, name: &str) -> f64 {
    recorder.gauge(&format!(r#"larder_redis_{name}{{service="{service}"}}"#)).unwrap()
}

#[tokio::test]
async fn hits_commands_and_connections() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let (one, other) = (
        patient("shop", server.url()).build().unwrap(),
        patient("shop", server.url()).build().unwrap(),
    );
    for cache in [&one, &one, &other] {
        item(cache.clone(), 7).await;
    }
    for cache in [&one, &other] {
        // What is given back without a caller is a command, too.
        cache.shutdown().await.unwrap();
        cache.record_metrics();
    }
    let hits = r#"larder_cache_hits_total{function="metrics::redis::item",tier="redis"}"#;
    assert_eq!(recorder.counter(hits), 2);
    let commands = one.stats().redis.commands + other.stats().redis.commands;
    assert!(commands >= 5, "{commands}");
    assert_eq!(count(&recorder, "shop", "commands"), commands);
    assert_eq!(count(&recorder, "shop", "connections"), 2);
    assert_eq!(count(&recorder, "shop", "breaker_openings"), 0);
    assert_eq!(gauge(&recorder, "shop", "breaker_open").to_bits(), 0);
    let times = recorder.times(r#"larder_redis_command_seconds{service="shop"}"#);
    assert_eq!(times.len() as u64, commands);
    assert!(times.iter().all(|time| *time > 0.0));
}

#[tokio::test]
async fn a_line_that_is_cut() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let cache = patient("cut", proxy.url()).build().unwrap();
    item(cache.clone(), 1).await;
    cache.record_metrics();
    assert_eq!(gauge(&recorder, "cut", "breaker_open").to_bits(), 0);

    proxy.set(Mode::Cut);
    eventually("the breaker is open", async || {
        item(cache.clone(), 2).await;
        cache.record_metrics();
        gauge(&recorder, "cut", "breaker_open") > 0.0
    })
    .await;
    assert!(count(&recorder, "cut", "breaker_openings") >= 1);
    // What is changed meanwhile is repaired.
    assert!(item(cache.clone(), 1).invalidate().await.is_err());
    change(&cache, 2).await;
    cache.record_metrics();
    assert!(gauge(&recorder, "cut", "pending_repairs") >= 2.0);
    assert_eq!(count(&recorder, "cut", "unheld"), 1);

    proxy.set(Mode::Pass);
    eventually("Redis is used, and all is repaired", async || {
        item(cache.clone(), 3).await;
        cache.record_metrics();
        let is_back = gauge(&recorder, "cut", "breaker_open") < 1.0;
        is_back && gauge(&recorder, "cut", "pending_repairs") < 1.0
    })
    .await;
    assert!(count(&recorder, "cut", "connections") >= 2);
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let builder = Cache::builder("hung").redis(proxy.url());
    let cache = builder.redis_budget(Duration::from_secs(1)).build().unwrap();
    item(cache.clone(), 0).await;

    // More at once than may be under way.
    proxy.set_for(Kind::Data, Mode::BlackHole);
    let mut calls = JoinSet::new();
    for id in 1..2500 {
        calls.spawn(item(cache.clone(), id));
    }
    in_time(calls.join_all()).await;
    cache.record_metrics();
    assert!(count(&recorder, "hung", "timeouts") >= 3);
    assert!(count(&recorder, "hung", "rejected") >= 400);
    let times = recorder.times(r#"larder_redis_command_seconds{service="hung"}"#);
    assert!(times.iter().any(|time| *time >= 1.0), "the end of a budget is recorded");
}

#[tokio::test]
async fn a_lease_that_comes_too_late() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let cache = Cache::builder("late").redis(proxy.url()).build().unwrap();
    item(cache.clone(), 0).await;
    // One command has its answer within the budget, and two have not.
    proxy.set_for(Kind::Data, Mode::Delay(Duration::from_millis(60)));
    let mut id = 0;
    eventually("a lease is given back", async || {
        id += 1;
        item(cache.clone(), id).await;
        cache.record_metrics();
        count(&recorder, "late", "late_grants") > 0
    })
    .await;
}

#[tokio::test]
async fn messages_that_do_not_arrive() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let cache = patient("deaf", proxy.url()).build().unwrap();
    cache.record_metrics();
    let age = || {
        cache.record_metrics();
        recorder.gauge(r#"larder_redis_backplane_age_seconds{service="deaf"}"#)
    };
    assert_eq!(age(), None, "nobody has needed it");
    item(cache.clone(), 0).await;
    proxy.set_for(Kind::Backplane, Mode::BlackHole);
    eventually("it is two seconds old", async || age().unwrap() > 2.0).await;
    proxy.set_for(Kind::Backplane, Mode::Pass);
    eventually("it is young again", async || age().unwrap() < 1.0).await;
}

#[cached(ttl = 600, key = "raced", local = false, cache = cache, skip(cache, other))]
async fn raced(cache: Cache, other: Cache) {
    other.invalidate("raced").await.unwrap();
}

#[tokio::test]
async fn what_another_process_has_changed_is_not_stored() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let server = RedisServer::start();
    let (cache, other) = (
        patient("raced", server.url()).build().unwrap(),
        patient("raced", server.url()).build().unwrap(),
    );
    raced(cache.clone(), other).await;
    cache.record_metrics();
    let refused = r#"larder_cache_fills_refused_total{function="metrics::redis::raced"}"#;
    assert_eq!(recorder.counter(refused), 1);
}
