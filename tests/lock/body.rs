//! What `#[locked]` puts around a body.

use super::*;

#[tokio::test]
async fn a_body_runs_under_its_lock_and_the_lock_ends_with_it() {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, NAME);
    let inside = lock.clone();
    let output = locked(&cache, &AT_ONCE).run(async move {
        assert!(inside.try_acquire().await.unwrap().is_none(), "the name is the same");
        42
    });
    assert_eq!(output.await.unwrap(), 42);
    assert!(lock.try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn a_body_that_cannot_have_the_lock_is_not_run() {
    let cache = Cache::memory();
    let _guard = Lock::new(&cache, NAME).try_acquire().await.unwrap();
    let ran = AtomicU32::new(0);
    let run = locked(&cache, &AT_ONCE).run(async { ran.fetch_add(1, SeqCst) });
    assert!(matches!(run.await, Err(LockError::TimedOut)));
    assert_eq!(ran.load(SeqCst), 0);
}

#[tokio::test]
async fn an_error_of_the_body_is_its_output() {
    let cache = Cache::memory();
    let run = locked(&cache, &AT_ONCE).run(async { Err::<(), _>("no") });
    assert_eq!(run.await.unwrap(), Err("no"));
    assert!(Lock::new(&cache, NAME).try_acquire().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn bodies_run_one_after_another_in_the_order_in_which_they_came() {
    let cache = Cache::memory();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut runs = Vec::new();
    for number in 0..20 {
        let (cache, order) = (cache.clone(), Arc::clone(&order));
        runs.push(tokio::spawn(locked(&cache, &PATIENT).run(async move {
            order.lock().unwrap().push((number, fence().unwrap()));
            sleep(MOMENT).await;
            order.lock().unwrap().push((number, fence().unwrap()));
        })));
        tokio::task::yield_now().await;
    }
    for run in runs {
        run.await.unwrap().unwrap();
    }
    let order = order.lock().unwrap();
    let numbers: Vec<_> = order.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..20).flat_map(|number| [number, number]).collect::<Vec<_>>());
    assert!(order.chunks(2).all(|run| run[0] == run[1]));
    assert!(order.chunks(2).map(|run| run[0].1).is_sorted_by(|one, next| one < next));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_too_long_is_refused() {
    let cache = Cache::memory();
    let guard = Lock::new(&cache, NAME).try_acquire().await.unwrap().unwrap();
    let began = Instant::now();
    let run = locked(&cache, &PATIENT).run(async {});
    assert!(matches!(run.await, Err(LockError::TimedOut)));
    assert_eq!(began.elapsed(), 5 * SECOND);
    drop(guard);
    locked(&cache, &PATIENT).run(async {}).await.unwrap();
}

#[tokio::test]
async fn a_fence_is_known_inside_and_on_no_other_task() {
    let cache = Cache::memory();
    assert_eq!(fence(), None);
    let run = locked(&cache, &AT_ONCE).run(async {
        let mine = fence().unwrap();
        tokio::task::yield_now().await;
        assert_eq!(fence(), Some(mine));
        assert_eq!(tokio::spawn(async { fence() }).await.unwrap(), None);
        mine
    });
    let first = run.await.unwrap();
    assert_eq!(fence(), None);
    let second = locked(&cache, &AT_ONCE).run(async { fence().unwrap() }).await.unwrap();
    assert!(second > first);
}

#[tokio::test]
async fn the_fence_of_the_innermost_lock_is_the_one_that_counts() {
    static INNER: LockSite = LockSite::new("other:{}");

    let cache = Cache::memory();
    let run = locked(&cache, &AT_ONCE).run(async {
        let outer = fence().unwrap();
        let inner = locked(&cache, &INNER).run(async { fence().unwrap() }).await.unwrap();
        assert!(inner > outer);
        assert_eq!(fence(), Some(outer));
    });
    run.await.unwrap();
}

#[tokio::test]
async fn a_lock_is_not_reentrant() {
    let cache = Cache::memory();
    let run = locked(&cache, &AT_ONCE).run(async {
        matches!(locked(&cache, &AT_ONCE).run(async {}).await, Err(LockError::TimedOut))
    });
    assert!(run.await.unwrap());
}

#[tokio::test]
async fn a_body_that_panics_gives_the_lock_back() {
    let cache = Cache::memory();
    let run = locked(&cache, &AT_ONCE).run(async {
        tokio::task::yield_now().await;
        panic!("it was told to");
    });
    assert!(tokio::spawn(run).await.unwrap_err().is_panic());
    assert!(Lock::new(&cache, NAME).try_acquire().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_gives_the_lock_back_in_the_fleet() {
    let server = Server::new();
    let node = Node::new(&server, "a");
    let run = locked(&node.cache, &AT_ONCE).run(async {
        tokio::task::yield_now().await;
        panic!("it was told to");
    });
    assert!(tokio::spawn(run).await.unwrap_err().is_panic());
    sleep(MOMENT).await;
    assert_free(&server);
}

/// Says when it is dropped.
struct Dropped<'a>(&'a dyn Fn());

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_is_gone_before_its_lock_is() {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, NAME);
    let seen = AtomicU32::new(0);
    let on_drop = || {
        let free = step(pin!(lock.try_acquire()));
        assert!(matches!(free, Poll::Ready(Ok(None))), "somebody else could have it already");
        seen.fetch_add(1, SeqCst);
    };
    let body = || async {
        let _dropped = Dropped(&on_drop);
        sleep(SECOND).await;
    };
    // When it is cancelled, and when it has come to its end.
    assert!(tokio::time::timeout(MOMENT, locked(&cache, &AT_ONCE).run(body())).await.is_err());
    assert!(lock.try_acquire().await.unwrap().is_some());
    locked(&cache, &AT_ONCE).run(body()).await.unwrap();
    assert_eq!(seen.load(SeqCst), 2);
}

#[tokio::test]
async fn a_run_is_sent_to_another_task_if_its_body_can_be() {
    fn assert_send<T: Send>(_: &T) {}

    let cache = Cache::memory();
    let run = locked(&cache, &AT_ONCE).run(async { 1 });
    assert_send(&run);
    assert_eq!(tokio::spawn(run).await.unwrap().unwrap(), 1);
    // And need not be.
    let local = std::rc::Rc::new(2);
    let run = locked(&cache, &AT_ONCE).run(async { *local });
    assert_eq!(run.await.unwrap(), 2);
}

#[tokio::test]
async fn another_name_and_another_cache_are_another_lock() {
    let (one, other) = (Cache::memory(), Cache::memory());
    let _guard = Lock::new(&one, NAME).try_acquire().await.unwrap().unwrap();
    assert!(Lock::new(&one, "job:8").try_acquire().await.unwrap().is_some());
    assert!(Lock::new(&other, NAME).try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn long_and_odd_names_are_told_apart() {
    let cache = Cache::memory();
    let long = "x".repeat(1 << 20);
    let names = ["", ":", "job:7", "job:7:", "job%7", "\0", "\u{7f}é\r\n", &long, &long[1..]];
    let mut guards = Vec::new();
    for name in names {
        guards.push(Lock::new(&cache, name).try_acquire().await.unwrap().unwrap());
    }
    for name in names {
        assert!(Lock::new(&cache, name).try_acquire().await.unwrap().is_none());
    }
}

#[test]
fn what_went_wrong_is_said_with_its_reason() {
    use std::error::Error as _;

    let error = LockError::Unavailable { source: Error::Refused };
    assert_eq!(error.source().unwrap().to_string(), Error::Refused.to_string());
    for error in [LockError::TimedOut, LockError::Lost] {
        assert!(error.source().is_none() && !error.to_string().is_empty());
    }
}
