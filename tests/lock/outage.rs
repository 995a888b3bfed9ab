//! Locks while the tier that all share is away.

use super::*;

fn alone() -> (Arc<Server>, Node) {
    let server = Server::new();
    let node = Node::new(&server, "a");
    (server, node)
}

#[tokio::test(start_paused = true)]
async fn without_the_tier_nobody_has_a_lock() {
    let (server, a) = alone();
    a.remote.fail(Verb::Acquire);
    let lock = Lock::new(&a.cache, NAME);
    for _ in 0..2 {
        let refused = lock.acquire(Duration::ZERO).await;
        assert!(matches!(refused, Err(LockError::Unavailable { source: Error::Unavailable })));
    }
    assert!(lock.try_acquire().await.is_err());
    let ran = AtomicU32::new(0);
    let run = locked(&a.cache, &AT_ONCE).run(async { ran.fetch_add(1, SeqCst) });
    assert!(matches!(run.await, Err(LockError::Unavailable { .. })));
    assert_eq!(ran.load(SeqCst), 0);
    assert_eq!(server.log_of(KEY).len(), 4, "each has asked once");
}

#[tokio::test(start_paused = true)]
async fn who_waits_asks_again_until_the_wait_is_over() {
    let (server, a) = alone();
    a.remote.fail(Verb::Acquire);
    let before = Instant::now();
    let refused = Lock::new(&a.cache, NAME).acquire(5 * SECOND).await;
    assert!(matches!(refused, Err(LockError::Unavailable { .. })));
    assert_eq!(before.elapsed(), 5 * SECOND);
    let asked = server.log_of(KEY).len();
    // Quickly at first, and then every quarter to half of a second.
    assert!((10..=25).contains(&asked), "{asked}");
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_it_when_the_tier_is_back() {
    let (server, a) = alone();
    a.remote.fail(Verb::Acquire);
    let waiting = claimed(&a, LEASE).await;
    sleep(2 * SECOND).await;
    a.remote.answer(Verb::Acquire);
    let guard = waiting.await.unwrap().unwrap();
    guard.release().await.unwrap();
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_lost_with_the_tier_and_taken_again() {
    let (server, a) = alone();
    let b = Node::new(&server, "b");
    let guard = taken(&a).await;
    let waiting = claimed(&b, LEASE).await;
    b.remote.fail(Verb::Acquire);
    sleep(2 * SECOND).await;
    assert_eq!(server.standing(KEY).unwrap().places, []);
    b.remote.answer(Verb::Acquire);
    sleep(SECOND).await;
    assert_eq!(server.standing(KEY).unwrap().places.len(), 1);
    drop(guard);
    drop(waiting.await.unwrap().unwrap());
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_followed_by_another_claim() {
    let (server, a) = alone();
    a.remote.lose_answer(Verb::Acquire);
    let waiting = claimed(&a, LEASE).await;
    sleep(SECOND).await;
    a.remote.answer(Verb::Acquire);
    let guard = waiting.await.unwrap().unwrap();
    guard.release().await.unwrap();
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_its_output_if_the_lock_cannot_be_given_back() {
    let (server, a) = alone();
    let b = Node::new(&server, "b");
    a.remote.fail(Verb::Unlock);
    assert_eq!(locked(&a.cache, &AT_ONCE).run(async { 7 }).await.unwrap(), 7);
    let waiting = claimed(&b, 2 * LEASE).await;
    sleep(LEASE / 2).await;
    assert!(!waiting.is_finished());
    // It ends with its lease.
    drop(waiting.await.unwrap().unwrap());
    sleep(MOMENT).await;
    assert_free(&server);
    a.remote.answer(Verb::Unlock);
    a.remote.lose_answer(Verb::Unlock);
    let given_back = taken(&a).await.release().await;
    assert!(matches!(given_back, Err(LockError::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_switched_off_still_locks() {
    let (server, a) = alone();
    a.cache.set_enabled(false);
    let guard = taken(&a).await;
    assert_ne!(server.standing(KEY).unwrap().holder, 0);
    guard.release().await.unwrap();
}
