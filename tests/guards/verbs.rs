//! A guard above the cache: the call stays a handle, and its verbs ask nobody.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use larder::{Cache, Lock, Source, cached, locked, rate_limited};

use super::Refused;

static RUNS: AtomicU32 = AtomicU32::new(0);

#[rate_limited(limit = 2, per = "1h", key = "verbs:{id}")]
#[cached(ttl = 60, key = "guarded:{id}")]
async fn limited(id: u32) -> Result<u32, Refused> {
    Ok(RUNS.fetch_add(1, Relaxed))
}

#[locked(key = "guard:{id}")]
#[cached(ttl = 60, key = "guarded:{id}")]
async fn guarded(id: u32) -> Result<u32, Refused> {
    Ok(id)
}

#[tokio::test]
async fn verbs_of_a_limited_call_are_never_limited() {
    Cache::memory()
        .scope(async {
            limited(1).await.unwrap();
            assert!(matches!(limited(1).with_source().await, (Ok(_), Source::Memory { .. })));
            assert!(matches!(limited(1).await, Err(Refused::Limit(_))));
            assert_eq!(limited(1).key(), "guarded:1");
            assert!(limited(1).peek().await.is_some());
            assert!(limited(1).expires_in().await.is_some());
            limited(1).put(7).await.unwrap();
            assert_eq!(limited(1).peek().await, Some(Ok(7)));
            limited(1).into_entry().put(8).await.unwrap();
            assert_eq!(limited(1).peek().await, Some(Ok(8)));
            limited(1).invalidate().await.unwrap();
            assert_eq!(limited(1).peek().await, None);
        })
        .await;
}

#[tokio::test]
async fn what_runs_the_function_is_limited_by_a_guard_above() {
    Cache::memory()
        .scope(async {
            let runs = RUNS.load(Relaxed);
            limited(2).refresh().await.unwrap();
            limited(2).uncached().await.unwrap();
            assert!(matches!(limited(2).refresh().await, Err(Refused::Limit(_))));
            assert!(matches!(limited(2).uncached().await, Err(Refused::Limit(_))));
            let (output, source) = limited(2).with_source().await;
            assert!(matches!(output, Err(Refused::Limit(_))));
            assert_eq!(source, Source::Denied);
            assert_eq!(RUNS.load(Relaxed), runs + 2);
        })
        .await;
}

#[tokio::test]
async fn verbs_of_a_locked_call_ask_no_lock() {
    let cache = Cache::memory();
    cache
        .scope(async {
            let held = Lock::new(&cache, "guard:1").try_acquire().await.unwrap();
            assert!(held.is_some());
            guarded(1).put(7).await.unwrap();
            assert_eq!(guarded(1).peek().await, Some(Ok(7)));
            assert_eq!(guarded(1).await, Err(Refused::Lock));
            guarded(1).invalidate().await.unwrap();
            drop(held);
        })
        .await;
}

#[tokio::test]
async fn a_guarded_call_is_warmed_and_counts_as_failed_where_it_is_denied() {
    Cache::memory()
        .scope(async {
            let calls = (0..4).map(|at| limited(10 + at / 4));
            let report = larder::warm(calls, 1, |_| {}).await;
            assert_eq!((report.loaded, report.present, report.failed), (1, 1, 2));
        })
        .await;
}

#[tokio::test]
async fn a_guarded_call_goes_to_a_task() {
    let cache = Cache::memory();
    let [call] = cache.scope(async { [limited(3)] }).await;
    tokio::spawn(call).await.unwrap().unwrap();
    // In the cache in which it was made.
    cache.scope(async { assert!(limited(3).peek().await.is_some()) }).await;
}

mod batches {
    use std::collections::HashMap;

    use super::*;

    #[rate_limited(limit = 2, per = "1h", key = "batches")]
    #[cached(ttl = 60, key = "element:{id}", each(id in ids))]
    async fn load(ids: &[u32]) -> Result<HashMap<u32, u32>, Refused> {
        Ok(ids.iter().map(|id| (*id, id * 2)).collect())
    }

    #[tokio::test]
    async fn a_guard_above_a_batch_is_asked_once_for_all_of_it() {
        Cache::memory()
            .scope(async {
                let (loaded, sources) = load(&[1, 2]).with_sources().await;
                assert_eq!((loaded.unwrap().len(), sources), (2, vec![Source::Function; 2]));
                let (loaded, sources) = load(&[2, 3]).with_sources().await;
                assert_eq!(loaded.unwrap(), HashMap::from([(2, 4), (3, 6)]));
                assert!(matches!(sources[..], [Source::Memory { .. }, Source::Function]));
                let (loaded, sources) = load(&[1, 2]).with_sources().await;
                assert!(matches!(loaded, Err(Refused::Limit(_))));
                assert_eq!(sources, [Source::Denied; 2]);
                assert_eq!(load(&[1, 2]).peek().await.unwrap().len(), 2);
                assert_eq!(load(&[1, 2]).keys(), ["element:1", "element:2"]);
                load(&[1, 2]).put(Ok(HashMap::from([(1, 7)]))).await.unwrap();
                load(&[3]).invalidate().await.unwrap();
                assert_eq!(load(&[1, 2, 3]).peek().await.unwrap(), HashMap::from([(1, 7)]));
                assert!(matches!(load(&[1]).refresh().await, Err(Refused::Limit(_))));
                assert!(matches!(load(&[1]).uncached().await, Err(Refused::Limit(_))));
            })
            .await;
    }
}
