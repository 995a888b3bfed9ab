//! With a tier that a fleet shares: what it is asked, and what is remembered of its answers.

use std::pin::pin;

use common::{At, Verb};
use tokio::time::{advance, sleep};

use super::*;

/// How often the process has asked.
fn asked(server: &Server) -> usize {
    server.keys_of("a LIMIT").len()
}

/// For whatever needs no time to happen.
const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn processes_count_together() {
    for algorithm in ALGORITHMS {
        let (server, _process, one) = in_fleet();
        let (_other, other) = process(&server, "b");
        let limiter = |cache| Limiter::new(cache, "login", 5, HOUR).algorithm(algorithm);
        let (one, other) = (limiter(&one), limiter(&other));
        assert_eq!((allowed(&one, 1, 2).await, allowed(&other, 1, 9).await), (2, 3));
        assert_eq!(allowed(&one, 1, 9).await, 0);
        one.refund(1_u64, 1).await;
        assert_eq!(one.peek(1_u64).await.remaining, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_remembered_until_it_could_be_granted() {
    for algorithm in ALGORITHMS {
        let (server, _process, cache) = in_fleet();
        let limiter = Limiter::new(&cache, "login", 2, MINUTE).algorithm(algorithm);
        assert_eq!(allowed(&limiter, 1, 2).await, 2);
        let first = limiter.check(1_u64).await.unwrap_err();
        assert_eq!(asked(&server), 3);
        for _ in 0..100 {
            assert_eq!(limiter.check(1_u64).await, Err(first.clone()));
        }
        advance(SECOND).await;
        let later = limiter.check(1_u64).await.unwrap_err();
        assert_eq!(later.retry_after + SECOND, first.retry_after);
        assert_eq!(later.reset_after + SECOND, first.reset_after);
        assert_eq!((asked(&server), later.remaining), (3, 0));
        advance(later.retry_after).await;
        assert!(limiter.check(1_u64).await.is_ok());
        assert_eq!(asked(&server), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_counts_from_when_it_was_asked_for() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 10, MINUTE).burst(1);
    limiter.check(1_u64).await.unwrap();
    let gate = process.hold(Verb::Limit, At::Answered);
    let late = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.check(1_u64).await }
    });
    sleep(5 * SECOND).await;
    gate.open();
    assert_eq!(retry(late.await.unwrap()), 6 * SECOND);
    sleep(SECOND).await;
    assert!(limiter.check(1_u64).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_one_of_its_cost_and_limit() {
    let (server, _process, cache) = in_fleet();
    let limiter = |burst| Limiter::new(&cache, "login", 10, HOUR).burst(burst);
    limiter(10).check_n(1_u64, 8).await.unwrap();
    assert!(limiter(10).check_n(1_u64, 3).await.is_err());
    assert!(limiter(10).check_n(1_u64, 2).await.is_ok());
    assert!(limiter(10).check_n(1_u64, 1).await.is_err());
    assert!(limiter(20).check_n(1_u64, 1).await.is_ok());
    assert_eq!(asked(&server), 5);
}

#[tokio::test(start_paused = true)]
async fn what_never_may_is_asked_for_each_time_and_says_how_it_stands() {
    let (_server, _process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 10, HOUR);
    for remaining in [10, 9, 8] {
        let never = limiter.check_n(1_u64, 11).await.unwrap_err();
        assert_eq!((never.retry_after, never.remaining), (Duration::MAX, remaining));
        limiter.check(1_u64).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_back_here_may_again_at_once() {
    let (server, _process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 2, HOUR);
    for at_once in 1..=2 {
        assert_eq!(allowed(&limiter, 1, 9).await, 2);
        let before = asked(&server);
        if at_once == 2 {
            limiter.reset(1_u64).await;
        } else {
            limiter.refund(1_u64, at_once).await;
        }
        assert_eq!(asked(&server), before + 1);
        assert_eq!(allowed(&limiter, 1, 1).await, 1);
        limiter.reset(1_u64).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_from_before_a_reset_is_not_remembered_after_it() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 1, HOUR);
    limiter.check(1_u64).await.unwrap();
    let gate = process.hold(Verb::Limit, At::Answered);
    let denied = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.check(1_u64).await }
    });
    sleep(MOMENT).await;
    process.answer(Verb::Limit);
    limiter.reset(1_u64).await;
    gate.open();
    assert!(denied.await.unwrap().is_err());
    assert!(limiter.check(1_u64).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_is_dropped_on_its_way_may_have_been_done() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 1, HOUR);
    assert_eq!(allowed(&limiter, 1, 2).await, 1);
    process.hold(Verb::Limit, At::Answered);
    tokio::select! {
        biased;
        () = limiter.reset(1_u64) => panic!("nobody has answered"),
        () = sleep(MOMENT) => {}
    }
    process.answer(Verb::Limit);
    assert!(limiter.check(1_u64).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peek_asks_although_a_denial_is_remembered() {
    let (server, _process, cache) = in_fleet();
    let (_other, other) = process(&server, "b");
    let limiter = Limiter::new(&cache, "login", 2, HOUR);
    assert_eq!(allowed(&limiter, 1, 3).await, 2);
    Limiter::new(&other, "login", 2, HOUR).reset(1_u64).await;
    assert_eq!(limiter.peek(1_u64).await.remaining, 2);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_is_dropped_before_it_is_sent_takes_nothing() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 2, HOUR);
    drop(limiter.check(1_u64));
    process.hold(Verb::Limit, At::Sent);
    tokio::select! {
        biased;
        _ = limiter.check(1_u64) => panic!("it was not sent"),
        () = sleep(MOMENT) => {}
    }
    process.answer(Verb::Limit);
    assert_eq!(limiter.peek(1_u64).await.remaining, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_to_one_who_was_dropped_stays_taken() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 2, HOUR);
    process.hold(Verb::Limit, At::Answered);
    tokio::select! {
        biased;
        _ = limiter.check(1_u64) => panic!("nobody has answered"),
        () = sleep(MOMENT) => {}
    }
    process.answer(Verb::Limit);
    assert_eq!(allowed(&limiter, 1, 9).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_is_sent_and_owns_its_key() {
    fn is_sent<T: Send>(future: T) -> T {
        future
    }
    let (_server, _process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 2, HOUR);
    let check = {
        // No key part that is sent is needed.
        let key = std::rc::Rc::new(String::from("a"));
        is_sent(limiter.check(key))
    };
    let mut check = pin!(check);
    assert!(check.as_mut().await.is_ok());
    is_sent(limiter.wait(1_u64, SECOND)).await.unwrap();
    is_sent(limiter.peek(1_u64)).await;
    is_sent(limiter.refund(1_u64, 1)).await;
    is_sent(limiter.reset(1_u64)).await;
}
