//! The locks of a process are forgotten when nobody uses them.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One step of a future.
fn step<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_nobody_uses_is_forgotten() {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, "job:7");
    assert_eq!(cache.locks.len(), 0, "it is only named");
    let guard = lock.acquire(SECOND).await.unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none());
    assert_eq!(cache.locks.len(), 1);
    assert!(matches!(lock.acquire(SECOND).await, Err(LockError::TimedOut)));
    assert_eq!(cache.locks.len(), 1);
    guard.release().await.unwrap();
    assert_eq!(cache.locks.len(), 0);
    drop(lock.acquire(SECOND).await.unwrap());
    assert_eq!(cache.locks.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_an_entry_until_the_last_has_gone() {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, "job:7");
    let guard = lock.try_acquire().await.unwrap().unwrap();
    {
        let (mut first, mut second) = (pin!(lock.acquire(SECOND)), pin!(lock.acquire(SECOND)));
        assert!(step(first.as_mut()).is_pending() && step(second.as_mut()).is_pending());
        assert_eq!(cache.locks.len(), 1);
        drop(guard);
        assert_eq!(cache.locks.len(), 1, "others wait for it");
        assert!(step(second.as_mut()).is_pending(), "it came later");
        assert!(step(first.as_mut()).is_ready());
    }
    assert_eq!(cache.locks.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_given_to_one_who_has_gone_is_the_next_ones() {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, "job:7");
    let guard = lock.try_acquire().await.unwrap().unwrap();
    let mut second = pin!(lock.acquire(SECOND));
    {
        let mut first = pin!(lock.acquire(SECOND));
        assert!(step(first.as_mut()).is_pending() && step(second.as_mut()).is_pending());
        drop(guard);
    }
    assert!(matches!(step(second.as_mut()), Poll::Ready(Ok(_))));
    assert_eq!(cache.locks.len(), 0);
}

#[test]
fn without_a_runtime_nobody_is_waited_for() {
    let cache = Cache::memory();
    let lock = Lock::new(&cache, "job:7");
    let Poll::Ready(Ok(guard)) = step(pin!(lock.acquire(SECOND))) else {
        panic!("it is free");
    };
    let refused = step(pin!(lock.acquire(SECOND)));
    assert!(matches!(refused, Poll::Ready(Err(LockError::TimedOut))));
    assert!(matches!(step(pin!(guard.release())), Poll::Ready(Ok(()))));
    assert_eq!(cache.locks.len(), 0);
}

#[test]
fn fences_go_on_from_the_time_of_day() {
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let cache = Cache::memory();
    let lock = Lock::new(&cache, "job:7");
    let mut fence = before as u64;
    for _ in 0..1000 {
        let Poll::Ready(Ok(guard)) = step(pin!(lock.acquire(Duration::ZERO))) else {
            panic!("it is free");
        };
        assert!(guard.fence() > fence);
        fence = guard.fence();
    }
}

#[test]
fn a_lease_is_what_a_clock_can_say() {
    let cache = Cache::memory();
    let lock = |lease| Lock::new(&cache, "job:7").lease(lease).lease;
    assert_eq!(lock(Duration::ZERO), SHORTEST);
    assert_eq!(lock(SECOND), SECOND);
    assert_eq!(lock(Duration::MAX), LONGEST);
}

#[tokio::test(start_paused = true)]
async fn the_future_of_a_body_is_not_much_longer_than_the_body() {
    static SITE: LockSite = LockSite::new("job");

    let cache = Cache::memory();
    let body = || async {
        let bytes = [1_u8; 4096];
        tokio::task::yield_now().await;
        bytes.len()
    };
    let run = lock_on(&cache, &SITE, crate::key::KeyBytes::new()).run(body());
    assert!(size_of_val(&run) < size_of_val(&body()) + 512);
    assert_eq!(run.await.unwrap(), 4096);
}
