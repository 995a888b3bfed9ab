//! While the tier is away, of which a test says when.

use common::Verb;
use tokio::time::{advance, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn by_default_the_process_limits_by_itself() {
    for algorithm in ALGORITHMS {
        let (server, one_process, one) = in_fleet();
        let (other_process, other) = process(&server, "b");
        let limiter = |cache| Limiter::new(cache, "login", 3, HOUR).algorithm(algorithm);
        let (one, other) = (limiter(&one), limiter(&other));
        assert_eq!(allowed(&one, 1, 1).await, 1);
        for process in [&one_process, &other_process] {
            process.cut_off();
        }
        // All of it is left at first, and each process has its own.
        assert_eq!((allowed(&one, 1, 9).await, allowed(&other, 1, 9).await), (3, 3));
        assert_eq!(one.peek(1_u64).await.remaining, 0);
        one.refund(1_u64, 2).await;
        assert_eq!(allowed(&one, 1, 9).await, 2);
        one.reset(1_u64).await;
        assert_eq!(allowed(&one, 1, 9).await, 3);
        for process in [&one_process, &other_process] {
            process.answer(Verb::Limit);
        }
        // Back, it counts as if nothing had been.
        assert_eq!((allowed(&one, 1, 1).await, allowed(&other, 1, 9).await), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_allows_everybody_may() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(WhenDown::Allow);
    assert_eq!(allowed(&limiter, 1, 9).await, 3);
    limiter.reset(1_u64).await;
    process.cut_off();
    assert_eq!(allowed(&limiter, 1, 100).await, 100);
    assert_eq!(limiter.peek(1_u64).await.remaining, 3);
    process.answer(Verb::Limit);
    assert_eq!(allowed(&limiter, 1, 9).await, 3);
}

#[tokio::test(start_paused = true)]
async fn where_it_denies_nobody_may_for_a_second() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 3, HOUR).when_down(WhenDown::Deny);
    process.cut_off();
    for _ in 0..10 {
        let denied = limiter.check(1_u64).await.unwrap_err();
        assert_eq!((denied.retry_after, denied.remaining, denied.limit), (SECOND, 0, 3));
    }
    assert_eq!(limiter.peek(1_u64).await.remaining, 0);
    process.answer(Verb::Limit);
    assert_eq!(allowed(&limiter, 1, 9).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_denial_from_before_holds_while_it_is_away() {
    let (_server, process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 1, MINUTE);
    assert_eq!(allowed(&limiter, 1, 2).await, 1);
    process.cut_off();
    assert_eq!(retry(limiter.check(1_u64).await), MINUTE);
    advance(MINUTE).await;
    assert_eq!(allowed(&limiter, 1, 2).await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_it_is_away_waits_as_it_is_said() {
    for (when_down, admitted_after) in [
        (WhenDown::Allow, Duration::ZERO),
        // The second of the process's own.
        (WhenDown::Local, SECOND),
        // When it is back, and the denial of a second has passed.
        (WhenDown::Deny, 3 * SECOND),
    ] {
        let (_server, process, cache) = in_fleet();
        let limiter = Limiter::new(&cache, "mail", 60, MINUTE).burst(1).when_down(when_down);
        process.cut_off();
        if when_down == WhenDown::Local {
            limiter.check(1_u64).await.unwrap();
        }
        let back = tokio::spawn(async move {
            sleep(Duration::from_millis(2_500)).await;
            process.answer(Verb::Limit);
        });
        let began = tokio::time::Instant::now();
        assert!(limiter.wait(1_u64, MINUTE).await.is_ok());
        let took = began.elapsed();
        assert!(took >= admitted_after && took <= admitted_after + Duration::from_millis(5));
        back.await.unwrap();
    }
}
