//! Of locks, in the process and in Redis.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use larder::{Cache, Lock, LockError, locked};
use metrics::set_default_local_recorder;

use crate::{common::redis::RedisServer, recorder::Recorder};

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(10);

/// Acquired, timed out, unavailable and lost.
fn outcomes(recorder: &Recorder, lock: &str) -> [u64; 4] {
    ["acquired", "timed_out", "unavailable", "lost"].map(|outcome| {
        let series =
            format!(r#"larder_lock_acquisitions_total{{lock="{lock}",outcome="{outcome}"}}"#);
        recorder.counter(&series)
    })
}

fn waiters(recorder: &Recorder, lock: &str) -> Option<f64> {
    recorder.gauge(&format!(r#"larder_lock_waiters{{lock="{lock}"}}"#))
}

fn waits(recorder: &Recorder, lock: &str) -> usize {
    recorder.times(&format!(r#"larder_lock_wait_seconds{{lock="{lock}"}}"#)).len()
}

#[tokio::test]
async fn in_the_process_by_the_place_where_it_is_made() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    let (lock, place) = (Lock::new(&cache, "job:7"), concat!(file!(), ":", line!()));
    let guard = lock.acquire(HOUR).await.unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none());
    assert!(matches!(lock.acquire(MOMENT).await, Err(LockError::TimedOut)));
    {
        let mut waiting = pin!(lock.acquire(HOUR));
        assert!(matches!(step(waiting.as_mut()), Poll::Pending));
        cache.record_metrics();
        assert_eq!(waiters(&recorder, place), Some(1.0));
        drop(guard);
        waiting.await.unwrap().release().await.unwrap();
    }
    cache.record_metrics();
    assert_eq!(waiters(&recorder, place), Some(0.0));
    assert_eq!(outcomes(&recorder, place), [2, 2, 0, 0]);
    assert_eq!(waits(&recorder, place), 2);
}

#[locked(key = "report:{id}", cache = cache)]
async fn report(cache: &Cache, id: u32) -> Result<u32, LockError> {
    Ok(id)
}

#[tokio::test]
async fn of_an_attribute_by_its_template() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let cache = Cache::memory();
    report(&cache, 7).await.unwrap();
    report(&cache, 8).await.unwrap();
    let held = Lock::new(&cache, "report:9").acquire(HOUR).await.unwrap();
    assert!(report(&cache, 9).await.is_err());
    drop(held);
    cache.record_metrics();
    assert_eq!(outcomes(&recorder, "report:{}"), [2, 1, 0, 0]);
}

#[tokio::test]
async fn in_redis_which_forgets_one_and_goes_away() {
    let recorder = Recorder::default();
    let _installed = set_default_local_recorder(&recorder);
    let mut server = RedisServer::start();
    let patient = Duration::from_secs(10);
    let cache = Cache::builder("locks").redis(server.url()).redis_budget(patient).build().unwrap();
    let (lock, place) = (Lock::new(&cache, "job:7"), concat!(file!(), ":", line!()));
    let lock = lock.lease(Duration::from_secs(9));

    // Given back, it is not lost.
    lock.acquire(HOUR).await.unwrap().release().await.unwrap();
    drop(lock.acquire(HOUR).await.unwrap());
    let forgotten = lock.acquire(HOUR).await.unwrap();
    server.command(&["FLUSHALL"]);
    forgotten.lost().await;
    drop(forgotten);
    // Nobody has noticed yet.
    let forgotten = lock.acquire(HOUR).await.unwrap();
    server.command(&["FLUSHALL"]);
    assert!(matches!(forgotten.release().await, Err(LockError::Lost)));
    cache.record_metrics();
    assert_eq!(outcomes(&recorder, place), [4, 0, 0, 2]);
    assert_eq!(waits(&recorder, place), 4);

    server.kill();
    assert!(matches!(lock.try_acquire().await, Err(LockError::Unavailable { .. })));
    cache.record_metrics();
    assert_eq!(outcomes(&recorder, place), [4, 0, 1, 2]);
    assert_eq!(waits(&recorder, place), 4);
}

/// One step of a future.
fn step<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
