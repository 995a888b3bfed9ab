//! How a lock is kept, and lost.

use super::*;

/// Counts from outside how often a body goes on.
fn body(steps: &Arc<AtomicU32>, every: Duration) -> impl Future<Output = ()> + use<> {
    let steps = Arc::clone(steps);
    async move {
        loop {
            sleep(every).await;
            steps.fetch_add(1, SeqCst);
        }
    }
}

fn alone() -> (Arc<Server>, Node) {
    let server = Server::new();
    let node = Node::new(&server, "a");
    (server, node)
}

#[tokio::test(start_paused = true)]
async fn a_body_of_many_leases_keeps_its_lock() {
    let (server, a) = alone();
    let run = locked(&a.cache, &AT_ONCE).run(async {
        sleep(10 * LEASE).await;
        fence().unwrap()
    });
    let fence = run.await.unwrap();
    assert_eq!(server.standing(KEY).unwrap().fence, fence);
    let renewals = server.log_of(KEY).iter().filter(|sent| *sent == "a ACQUIRE renew").count();
    // At each third, by a clock that counts milliseconds.
    assert!((29..=30).contains(&renewals), "{renewals}");
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_only_kept_is_renewed_too() {
    let (server, a) = alone();
    let guard = taken(&a).await;
    sleep(10 * LEASE).await;
    assert_eq!(server.standing(KEY).unwrap().fence, guard.fence());
    assert!(tokio::time::timeout(LEASE, guard.lost()).await.is_err());
    guard.release().await.unwrap();
    server.forget();
    sleep(10 * LEASE).await;
    assert_eq!(server.log(), [""; 0], "nothing is renewed any more");
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_are_repeated() {
    let (server, a) = alone();
    let steps = Arc::default();
    let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(body(&steps, SECOND)));
    for _ in 0..5 {
        sleep(LEASE).await;
        a.remote.fail(Verb::Acquire);
        // From a third of the lease on there is half of it to try again.
        sleep(LEASE / 3).await;
        a.remote.answer(Verb::Acquire);
    }
    sleep(LEASE).await;
    assert!(!run.is_finished());
    assert_ne!(server.standing(KEY).unwrap().holder, 0);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_renewed_is_lost_before_another_gets_it() {
    for fails in [Process::fail, Process::hang, Process::lose_answer] {
        let (server, a) = alone();
        let b = Node::new(&server, "b");
        let steps = Arc::new(AtomicU32::new(0));
        let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(body(&steps, SECOND)));
        sleep(MOMENT).await;
        fails(&a.remote, Verb::Acquire);
        a.remote.fail(Verb::Unlock);
        let waiting = claimed(&b, 10 * LEASE).await;
        let lost = run.await.unwrap();
        assert!(matches!(lost, Err(LockError::Lost)));
        let before = steps.load(SeqCst);
        assert!(!waiting.is_finished(), "two have it");
        drop(waiting.await.unwrap().unwrap());
        assert_eq!(steps.load(SeqCst), before, "it went on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_counts_from_when_it_was_sent() {
    let (server, a) = alone();
    let b = Node::new(&server, "b");
    let steps = Arc::new(AtomicU32::new(0));
    let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(body(&steps, MOMENT)));
    sleep(MOMENT).await;
    // Its answer comes when the lease is almost over, and no other does.
    let gate = a.remote.hold(Verb::Acquire, At::Answered);
    sleep(LEASE * 7 / 8).await;
    a.remote.hang(Verb::Acquire);
    a.remote.fail(Verb::Unlock);
    gate.open();
    let waiting = claimed(&b, 10 * LEASE).await;
    assert!(matches!(run.await.unwrap(), Err(LockError::Lost)));
    assert!(!waiting.is_finished(), "two have it");
    drop(waiting.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_forgotten_is_lost_at_the_next_renewal() {
    let (server, a) = alone();
    let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(std::future::pending::<()>()));
    sleep(MOMENT).await;
    server.forget_locks();
    let before = Instant::now();
    assert!(matches!(run.await.unwrap(), Err(LockError::Lost)));
    assert!(before.elapsed() <= LEASE / 3, "{:?}", before.elapsed());
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_frozen_does_not_go_on() {
    let (server, a) = alone();
    let steps = Arc::new(AtomicU32::new(0));
    let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(body(&steps, MOMENT)));
    sleep(SECOND).await;
    let before = steps.load(SeqCst);
    // Everything is due at once, and nothing has run meanwhile.
    tokio::time::advance(LEASE).await;
    assert!(matches!(run.await.unwrap(), Err(LockError::Lost)));
    assert_eq!(steps.load(SeqCst), before);
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn work_beside_a_guard_that_was_frozen_does_not_go_on() {
    let (_server, a) = alone();
    let guard = taken(&a).await;
    let steps = Arc::new(AtomicU32::new(0));
    let work = body(&steps, MOMENT);
    let working = tokio::spawn(async move {
        tokio::select! {
            biased;
            () = guard.lost() => guard.release().await,
            () = work => unreachable!(),
        }
    });
    sleep(SECOND).await;
    let before = steps.load(SeqCst);
    tokio::time::advance(LEASE).await;
    assert!(matches!(working.await.unwrap(), Err(LockError::Lost)));
    assert_eq!(steps.load(SeqCst), before);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_frozen_for_less_goes_on() {
    let (_server, a) = alone();
    let steps = Arc::new(AtomicU32::new(0));
    let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(body(&steps, SECOND)));
    for _ in 0..20 {
        sleep(LEASE).await;
        tokio::time::advance(LEASE / 2).await;
    }
    sleep(LEASE).await;
    assert!(!run.is_finished());
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_come_to_its_end_has_its_output_whatever_became_of_the_lock() {
    let (server, a) = alone();
    let run = locked(&a.cache, &AT_ONCE).run(async {
        server.forget_locks();
        7
    });
    assert_eq!(run.await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn who_gives_back_a_lock_that_was_lost_is_told() {
    let (server, a) = alone();
    let guard = taken(&a).await;
    server.forget_locks();
    assert!(matches!(guard.release().await, Err(LockError::Lost)));
    let guard = taken(&a).await;
    a.remote.hang(Verb::Acquire);
    guard.lost().await;
    // The lock was still there, for as long as clocks may differ; now another can have it.
    let given_back = guard.release().await;
    assert!(given_back.is_ok(), "{given_back:?}");
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_that_was_lost_takes_nothing_from_another() {
    let (server, a) = alone();
    let b = Node::new(&server, "b");
    let guard = taken(&a).await;
    let gate = a.remote.hold(Verb::Unlock, At::Sent);
    let releasing = tokio::spawn(guard.release());
    sleep(LEASE).await;
    let other = taken(&b).await;
    gate.open();
    assert!(matches!(releasing.await.unwrap(), Err(LockError::Lost)));
    assert_eq!(server.standing(KEY).unwrap().fence, other.fence());
    other.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_the_end_overtakes_takes_nothing() {
    let (server, a) = alone();
    let guard = taken(&a).await;
    let gate = a.remote.hold(Verb::Acquire, At::Sent);
    // Longer than a third.
    sleep(LEASE / 2).await;
    guard.release().await.unwrap();
    gate.open();
    sleep(LEASE).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_over_when_it_is_told_is_none() {
    let (server, a) = alone();
    let gate = a.remote.hold(Verb::Acquire, At::Answered);
    let claim = claimed(&a, Duration::ZERO).await;
    sleep(LEASE).await;
    gate.open();
    assert!(matches!(claim.await.unwrap(), Err(LockError::Lost)));
    sleep(MOMENT).await;
    assert_free(&server);
    // Who waits asks again.
    let gate = a.remote.hold(Verb::Acquire, At::Answered);
    let claim = claimed(&a, 2 * LEASE).await;
    sleep(LEASE).await;
    a.remote.answer(Verb::Acquire);
    gate.open();
    drop(claim.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_dropped_while_it_is_given_back_is_given_back() {
    let (server, a) = alone();
    let guard = taken(&a).await;
    let gate = a.remote.hold(Verb::Unlock, At::Sent);
    let releasing = tokio::spawn(guard.release());
    sleep(MOMENT).await;
    releasing.abort();
    a.remote.answer(Verb::Unlock);
    sleep(MOMENT).await;
    assert_free(&server);
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cancelled_gives_the_lock_back() {
    let (server, a) = alone();
    let run = tokio::spawn(locked(&a.cache, &AT_ONCE).run(std::future::pending::<()>()));
    sleep(SECOND).await;
    assert_ne!(server.standing(KEY).unwrap().holder, 0);
    run.abort();
    sleep(MOMENT).await;
    assert_free(&server);
    server.forget();
    sleep(10 * LEASE).await;
    assert_eq!(server.log(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_locks_that_are_being_given_back() {
    let (server, a) = alone();
    drop(taken(&a).await);
    a.cache.shutdown().await.unwrap();
    assert_free(&server);
    // And one that is taken after it is given back, too.
    drop(taken(&a).await);
    sleep(MOMENT).await;
    assert_free(&server);
}

#[test]
fn the_end_of_its_runtime_leaves_a_lock_to_its_lease() {
    let server = Server::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let a = Node::new(&server, "a");
    let lock = Lock::new(&a.cache, NAME).lease(Duration::from_millis(50));
    let guard = first.block_on(lock.try_acquire()).unwrap().unwrap();
    drop(first);
    // Nobody renews it any more, and its holder learns of it on another.
    second.block_on(guard.lost());
    drop(guard);
    let guard = second.block_on(lock.acquire(LEASE)).unwrap();
    second.block_on(guard.release()).unwrap();
    assert_free(&server);
}
