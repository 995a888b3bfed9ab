//! A denial below the cache is an error of the run, and nobody else's.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, Limiter, Lock, ManualClock, Source, cached, locked, rate_limited};

use super::{HOUR, Refused};

/// The error of a run that was let through.
#[cached(ttl = 60, key = "shared", skip(caller, runs))]
#[locked(key = "turn", wait = "1m")]
#[rate_limited(limit = 1, per = "1h", key = "caller:{caller}")]
async fn shared(caller: &str, runs: &AtomicU32) -> Result<u32, Refused> {
    Ok(runs.fetch_add(1, Relaxed))
}

#[tokio::test]
async fn who_waited_for_a_run_that_was_denied_runs_for_himself() {
    let cache = Cache::memory();
    let runs = AtomicU32::new(0);
    cache
        .scope(async {
            Limiter::new(&cache, "caller", 1, HOUR).check("greedy").await.unwrap();
            let turn = Lock::new(&cache, "turn").try_acquire().await.unwrap();
            let (greedy, modest, ()) =
                tokio::join!(shared("greedy", &runs), shared("modest", &runs), async {
                    // Both wait for the turn of the first one.
                    drop(turn);
                });
            let Err(Refused::Limit(denial)) = greedy else { panic!("{greedy:?}") };
            assert!(denial.retry_after > HOUR / 2);
            assert_eq!(modest, Ok(0));
            assert_eq!(runs.load(Relaxed), 1);
        })
        .await;
}

/// What a denied call inside has made fail.
#[cached(ttl = 60, key = "page", skip(caller, runs))]
#[locked(key = "page", wait = "1m")]
async fn page(caller: &str, runs: &AtomicU32) -> Result<u32, Refused> {
    let inner = inner(caller, runs).await;
    // It is said later.
    tokio::task::yield_now().await;
    inner
}

#[rate_limited(limit = 1, per = "1h", key = "caller:{caller}")]
async fn inner(caller: &str, runs: &AtomicU32) -> Result<u32, Refused> {
    Ok(runs.fetch_add(1, Relaxed))
}

#[tokio::test]
async fn a_denial_of_a_call_inside_is_nobody_elses_either() {
    let cache = Cache::memory();
    let runs = AtomicU32::new(0);
    cache
        .scope(async {
            Limiter::new(&cache, "caller", 1, HOUR).check("greedy").await.unwrap();
            let turn = Lock::new(&cache, "page").try_acquire().await.unwrap();
            let (greedy, modest, ()) =
                tokio::join!(page("greedy", &runs), page("modest", &runs), async { drop(turn) });
            assert!(matches!(greedy, Err(Refused::Limit(_))));
            assert_eq!(modest, Ok(0));
        })
        .await;
}

/// Errors that are none of a guard.
#[cached(ttl = 60, key = "failing", skip(runs))]
#[locked(key = "failing", wait = "1m")]
async fn failing(runs: &AtomicU32) -> Result<u32, Refused> {
    runs.fetch_add(1, Relaxed);
    Err(Refused::Origin)
}

#[tokio::test]
async fn any_other_error_below_a_guard_is_shared() {
    let cache = Cache::memory();
    let runs = AtomicU32::new(0);
    cache
        .scope(async {
            let turn = Lock::new(&cache, "failing").try_acquire().await.unwrap();
            let (leader, follower, ()) =
                tokio::join!(failing(&runs), failing(&runs), async { drop(turn) });
            assert_eq!((leader, follower), (Err(Refused::Origin), Err(Refused::Origin)));
            assert_eq!(runs.load(Relaxed), 1);
        })
        .await;
}

#[cached(ttl = 60, stale_if_error = "1h", key = "kept")]
#[rate_limited(limit = 1, per = "1d", key = "kept")]
async fn kept() -> Result<u32, Refused> {
    Ok(7)
}

#[tokio::test]
async fn a_denial_below_the_cache_serves_the_old_value() {
    let clock = ManualClock::new();
    let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
    cache
        .scope(async {
            assert_eq!(kept().await, Ok(7));
            clock.advance(Duration::from_secs(61));
            let (output, source) = kept().with_source().await;
            assert_eq!(output, Ok(7));
            assert!(matches!(source, Source::Stale { .. }), "{source:?}");
            // Where there is none, it is the denial.
            kept().invalidate().await.unwrap();
            assert!(matches!(kept().await, Err(Refused::Limit(_))));
        })
        .await;
}

#[cached(ttl = 60, key = "each:{id}", each(id in ids), skip(caller, runs))]
#[locked(key = "each", wait = "1m")]
#[rate_limited(limit = 1, per = "1h", key = "caller:{caller}")]
async fn each(ids: &[u32], caller: &str, runs: &AtomicU32) -> Result<HashMap<u32, u32>, Refused> {
    runs.fetch_add(1, Relaxed);
    Ok(ids.iter().map(|id| (*id, *id)).collect())
}

#[tokio::test]
async fn a_batch_that_waited_for_one_that_was_denied_runs_for_itself() {
    let cache = Cache::memory();
    let runs = AtomicU32::new(0);
    cache
        .scope(async {
            Limiter::new(&cache, "caller", 1, HOUR).check("greedy").await.unwrap();
            let turn = Lock::new(&cache, "each").try_acquire().await.unwrap();
            let (greedy, modest, ()) = tokio::join!(
                each(&[1, 2], "greedy", &runs),
                each(&[1, 2], "modest", &runs),
                async {
                    drop(turn);
                }
            );
            assert!(matches!(greedy, Err(Refused::Limit(_))));
            assert_eq!(modest.unwrap().len(), 2);
            assert_eq!(runs.load(Relaxed), 1);
        })
        .await;
}

/// On a task of its own, too.
#[cached(ttl = 60, stale = "1h", key = "left", skip(caller, runs))]
#[rate_limited(limit = 1, per = "1h", key = "caller:{caller}")]
async fn left(caller: String, runs: Arc<AtomicU32>) -> Result<u32, Refused> {
    Ok(runs.fetch_add(1, Relaxed))
}

#[tokio::test]
async fn a_refresh_that_is_denied_in_the_background_leaves_the_old_value() {
    let clock = ManualClock::new();
    let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    cache
        .scope(async {
            let call = || left("one".to_owned(), Arc::clone(&runs));
            assert_eq!(call().await, Ok(0));
            clock.advance(Duration::from_secs(61));
            assert_eq!(call().await, Ok(0));
            cache.shutdown().await.unwrap();
            assert_eq!(call().await, Ok(0));
            assert_eq!(runs.load(Relaxed), 1);
        })
        .await;
}
