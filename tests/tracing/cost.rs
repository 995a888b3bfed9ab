//! What it costs: nothing where memory answers, and next to nothing where nobody is interested.

use std::time::Duration;

use larder::{Cache, Limiter, Source, cached};
use tracing::{Level, info_span};

use crate::watch::{TELLING, Watch, calls};

#[cached(ttl = 60, key = "cheap:{key}", cache = cache, skip(cache))]
async fn cheap(cache: &Cache, key: &str) -> usize {
    key.len()
}

#[tokio::test]
async fn a_hit_asks_a_subscriber_for_nothing() {
    for watch in [Watch::default(), Watch::up_to(Level::ERROR)] {
        let _here = watch.here();
        let cache = Cache::memory();
        cheap(&cache, TELLING).await;
        let before = calls();
        for _ in 0..100 {
            cheap(&cache, TELLING).await;
            let (_, source) = cheap(&cache, TELLING).with_source().await;
            assert!(matches!(source, Source::Memory { .. }));
        }
        assert_eq!(calls(), before);
    }
}

#[tokio::test]
async fn a_call_that_a_limit_allows_asks_for_nothing() {
    let watch = Watch::default();
    let _here = watch.here();
    let limiter = Limiter::new(&Cache::memory(), "cheap", 100, Duration::from_secs(1));
    let before = calls();
    for _ in 0..100 {
        limiter.check(TELLING).await.unwrap();
    }
    assert_eq!(calls(), before);
}

#[tokio::test]
async fn a_miss_tells_nothing_to_one_who_is_interested_in_more() {
    let watch = Watch::up_to(Level::INFO);
    let _here = watch.here();
    let cache = Cache::memory();
    info_span!("told").in_scope(|| {});
    for at in 0..100 {
        cheap(&cache, &format!("{TELLING}{at}")).await;
    }
    assert_eq!(watch.spans().len(), 1);
    assert!(watch.all_events().is_empty());
}
