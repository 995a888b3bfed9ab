//! Who gets a lock next, in a fleet of processes.

use super::*;

fn fleet() -> (Arc<Server>, Node, Node) {
    let server = Server::new();
    let (a, b) = (Node::new(&server, "a"), Node::new(&server, "b"));
    (server, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_free_is_one_command_and_so_is_its_end() {
    let (server, a, _) = fleet();
    let guard = taken(&a).await;
    assert_eq!(server.standing(KEY).unwrap().fence, guard.fence());
    guard.release().await.unwrap();
    assert_eq!(server.log_of(KEY), ["a ACQUIRE now", "a UNLOCK"]);
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_held_elsewhere_is_not_to_be_had() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let lock = Lock::new(&b.cache, NAME);
    assert!(lock.try_acquire().await.unwrap().is_none());
    assert!(matches!(lock.acquire(Duration::ZERO).await, Err(LockError::TimedOut)));
    drop(guard);
    sleep(MOMENT).await;
    let guard = lock.try_acquire().await.unwrap().unwrap();
    guard.release().await.unwrap();
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn what_this_process_holds_it_need_not_ask_for() {
    let (server, a, _) = fleet();
    let guard = taken(&a).await;
    let lock = Lock::new(&a.cache, NAME);
    for _ in 0..100 {
        assert!(lock.try_acquire().await.unwrap().is_none());
    }
    assert_eq!(server.log_of(KEY).len(), 1);
    guard.release().await.unwrap();
    assert!(lock.try_acquire().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_handoff_is_three_commands() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let first = guard.fence();
    let waiting = claimed(&b, LEASE).await;
    let before = Instant::now();
    guard.release().await.unwrap();
    let guard = waiting.await.unwrap().unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO, "it was told");
    assert!(guard.fence() > first);
    let log = ["a ACQUIRE now", "b ACQUIRE wait", "a UNLOCK", "b ACQUIRE wait"];
    assert_eq!(server.log_of(KEY), log);
}

#[tokio::test(start_paused = true)]
async fn a_process_has_one_place_however_many_wait_in_it() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(claimed(&b, LEASE).await);
    }
    assert_eq!(server.standing(KEY).unwrap().places.len(), 1);
    assert_eq!(server.log_of(KEY).len(), 2);
    drop(guard);
    let mut last = 0;
    for waiting in waiting {
        let guard = waiting.await.unwrap().unwrap();
        assert!(guard.fence() > last);
        last = guard.fence();
    }
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn processes_take_turns_also_if_one_asks_again_at_once() {
    let (server, a, b) = fleet();
    let c = Node::new(&server, "c");
    let order = Arc::new(std::sync::Mutex::new(String::new()));
    let mut tasks = Vec::new();
    for (name, node) in ['a', 'b', 'c'].into_iter().zip([&a, &b, &c]) {
        let lock = Lock::new(&node.cache, NAME);
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                let guard = lock.acquire(LEASE).await.unwrap();
                order.lock().unwrap().push(name);
                sleep(MOMENT).await;
                guard.release().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), "abc".repeat(50));
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn who_waits_keeps_its_place_by_asking_again() {
    let (server, a, b) = fleet();
    let c = Node::new(&server, "c");
    let guard = taken(&a).await;
    let second = claimed(&b, LEASE).await;
    let third = claimed(&c, LEASE).await;
    let places = server.standing(KEY).unwrap().places;
    sleep(5 * SECOND).await;
    let tokens =
        |places: Vec<(u128, u64)>| places.into_iter().map(|(of, _)| of).collect::<Vec<_>>();
    assert_eq!(tokens(server.standing(KEY).unwrap().places), tokens(places));
    // Two to four times in a second.
    let asked = server.log_of(KEY).iter().filter(|sent| *sent == "b ACQUIRE wait").count();
    assert!((10..=21).contains(&asked), "{asked}");
    drop(guard);
    drop(second.await.unwrap().unwrap());
    drop(third.await.unwrap().unwrap());
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn one_that_came_first_and_is_gone_holds_nobody_up_for_longer_than_a_second() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let gone = claimed(&b, LEASE).await;
    let c = Node::new(&server, "c");
    let waiting = claimed(&c, LEASE).await;
    // Its process hears nothing and says nothing, as one that was killed.
    b.remote.hang(Verb::Acquire);
    b.remote.hang(Verb::Unlock);
    sleep(500 * MOMENT).await;
    let before = Instant::now();
    guard.release().await.unwrap();
    let guard = waiting.await.unwrap().unwrap();
    assert!(before.elapsed() <= SECOND + 2 * MOMENT, "{:?}", before.elapsed());
    drop((guard, gone));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_leaves_no_place_behind() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let (before, waited) = (Instant::now(), Duration::from_millis(700));
    let waiting = Lock::new(&b.cache, NAME).acquire(waited).await;
    assert!(matches!(waiting, Err(LockError::TimedOut)));
    assert_eq!(before.elapsed(), waited);
    assert_eq!(server.standing(KEY).unwrap().places, []);
    assert_eq!(server.log_of(KEY).last().unwrap(), "b ACQUIRE now");
    drop(guard);
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_others_of_its_process_waits_no_longer_for_that() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let patient = claimed(&b, LEASE).await;
    let before = Instant::now();
    let waiting = Lock::new(&b.cache, NAME).acquire(SECOND).await;
    assert!(matches!(waiting, Err(LockError::TimedOut)));
    assert_eq!(before.elapsed(), SECOND);
    drop(guard);
    drop(patient.await.unwrap().unwrap());
    sleep(MOMENT).await;
    assert_free(&server);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_missed_costs_a_poll() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let waiting = claimed(&b, LEASE).await;
    server.say_no_turns();
    let before = Instant::now();
    guard.release().await.unwrap();
    drop(waiting.await.unwrap().unwrap());
    assert!(before.elapsed() <= Duration::from_millis(401), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_cancelled_leaves_nothing_behind() {
    // At its first command before and after it takes effect, in the queue, and at the next command.
    for case in 0..5 {
        let (server, a, b) = fleet();
        let guard = taken(&a).await;
        let mut gate = None;
        if case < 2 {
            gate = Some(b.remote.hold(Verb::Acquire, [At::Sent, At::Answered][case]));
        }
        let waiting = claimed(&b, LEASE).await;
        if case == 3 || case == 4 {
            gate = Some(b.remote.hold(Verb::Acquire, [At::Sent, At::Answered][case - 3]));
            guard.release().await.unwrap();
            sleep(MOMENT).await;
        }
        waiting.abort();
        sleep(MOMENT).await;
        assert_eq!(server.standing(KEY).unwrap().places, [], "case {case}");
        assert_eq!(server.waiting(), 0);
        b.remote.answer(Verb::Acquire);
        drop(gate);
        // And in its process nobody waits for it.
        drop(claimed(&b, LEASE).await);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_next_and_cancelled_hands_over() {
    let (server, a, b) = fleet();
    let guard = taken(&a).await;
    let first = claimed(&b, LEASE).await;
    let second = claimed(&b, LEASE).await;
    let c = Node::new(&server, "c");
    let third = claimed(&c, LEASE).await;
    first.abort();
    sleep(MOMENT).await;
    let before = Instant::now();
    guard.release().await.unwrap();
    // The place of the first is given up, and the other of its process came behind then.
    drop(third.await.unwrap().unwrap());
    drop(second.await.unwrap().unwrap());
    assert_eq!(before.elapsed(), Duration::ZERO);
    sleep(MOMENT).await;
    assert_free(&server);
}
