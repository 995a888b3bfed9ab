//! In the memory of one process.

use std::{thread, time::Instant};

use super::*;

#[tokio::test]
async fn a_bucket_allows_its_burst_at_once_and_the_limit_from_then_on() {
    let (cache, clock) = in_memory();
    let limiter = Limiter::new(&cache, "login", 10, MINUTE).burst(3);
    assert_eq!(allowed(&limiter, 1, 5).await, 3);
    for _ in 0..20 {
        assert_eq!(retry(limiter.check(1_u64).await), 6 * SECOND);
        clock.advance(Duration::from_micros(5_999_999));
        assert_eq!(retry(limiter.check(1_u64).await), Duration::from_micros(1));
        clock.advance(Duration::from_micros(1));
        assert_eq!(allowed(&limiter, 1, 2).await, 1);
    }
}

#[tokio::test]
async fn a_fixed_window_allows_the_limit_until_the_next_begins() {
    let (cache, clock) = in_memory();
    let limiter = Limiter::new(&cache, "login", 10, MINUTE).algorithm(Algorithm::FixedWindow);
    clock.advance(10 * SECOND);
    assert_eq!(allowed(&limiter, 1, 20).await, 10);
    assert_eq!(retry(limiter.check(1_u64).await), 50 * SECOND);
    clock.advance(50 * SECOND);
    assert_eq!(allowed(&limiter, 1, 20).await, 10);
}

#[tokio::test]
async fn a_sliding_window_adds_a_part_of_the_one_before() {
    let (cache, clock) = in_memory();
    let limiter = Limiter::new(&cache, "login", 10, MINUTE).algorithm(Algorithm::SlidingWindow);
    assert_eq!(allowed(&limiter, 1, 20).await, 10);
    clock.advance(90 * SECOND);
    assert_eq!(allowed(&limiter, 1, 20).await, 5);
}

#[tokio::test]
async fn what_is_said_is_how_it_stands() {
    let (cache, _clock) = in_memory();
    let limiter = Limiter::new(&cache, "login", 4, MINUTE);
    let said = limiter.check_n(1_u64, 3).await.unwrap();
    assert_eq!((said.limit, said.remaining, said.reset_after), (4, 1, 45 * SECOND));
    let denied = limiter.check_n(1_u64, 3).await.unwrap_err();
    assert_eq!((denied.limit, denied.remaining), (4, 1));
    assert_eq!((denied.retry_after, denied.reset_after), (30 * SECOND, 45 * SECOND));
    assert_eq!(denied.to_string(), "over the limit of 4 in 60s; may be tried again in 30s");
    let never = limiter.check_n(1_u64, 5).await.unwrap_err();
    assert_eq!((never.retry_after, never.remaining), (Duration::MAX, 1));
    assert_eq!(never.to_string(), "over the limit of 4 in 60s, and would always be");
}

#[tokio::test]
async fn a_peek_takes_nothing() {
    let (cache, _clock) = in_memory();
    for algorithm in ALGORITHMS {
        let limiter = Limiter::new(&cache, "login", 4, MINUTE).algorithm(algorithm);
        assert_eq!(limiter.peek(1_u64).await.remaining, 4);
        limiter.check(1_u64).await.unwrap();
        for _ in 0..10 {
            assert_eq!(limiter.peek(1_u64).await.remaining, 3);
        }
    }
}

#[tokio::test]
async fn a_refund_gives_back_what_was_taken_and_no_more() {
    let (cache, _clock) = in_memory();
    for algorithm in ALGORITHMS {
        let limiter = Limiter::new(&cache, "login", 4, MINUTE).algorithm(algorithm);
        limiter.check_n(1_u64, 3).await.unwrap();
        limiter.refund(1_u64, 2).await;
        assert_eq!(limiter.peek(1_u64).await.remaining, 3);
        limiter.refund(1_u64, 100).await;
        assert_eq!(allowed(&limiter, 1, 10).await, 4);
    }
}

#[tokio::test]
async fn a_reset_forgets_one_key() {
    let (cache, _clock) = in_memory();
    for algorithm in ALGORITHMS {
        let limiter = Limiter::new(&cache, "login", 4, MINUTE).algorithm(algorithm);
        for key in [1, 2] {
            assert_eq!(allowed(&limiter, key, 10).await, 4);
        }
        limiter.reset(1_u64).await;
        assert_eq!((allowed(&limiter, 1, 10).await, allowed(&limiter, 2, 10).await), (4, 0));
    }
}

#[tokio::test]
async fn a_limit_or_a_burst_of_zero_allows_nothing() {
    let (cache, _clock) = in_memory();
    for limiter in [
        Limiter::new(&cache, "none", 0, MINUTE),
        Limiter::new(&cache, "none", 9, MINUTE).burst(0),
        Limiter::new(&cache, "none", 0, MINUTE).algorithm(Algorithm::FixedWindow),
        Limiter::new(&cache, "none", 0, MINUTE).algorithm(Algorithm::SlidingWindow),
    ] {
        assert_eq!(retry(limiter.check(1_u64).await), Duration::MAX);
        assert_eq!(retry(limiter.wait(1_u64, HOUR).await), Duration::MAX);
        assert_eq!(limiter.peek(1_u64).await.remaining, 0);
        // It is full all the time.
        limiter.check_n(1_u64, 0).await.unwrap_or_else(|denied| panic!("{denied}"));
    }
}

#[tokio::test]
async fn a_limit_may_change_while_it_is_used() {
    let (cache, clock) = in_memory();
    let limiter = |limit| Limiter::new(&cache, "login", limit, MINUTE);
    assert_eq!(allowed(&limiter(10), 1, 20).await, 10);
    assert_eq!(allowed(&limiter(20), 1, 20).await, 0);
    clock.advance(3 * SECOND);
    assert_eq!(allowed(&limiter(20), 1, 20).await, 1);
    let limiter = |limit| limiter(limit).algorithm(Algorithm::FixedWindow);
    assert_eq!(allowed(&limiter(10), 1, 20).await, 10);
    assert_eq!(allowed(&limiter(12), 1, 20).await, 2);
}

#[tokio::test]
async fn a_cache_that_is_switched_off_limits() {
    let cache = Cache::builder("test").enabled(false).build().unwrap();
    let limiter = Limiter::new(&cache, "login", 4, HOUR);
    assert_eq!(allowed(&limiter, 1, 10).await, 4);
}

#[tokio::test]
async fn two_caches_count_apart() {
    for cache in [Cache::memory(), Cache::memory()] {
        let limiter = Limiter::new(&cache, "login", 4, HOUR);
        assert_eq!(allowed(&limiter, 1, 10).await, 4);
    }
}

#[tokio::test]
async fn clearing_a_cache_clears_no_limit() {
    let cache = Cache::memory();
    let limiter = Limiter::new(&cache, "login", 4, HOUR);
    assert_eq!(allowed(&limiter, 1, 10).await, 4);
    cache.clear().await.unwrap();
    assert_eq!(allowed(&limiter, 1, 10).await, 0);
}

#[tokio::test]
async fn a_limit_shows_itself_without_its_cache() {
    let limiter = Limiter::new(&Cache::memory(), "login", 4, MINUTE).when_down(WhenDown::Deny);
    let shown = "Limiter { name: \"login\", limit: 4, per: 60s, burst: None, algorithm: Gcra, \
                 when_down: Deny, .. }";
    assert_eq!(format!("{limiter:?}"), shown);
}

/// Threads that ask as fast as they can, for a time: from before the first until after the last
/// grant no more passes than that.
fn granted_to_threads(limiter: &Limiter, time: Duration) -> (u64, Duration) {
    const THREADS: usize = 4;

    let began = Instant::now();
    let granted = thread::scope(|scope| {
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut granted = 0;
                while began.elapsed() < time {
                    for _ in 0..100 {
                        granted += u64::from(limiter.check("all").await.is_ok());
                    }
                }
                granted
            })
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    (granted, began.elapsed())
}

#[test]
fn threads_are_granted_what_the_limit_says_by_the_kernels_clock() {
    let cache = Cache::memory();
    for (limit, per) in [(1, HOUR), (7, SECOND), (1_000, SECOND), (99_991, SECOND)] {
        let (limit_of, time) = (u64::from(limit), Duration::from_millis(200));
        let name = format!("threads:{limit}");
        // Threads are held up between the clock and the count, and the count must not go back with them.
        let bucket = Limiter::new(&cache, &name, limit, per).burst(1);
        let (granted, took) = granted_to_threads(&bucket, time);
        let most = took.as_micros() * u128::from(limit_of) / per.as_micros() + 1;
        assert!(u128::from(granted) <= most, "{granted} of {most}");
        let window = Limiter::new(&cache, &name, limit, per).algorithm(Algorithm::FixedWindow);
        let (granted, took) = granted_to_threads(&window, time);
        let windows = took.as_micros() / per.as_micros() + 2;
        assert!(u128::from(granted) <= windows * u128::from(limit_of), "{granted}");
        assert!(granted >= limit_of.min(1));
    }
}

#[tokio::test]
async fn the_headers_are_whole_seconds_rounded_up() {
    let (cache, clock) = in_memory();
    let limiter = Limiter::new(&cache, "api", 2, Duration::from_millis(2_500));
    limiter.check_n(1_u64, 2).await.unwrap();
    clock.advance(Duration::from_millis(200));
    let denied = limiter.check(1_u64).await.unwrap_err();
    assert_eq!(denied.retry_after, Duration::from_millis(1_050));
    assert_eq!(
        denied.headers(),
        [
            ("RateLimit", "\"default\";r=0;t=3".to_owned()),
            ("RateLimit-Policy", "\"default\";q=2;w=3".to_owned()),
            ("Retry-After", "2".to_owned()),
        ]
    );
    let never = limiter.check_n(1_u64, 3).await.unwrap_err();
    assert_eq!(never.headers()[2].1, "2147483648");
}
