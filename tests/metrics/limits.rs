//! Of limits, by the process and by Redis.

use std::time::Duration;

use larder::{Cache, Limiter, RateLimited, WhenDown, rate_limited};
use metrics::set_default_local_recorder;

use crate::{common::redis::RedisServer, recorder::Recorder};

const HOUR: Duration = Duration::from_secs(3600);

/// Allowed and denied, by Redis and in memory.
fn decisions(recorder: &Recorder, limit: &str) -> [u64; 4] {
    [("allowed", "redis"), ("denied", "redis"), ("allowed", "memory"), ("denied", "memory")].map(
        |(decision, by)| {
            recorder.counter(&format!(
                r#"larder_limit_decisions_total{{limit="{limit}",decision="{decision}",by="{by}"}}"#
            ))
        },
    )
}

#[tokio::test]
async fn in_the_memory_of_the_process() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    let limiter = Limiter::new(&cache, "in_memory", 2, HOUR);
    for (key, is_allowed) in [(1, true), (1, true), (1, false), (1, false), (2, true)] {
        assert_eq!(limiter.check(key).await.is_ok(), is_allowed);
    }
    // Another of the name is the same limit.
    assert!(Limiter::new(&cache, "in_memory", 2, HOUR).check_n(2, 2).await.is_err());
    // Nobody is let through by these.
    limiter.peek(1).await;
    limiter.refund(1, 1).await;
    limiter.reset(1).await;
    cache.record_metrics();
    assert_eq!(decisions(&recorder, "in_memory"), [0, 0, 3, 3]);
}

#[rate_limited(limit = 1, per = "1h", key = "template:{id}", cache = cache)]
async fn by_template(cache: &Cache, id: u32) -> Result<(), RateLimited> {
    Ok(())
}

#[rate_limited(limit = 1, per = "1h", cache = cache)]
async fn by_function<T>(cache: &Cache, _id: T) -> Result<(), RateLimited> {
    Ok(())
}

#[tokio::test]
async fn of_attributes_by_the_template_or_the_function() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    by_template(&cache, 1).await.unwrap();
    by_template(&cache, 2).await.unwrap();
    by_template(&cache, 2).await.unwrap_err();
    // Of each instance of a generic function.
    by_function(&cache, 1_u32).await.unwrap();
    by_function(&cache, 1_u64).await.unwrap();
    by_function(&cache, 2_u64).await.unwrap_err();
    cache.record_metrics();
    assert_eq!(decisions(&recorder, "template:{}"), [0, 0, 2, 1]);
    let path = "metrics::limits::by_function";
    assert_eq!(decisions(&recorder, path), [0, 0, 2, 1]);
}

#[tokio::test]
async fn by_redis_and_what_is_remembered_of_its_denials() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let mut server = RedisServer::start();
    let patient = Duration::from_secs(10);
    let cache = Cache::builder("limits").redis(server.url()).redis_budget(patient).build().unwrap();
    let limiter = Limiter::new(&cache, "by_redis", 2, HOUR);
    for is_allowed in [true, true, false, false, false] {
        assert_eq!(limiter.check(1).await.is_ok(), is_allowed);
    }
    cache.record_metrics();
    assert_eq!(decisions(&recorder, "by_redis"), [2, 1, 0, 2]);

    // While Redis is away the process decides.
    server.kill();
    assert!(limiter.check(2).await.is_ok());
    let closed = limiter.clone().when_down(WhenDown::Deny);
    assert!(closed.check(3).await.is_err());
    cache.record_metrics();
    assert_eq!(decisions(&recorder, "by_redis"), [2, 1, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn who_waits() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    let limiter = Limiter::new(&cache, "who_waits", 20, Duration::from_secs(1)).burst(1);
    let waits = || recorder.times(r#"larder_limit_wait_seconds{limit="who_waits"}"#);
    limiter.wait(1, HOUR).await.unwrap();
    assert!(waits().is_empty(), "admitted at once");
    limiter.wait(1, Duration::ZERO).await.unwrap_err();
    assert!(waits().is_empty(), "denied at once");
    limiter.wait(1, HOUR).await.unwrap();
    assert_eq!(waits().len(), 1);
    assert!(waits()[0] > 0.0);
    cache.record_metrics();
    assert_eq!(decisions(&recorder, "who_waits"), [0, 0, 2, 1]);
}
