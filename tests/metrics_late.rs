//! A recorder that is installed for the process when there was something to see already. In a program of
//! its own: it is installed once.

#![cfg(feature = "metrics")]

#[path = "metrics/recorder.rs"]
mod recorder;

use std::time::Duration;

use larder::{Cache, cached};
use recorder::Recorder;
use tokio::time::{sleep, timeout};

#[cached(ttl = 60, key = "answer")]
async fn answer() -> u32 {
    42
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_all_that_was_counted_before() {
    Cache::builder("late").build().unwrap().install().unwrap();
    for _ in 0..100 {
        answer().await;
    }
    // Published to nobody meanwhile.
    Cache::current().record_metrics();
    let recorder = Recorder::default();
    metrics::set_global_recorder(recorder.clone()).unwrap();
    let hits = r#"larder_cache_hits_total{function="metrics_late::answer",tier="memory"}"#;
    let published = async {
        while recorder.counter(hits) == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), published).await.unwrap();
    assert_eq!(recorder.counter(hits), 99);
    // At once, and still once.
    answer().await;
    Cache::current().record_metrics();
    assert_eq!(recorder.counter(hits), 100);
}
