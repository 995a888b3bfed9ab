//! Of functions, in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use larder::{Cache, ManualClock, cached};
use metrics::set_default_local_recorder;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
};

use crate::recorder::Recorder;

const SECOND: Duration = Duration::from_secs(1);

fn timed() -> (Cache, ManualClock) {
    let clock = ManualClock::new();
    (Cache::builder("test").clock(clock.clone()).build().unwrap(), clock)
}

#[cached(ttl = 60, key = "doubled:{id}", cache = cache, skip(cache, clock, took))]
async fn doubled(cache: &Cache, clock: &ManualClock, took: Duration, id: i64) -> Result<i64, ()> {
    clock.advance(took);
    if id < 0 { Err(()) } else { Ok(2 * id) }
}

#[tokio::test]
async fn calls_and_runs() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let (cache, clock) = timed();
    assert_eq!(doubled(&cache, &clock, SECOND / 2, 1).await, Ok(2));
    for _ in 0..3 {
        assert_eq!(doubled(&cache, &clock, SECOND, 1).await, Ok(2));
    }
    assert_eq!(doubled(&cache, &clock, SECOND / 4, -1).await, Err(()));
    cache.record_metrics();

    let of = r#"{function="metrics::functions::doubled"}"#;
    let of_tier = |tier| {
        format!(
            r#"larder_cache_hits_total{{function="metrics::functions::doubled",tier="{tier}"}}"#
        )
    };
    assert_eq!(recorder.counter(&of_tier("memory")), 3);
    assert_eq!(recorder.counter(&of_tier("redis")), 0);
    assert_eq!(recorder.counter(&format!("larder_cache_misses_total{of}")), 2);
    assert_eq!(recorder.counter(&format!("larder_cache_runs_total{of}")), 2);
    assert_eq!(recorder.counter(&format!("larder_cache_errors_total{of}")), 1);
    assert_eq!(recorder.gauge(&format!("larder_cache_inflight_requests{of}")), Some(0.0));
    assert_eq!(recorder.gauge(&format!("larder_cache_waiters{of}")), Some(0.0));
    assert_eq!(recorder.times(&format!("larder_cache_run_seconds{of}")), [0.5, 0.25]);
}

#[cached(ttl = 60, key = "gated", cache = cache, skip(cache, gate))]
async fn gated(cache: Cache, gate: Arc<Semaphore>) {
    let _ = gate.acquire().await;
}

#[tokio::test]
async fn runs_under_way_and_who_waits_for_them() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let (cache, gate) = (Cache::memory(), Arc::new(Semaphore::new(0)));
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        calls.spawn(gated(cache.clone(), Arc::clone(&gate)));
    }
    yield_now().await;
    cache.record_metrics();
    let of = r#"{function="metrics::functions::gated"}"#;
    let gauge = |name| recorder.gauge(&format!("{name}{of}")).unwrap();
    assert_eq!(
        (gauge("larder_cache_inflight_requests"), gauge("larder_cache_waiters")),
        (1.0, 2.0)
    );
    gate.add_permits(1);
    calls.join_all().await;
    cache.record_metrics();
    assert_eq!(
        (gauge("larder_cache_inflight_requests"), gauge("larder_cache_waiters")),
        (0.0, 0.0)
    );
}

#[cached(ttl = 60, stale = 60, key = "old", cache = cache, skip(cache))]
async fn old(cache: Cache) -> u32 {
    7
}

#[tokio::test]
async fn old_values_and_refreshes_without_a_caller() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let (cache, clock) = timed();
    old(cache.clone()).await;
    clock.advance(61 * SECOND);
    old(cache.clone()).await;
    cache.shutdown().await.unwrap();
    cache.record_metrics();
    let of = r#"{function="metrics::functions::old"}"#;
    assert_eq!(recorder.counter(&format!("larder_cache_stale_served_total{of}")), 1);
    assert_eq!(recorder.counter(&format!("larder_cache_background_runs_total{of}")), 1);
    assert_eq!(recorder.counter(&format!("larder_cache_runs_total{of}")), 2);
}

#[cached(ttl = 60, key = "overtaken", cache = cache, skip(cache))]
async fn overtaken(cache: &Cache) {
    cache.invalidate("overtaken").await.unwrap();
}

#[tokio::test]
async fn results_that_are_refused() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    overtaken(&cache).await;
    cache.record_metrics();
    let refused = r#"larder_cache_fills_refused_total{function="metrics::functions::overtaken"}"#;
    assert_eq!(recorder.counter(refused), 1);
}

#[cached(ttl = 60, key = "number:{id}", cache = cache, skip(cache))]
async fn number(cache: &Cache, id: u64) -> u64 {
    id
}

#[tokio::test]
async fn entries_that_are_pushed_out() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::builder("test").capacity(100).build().unwrap();
    let mut kept = 0;
    for id in 0..1000 {
        number(&cache, id).await;
    }
    for id in 0..1000 {
        kept += u64::from(number(&cache, id).peek().await.is_some());
    }
    cache.record_metrics();
    let evicted = r#"larder_cache_evictions_total{function="metrics::functions::number"}"#;
    assert_eq!(recorder.counter(evicted), 1000 - kept);
}

#[cached(ttl = 60, key = "square:{id}", each(id in ids), cache = cache, skip(cache, clock))]
async fn squares(cache: &Cache, clock: &ManualClock, ids: &[u64]) -> HashMap<u64, u64> {
    clock.advance(SECOND);
    ids.iter().map(|id| (*id, id * id)).collect()
}

#[tokio::test]
async fn a_batch_is_one_run() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let (cache, clock) = timed();
    squares(&cache, &clock, &[1, 2, 3]).await;
    squares(&cache, &clock, &[1, 2, 3]).await;
    cache.record_metrics();
    let of = r#"{function="metrics::functions::squares"}"#;
    let hits = r#"larder_cache_hits_total{function="metrics::functions::squares",tier="memory"}"#;
    assert_eq!(recorder.counter(hits), 3);
    assert_eq!(recorder.counter(&format!("larder_cache_misses_total{of}")), 3);
    assert_eq!(recorder.counter(&format!("larder_cache_runs_total{of}")), 1);
    assert_eq!(recorder.times(&format!("larder_cache_run_seconds{of}")), [1.0]);
}

#[cached(ttl = 60, key = "job", cache = cache, skip(cache))]
async fn job(cache: &Cache) -> Result<u32, u32> {
    Err(7)
}

#[tokio::test]
async fn what_is_only_refreshed_counts_too() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    job(&cache).refresh().await.unwrap_err();
    cache.record_metrics();
    let of = r#"{function="metrics::functions::job"}"#;
    assert_eq!(recorder.counter(&format!("larder_cache_runs_total{of}")), 1);
    assert_eq!(recorder.counter(&format!("larder_cache_errors_total{of}")), 1);
}
