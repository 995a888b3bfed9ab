//! Those who wait: in which order they are admitted, when they give up, and what it costs.

use std::sync::Mutex;

use common::{At, Verb};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use super::*;

const MOMENT: Duration = Duration::from_millis(1);

/// One each second, at most one at once.
fn paced(cache: &Cache) -> Limiter {
    Limiter::new(cache, "mail", 60, MINUTE).burst(1)
}

/// In memory, and in a fleet.
fn both() -> [(Option<Arc<Server>>, Cache); 2] {
    let (server, _, cache) = in_fleet();
    [(None, virtual_memory()), (Some(server), cache)]
}

/// Waits on a task of its own, which has got to where it waits.
async fn waiting(
    limiter: &Limiter,
    at_most: Duration,
) -> JoinHandle<(Result<Allowed, RateLimited>, Instant)> {
    let limiter = limiter.clone();
    let wait = tokio::spawn(async move {
        let answer = limiter.wait("a", at_most).await;
        (answer, Instant::now())
    });
    sleep(MOMENT).await;
    wait
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_admitted_when_he_may_be() {
    for (_, cache) in both() {
        for algorithm in ALGORITHMS {
            let limiter = Limiter::new(&cache, "mail", 1, SECOND).algorithm(algorithm);
            limiter.check("a").await.unwrap();
            let expected = retry(limiter.check("a").await);
            let began = Instant::now();
            assert!(limiter.wait("a", HOUR).await.is_ok());
            // A timer goes by whole milliseconds.
            assert!(began.elapsed() >= expected && began.elapsed() <= expected + 2 * MOMENT);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_need_not_wait_does_not() {
    for (server, cache) in both() {
        let limiter = Limiter::new(&cache, "mail", 100, HOUR);
        let began = Instant::now();
        for _ in 0..100 {
            limiter.wait("a", HOUR).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        if let Some(server) = server {
            assert_eq!(server.keys_of("a LIMIT").len(), 100);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_admitted_in_the_order_in_which_they_came() {
    for (_, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiters = JoinSet::new();
        for number in 0..50 {
            let (limiter, order) = (limiter.clone(), Arc::clone(&order));
            waiters.spawn(async move {
                limiter.wait("a", HOUR).await.unwrap();
                order.lock().unwrap().push(number);
            });
            sleep(MOMENT).await;
        }
        let began = Instant::now();
        waiters.join_all().await;
        assert!(began.elapsed() >= 49 * SECOND && began.elapsed() <= 51 * SECOND);
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_costs_two_commands_however_many_wait() {
    for algorithm in ALGORITHMS {
        let (server, _process, cache) = in_fleet();
        let limiter = Limiter::new(&cache, "mail", 5, SECOND).algorithm(algorithm).burst(1);
        let most = if algorithm == Algorithm::Gcra { 1 } else { 5 };
        assert_eq!(at_once(&limiter, most).await, most);
        let mut waiters = JoinSet::new();
        for _ in 0..500 {
            let limiter = limiter.clone();
            waiters.spawn(async move { limiter.wait("a", HOUR).await.is_ok() });
        }
        assert!(waiters.join_all().await.into_iter().all(|is_ok| is_ok));
        let asked = server.keys_of("a LIMIT").len();
        assert!(asked <= 1_100, "{asked} for 500");
    }
}

/// How many of so many checks are allowed.
async fn at_once(limiter: &Limiter, count: usize) -> usize {
    let mut allowed = 0;
    for _ in 0..count {
        allowed += usize::from(limiter.check("a").await.is_ok());
    }
    allowed
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_admitted_in_time_is_told_at_once() {
    for (_, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let began = Instant::now();
        let less = Duration::from_millis(998);
        let denied = limiter.wait("a", less).await.unwrap_err();
        assert!(denied.retry_after > less && denied.retry_after <= SECOND);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(limiter.wait("a", Duration::ZERO).await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_too_many_before_him_is_told_at_once() {
    for (server, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let mut before = Vec::new();
        for _ in 0..10 {
            before.push(waiting(&limiter, HOUR).await);
        }
        let (began, asked) = (Instant::now(), server.as_ref().map(|server| server.log().len()));
        let denied = limiter.wait("a", 10 * SECOND).await.unwrap_err();
        assert_eq!((began.elapsed(), denied.remaining), (Duration::ZERO, 0));
        assert!(denied.retry_after > 10 * SECOND && denied.retry_after <= 11 * SECOND);
        assert!(denied.reset_after >= denied.retry_after);
        assert_eq!(server.as_ref().map(|server| server.log().len()), asked);
        // With a little more it is enough.
        let last = waiting(&limiter, 11 * SECOND).await;
        assert!(last.await.unwrap().0.is_ok());
        for before in before {
            assert!(before.await.unwrap().0.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_may_does_not_stand_in_line() {
    for (_, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let first = waiting(&limiter, HOUR).await;
        let none = paced(&cache).burst(0);
        let began = Instant::now();
        assert_eq!(retry(none.wait("a", HOUR).await), Duration::MAX);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(first.await.unwrap().0.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn in_windows_too_who_has_too_many_before_him_is_told_at_once() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let cache = virtual_memory();
        let limiter = Limiter::new(&cache, "mail", 2, MINUTE).algorithm(algorithm);
        assert_eq!(at_once(&limiter, 2).await, 2);
        let mut before = Vec::new();
        for _ in 0..20 {
            before.push(waiting(&limiter, HOUR).await);
        }
        let began = Instant::now();
        assert!(limiter.wait("a", 3 * MINUTE).await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
        for before in before {
            assert!(before.await.unwrap().0.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_others_wait_does_not_overtake_them() {
    for (_, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let first = waiting(&limiter, HOUR).await;
        // It could be granted now, but the first has not asked.
        let second = waiting(&limiter, HOUR).await;
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert!(first.0.is_ok() && second.0.is_ok() && first.1 < second.1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_his_place_to_the_next() {
    for (_, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let (first, second) = (waiting(&limiter, HOUR).await, waiting(&limiter, HOUR).await);
        let third = waiting(&limiter, HOUR).await;
        let began = Instant::now();
        first.abort();
        second.abort();
        assert!(third.await.unwrap().0.is_ok());
        assert!(began.elapsed() <= SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn others_that_take_all_the_time_make_a_wait_end_with_a_denial() {
    for (_, cache) in both() {
        let limiter = paced(&cache);
        limiter.check("a").await.unwrap();
        let (first, second) =
            (waiting(&limiter, 3 * SECOND).await, waiting(&limiter, 3 * SECOND).await);
        let began = Instant::now();
        while !(first.is_finished() && second.is_finished()) {
            // Who only checks does not stand in the line.
            let _ = limiter.check("a").await;
            sleep(MOMENT / 10).await;
        }
        assert!(first.await.unwrap().0.is_err());
        assert!(retry(second.await.unwrap().0) <= 2 * SECOND);
        assert!(began.elapsed() <= 3 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_lets_the_first_ask_at_once() {
    for (_, cache) in both() {
        let limiter = Limiter::new(&cache, "mail", 1, HOUR);
        limiter.check("a").await.unwrap();
        let (first, second) =
            (waiting(&limiter, 3 * HOUR).await, waiting(&limiter, 3 * HOUR).await);
        let began = Instant::now();
        limiter.refund("a", 1).await;
        assert!(first.await.unwrap().0.is_ok());
        assert!(began.elapsed() <= MOMENT);
        limiter.reset("a").await;
        assert!(second.await.unwrap().0.is_ok());
        assert!(began.elapsed() <= 2 * MOMENT);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_wait_apart() {
    let cache = virtual_memory();
    let limiter = paced(&cache);
    let began = Instant::now();
    let mut waiters = JoinSet::new();
    for key in 0..100_u64 {
        for _ in 0..2 {
            let limiter = limiter.clone();
            waiters.spawn(async move { limiter.wait(key, HOUR).await.is_ok() });
        }
    }
    assert!(waiters.join_all().await.into_iter().all(|is_ok| is_ok));
    assert!(began.elapsed() <= SECOND + 2 * MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_on_its_way_to_the_tier_lets_the_next_one_go() {
    let (_server, process, cache) = in_fleet();
    let limiter = paced(&cache);
    limiter.check("a").await.unwrap();
    let (first, second) = (waiting(&limiter, HOUR).await, waiting(&limiter, HOUR).await);
    let gate = process.hold(Verb::Limit, At::Answered);
    sleep(SECOND).await;
    first.abort();
    process.answer(Verb::Limit);
    gate.open();
    let began = Instant::now();
    // The first was granted one that nobody took.
    assert!(second.await.unwrap().0.is_ok());
    assert!(began.elapsed() >= Duration::from_millis(990) && began.elapsed() <= SECOND);
}
