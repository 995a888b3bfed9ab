//! The cache itself: its settings, scopes, bounds, lives and counters.

// A function of a test awaits nothing, and a call is made in one place and awaited in another.
#![allow(clippy::unused_async, clippy::async_yields_async)]

use std::{
    convert::Infallible,
    fmt::Write as _,
    pin::pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use larder::{Cache, CacheBuilder, ManualClock, Options, Source, cached};
use tokio::time::sleep;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const NANO: Duration = Duration::from_nanos(1);

/// A nanosecond less than so many seconds.
const fn just_before(secs: u64) -> Duration {
    Duration::new(secs - 1, 999_999_999)
}

/// How long a run takes, in virtual time.
const RUN: Duration = Duration::from_millis(100);

/// For whatever needs no time to happen.
const MOMENT: Duration = Duration::from_millis(1);

/// A builder with a clock of its own.
fn timed() -> (CacheBuilder, ManualClock) {
    let clock = ManualClock::new();
    (Cache::builder("test").clock(clock.clone()), clock)
}

#[cached(ttl = 60, key = "number:{id}")]
async fn number(id: u64) -> u64 {
    id
}

#[cached(ttl = 60, key = "slow:{id}")]
async fn slow(id: u64) -> u64 {
    sleep(RUN).await;
    id
}

#[cached(ttl = 60, key = "detached:{id}", detached)]
async fn detached(id: u64) -> u64 {
    sleep(RUN).await;
    id
}

mod settings {
    use super::*;

    /// What the error of a builder names and says.
    fn refused(builder: CacheBuilder) -> (&'static str, String) {
        let error = builder.build().unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` {}", error.setting, error.problem));
        (error.setting, error.problem)
    }

    #[test]
    fn a_service_has_a_name() {
        let (setting, problem) = refused(Cache::builder(""));
        assert_eq!(setting, "service");
        assert!(problem.contains("name the service"), "{problem}");
    }

    #[test]
    fn a_service_is_free_of_what_keys_are_built_with() {
        for name in ["a:b", "a{b", "a}b", "a\nb", "a\u{7f}b"] {
            let (setting, problem) = refused(Cache::builder(name));
            assert_eq!(setting, "service");
            assert!(problem.contains("without `:`, braces and control characters"), "{problem}");
        }
    }

    #[test]
    fn a_capacity_is_above_zero() {
        let (setting, problem) = refused(Cache::builder("test").capacity(0));
        assert_eq!(setting, "capacity");
        assert!(problem.contains("a whole number from 1 to"), "{problem}");
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_capacity_has_an_upper_bound() {
        assert_eq!(refused(Cache::builder("test").capacity(1 << 32)).0, "capacity");
    }

    #[test]
    fn a_bound_of_bytes_is_above_zero() {
        let (setting, problem) = refused(Cache::builder("test").max_bytes(0));
        assert_eq!(setting, "max_bytes");
        assert!(problem.contains("above zero"), "{problem}");
    }

    #[test]
    fn without_redis_a_life_in_memory_is_above_zero() {
        let (setting, problem) = refused(Cache::builder("test").local_ttl(Duration::ZERO));
        assert_eq!(setting, "local_ttl");
        assert!(problem.contains("no Redis") && problem.contains("`enabled(false)`"), "{problem}");
    }

    #[test]
    fn a_lease_is_above_zero() {
        let (setting, problem) = refused(Cache::builder("test").lease(Duration::ZERO));
        assert_eq!(setting, "lease");
        assert!(problem.contains("above zero"), "{problem}");
    }

    #[tokio::test]
    async fn a_cache_is_built_switched_off() {
        let cache = Cache::builder("test").enabled(false).build().unwrap();
        let read = cache.scope(async { number(1).with_source().await }).await;
        assert_eq!(read, (1, Source::Disabled));
    }

    /// Set for the process that the test below starts.
    const CHILD: &str = "LARDER_TEST_CHILD";

    #[tokio::test]
    async fn the_environment_configures_a_cache() {
        if std::env::var_os(CHILD).is_some() {
            let cache = Cache::from_env().unwrap().build().unwrap();
            assert_eq!(format!("{cache:?}"), r#"Cache { service: "shop", enabled: false, .. }"#);
            return;
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "settings::the_environment_configures_a_cache"])
            .envs([(CHILD, "1"), ("LARDER_SERVICE", "shop")])
            .envs([("LARDER_CAPACITY", "7"), ("LARDER_DISABLED", "1")])
            .env_remove("LARDER_URL")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
}

mod scopes {
    use super::*;

    #[cached(ttl = 60, key = "outer:{id}")]
    async fn outer(id: u64) -> u64 {
        number(id).await
    }

    #[cached(ttl = 60, key = "outer_detached:{id}", detached)]
    async fn outer_detached(id: u64) -> u64 {
        number(id).await
    }

    #[cached(ttl = 60, key = "outer_given", skip(given), cache = given)]
    async fn outer_given(given: &Cache) -> u64 {
        number(1).await
    }

    async fn has(cache: &Cache, id: u64) -> bool {
        cache.scope(async { number(id).peek().await }).await.is_some()
    }

    #[tokio::test]
    async fn two_scopes_keep_apart() {
        let (one, other) = (Cache::memory(), Cache::memory());
        one.scope(async { number(1).await }).await;
        assert!(has(&one, 1).await);
        assert!(!has(&other, 1).await);
    }

    #[tokio::test]
    async fn the_inner_of_two_scopes_counts_and_the_outer_comes_back() {
        let (one, other) = (Cache::memory(), Cache::memory());
        let nested = async {
            other.scope(async { number(1).await }).await;
            number(2).await;
        };
        one.scope(nested).await;
        assert!(has(&other, 1).await && !has(&other, 2).await);
        assert!(has(&one, 2).await && !has(&one, 1).await);
    }

    #[tokio::test]
    async fn a_call_made_in_a_scope_keeps_it_on_another_task() {
        let cache = Cache::memory();
        let call = cache.scope(async { number(1) }).await;
        tokio::spawn(call).await.unwrap();
        assert!(has(&cache, 1).await);
    }

    #[tokio::test]
    async fn a_call_made_on_another_task_is_in_no_scope() {
        let cache = Cache::memory();
        cache.scope(async { tokio::spawn(async { number(1).await }).await.unwrap() }).await;
        assert!(!has(&cache, 1).await);
    }

    #[tokio::test]
    async fn a_run_sees_the_scope_that_its_call_was_made_in() {
        let cache = Cache::memory();
        let call = cache.scope(async { outer(1) }).await;
        tokio::spawn(call).await.unwrap();
        assert!(has(&cache, 1).await);
    }

    #[tokio::test]
    async fn a_run_sees_that_scope_inside_of_another() {
        let (made, awaited) = (Cache::memory(), Cache::memory());
        let call = made.scope(async { outer(1) }).await;
        awaited.scope(call).await;
        assert!(has(&made, 1).await && !has(&awaited, 1).await);
    }

    #[tokio::test]
    async fn a_detached_run_sees_the_scope_too() {
        let cache = Cache::memory();
        let call = cache.scope(async { outer_detached(1) }).await;
        call.await;
        assert!(has(&cache, 1).await);
    }

    #[tokio::test]
    async fn an_uncached_run_sees_the_scope_too() {
        let cache = Cache::memory();
        let call = cache.scope(async { outer(1).uncached() }).await;
        call.await;
        assert!(has(&cache, 1).await);
    }

    #[tokio::test]
    async fn the_run_in_a_given_cache_sees_the_scope_of_the_task() {
        let (scope, given) = (Cache::memory(), Cache::memory());
        scope.scope(async { outer_given(&given).await }).await;
        assert!(has(&scope, 1).await && !has(&given, 1).await);
    }

    #[tokio::test]
    async fn a_load_sees_the_scope_of_the_task() {
        let (scope, given) = (Cache::memory(), Cache::memory());
        let load = async { Ok::<_, Infallible>(number(1).await) };
        let _ = scope.scope(given.get_or_load("load", Options::ttl(secs(60)), load)).await;
        assert!(has(&scope, 1).await && !has(&given, 1).await);
    }
}

mod switching_off {
    use super::*;

    #[tokio::test]
    async fn every_call_runs_and_nothing_is_stored() {
        let cache = Cache::memory();
        cache.set_enabled(false);
        cache
            .scope(async {
                assert_eq!(number(1).with_source().await, (1, Source::Disabled));
                assert_eq!(number(1).refresh().await, 1);
                number(1).put(5).await.unwrap();
            })
            .await;
        cache.set_enabled(true);
        assert_eq!(cache.scope(async { number(1).peek().await }).await, None);
    }

    #[tokio::test]
    async fn nothing_is_read() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(1).await;
                cache.set_enabled(false);
                assert_eq!(number(1).peek().await, None);
                assert_eq!(number(1).expires_in().await, None);
                assert_eq!(number(1).with_source().await.1, Source::Disabled);
            })
            .await;
    }

    #[tokio::test]
    async fn what_is_still_valid_is_served_again() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(1).await;
                cache.set_enabled(false);
                number(1).await;
                cache.set_enabled(true);
                assert_eq!(number(1).peek().await, Some(1));
            })
            .await;
    }

    #[tokio::test]
    async fn invalidations_still_take_effect() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(1).await;
                number(2).await;
                number(3).await;
                cache.set_enabled(false);
                number(1).invalidate().await.unwrap();
                cache.invalidate("number:2").await.unwrap();
                number(3).put(9).await.unwrap();
                cache.set_enabled(true);
                for id in 1..=3 {
                    assert_eq!(number(id).peek().await, None);
                }
            })
            .await;
    }
}

mod removals {
    use super::*;

    #[tokio::test]
    async fn a_text_names_the_entry_of_a_call() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(42).await;
                cache.invalidate("number:42").await.unwrap();
                assert_eq!(number(42).peek().await, None);
            })
            .await;
    }

    #[tokio::test]
    async fn a_clear_drops_all() {
        let cache = Cache::memory();
        cache
            .scope(async {
                for id in 0..100 {
                    number(id).await;
                }
                cache.clear().await.unwrap();
                for id in 0..100 {
                    assert_eq!(number(id).peek().await, None);
                }
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_clear_a_run_under_way_stores_nothing() {
        let cache = Cache::memory();
        let call = tokio::spawn(cache.scope(async { slow(1).await }));
        sleep(RUN / 2).await;
        cache.clear().await.unwrap();
        assert_eq!(call.await.unwrap(), 1);
        assert_eq!(cache.scope(async { slow(1).peek().await }).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_clear_nobody_joins_a_run_under_way() {
        let cache = Cache::memory();
        let before = tokio::spawn(cache.scope(async { slow(1).await }));
        sleep(RUN / 2).await;
        cache.clear().await.unwrap();
        let after = cache.scope(async { slow(1).with_source().await }).await;
        assert_eq!(after, (1, Source::Function));
        before.await.unwrap();
        assert_eq!(cache.scope(async { slow(1).peek().await }).await, Some(1));
    }
}

mod shutdowns {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_detached_runs() {
        let cache = Cache::memory();
        let caller = tokio::spawn(cache.scope(async { detached(1).await }));
        sleep(RUN / 2).await;
        caller.abort();
        cache.shutdown().await.unwrap();
        assert_eq!(cache.scope(async { detached(1).peek().await }).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_that_nothing_runs_for_is_immediate() {
        let cache = Cache::memory();
        cache.shutdown().await.unwrap();
        cache.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_shutdown_a_run_ends_with_its_caller() {
        let cache = Cache::memory();
        cache.shutdown().await.unwrap();
        let caller = tokio::spawn(cache.scope(async { detached(1).await }));
        sleep(RUN / 2).await;
        caller.abort();
        sleep(RUN).await;
        assert_eq!(cache.scope(async { detached(1).peek().await }).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_shutdown_the_cache_goes_on_answering() {
        let cache = Cache::memory();
        cache.shutdown().await.unwrap();
        cache
            .scope(async {
                assert_eq!(detached(1).await, 1);
                assert_eq!(detached(1).peek().await, Some(1));
            })
            .await;
    }
}

mod bounds {
    use super::*;

    #[cached(ttl = 60, key = "text:{id}", skip(length))]
    async fn text(id: u64, length: usize) -> String {
        "a".repeat(length)
    }

    #[cached(ttl = 60, key = "flood:{id}")]
    async fn flood(id: u64) -> u64 {
        id
    }

    /// How many of so many entries are in memory.
    async fn kept(count: u64) -> u64 {
        let mut kept = 0;
        for id in 0..count {
            kept += u64::from(number(id).peek().await.is_some());
        }
        kept
    }

    #[tokio::test]
    async fn no_more_entries_are_kept_than_the_capacity() {
        let cache = Cache::builder("test").capacity(100).build().unwrap();
        cache
            .scope(async {
                for id in 0..1_000 {
                    number(id).await;
                }
                let kept = kept(1_000).await;
                assert!((50..=100).contains(&kept), "{kept}");
                let evictions = cache.stats().function("number").unwrap().evictions;
                assert_eq!(evictions + kept, 1_000);
            })
            .await;
    }

    #[tokio::test]
    async fn an_eviction_counts_for_the_function_that_stored_the_entry() {
        let cache = Cache::builder("test").capacity(100).build().unwrap();
        cache
            .scope(async {
                for id in 0..50 {
                    number(id).await;
                }
                for id in 0..10_000 {
                    flood(id).await;
                }
                let kept = kept(50).await;
                assert_eq!(cache.stats().function("number").unwrap().evictions, 50 - kept);
            })
            .await;
    }

    #[tokio::test]
    async fn what_is_replaced_is_not_evicted() {
        let cache = Cache::builder("test").capacity(100).build().unwrap();
        cache
            .scope(async {
                for _ in 0..1_000 {
                    number(1).refresh().await;
                }
                assert_eq!(cache.stats().function("number").unwrap().evictions, 0);
            })
            .await;
    }

    #[tokio::test]
    async fn no_more_bytes_are_kept_than_allowed() {
        let cache = Cache::builder("test").max_bytes(100_000).build().unwrap();
        cache
            .scope(async {
                let mut kept = 0;
                for id in 0..1_000 {
                    text(id, 1_000).await;
                }
                for id in 0..1_000 {
                    kept += usize::from(text(id, 0).peek().await.is_some());
                }
                assert!((40..=100).contains(&kept), "{kept}");
            })
            .await;
    }

    #[tokio::test]
    async fn no_more_entries_are_kept_than_the_capacity_where_bytes_are_bound_too() {
        let cache = Cache::builder("test").capacity(100).max_bytes(1 << 30).build().unwrap();
        cache
            .scope(async {
                for id in 0..1_000 {
                    number(id).await;
                }
                assert!(kept(1_000).await <= 100);
            })
            .await;
    }

    #[tokio::test]
    async fn an_entry_that_is_too_large_is_returned_and_not_kept() {
        let cache = Cache::builder("test").max_bytes(10_000).build().unwrap();
        cache
            .scope(async {
                text(2, 100).await;
                assert_eq!(text(1, 20_000).await.len(), 20_000);
                assert_eq!(text(1, 0).peek().await, None);
                assert!(text(2, 0).peek().await.is_some());
            })
            .await;
    }
}

mod lives {
    use super::*;

    #[cached(ttl = 60, jitter = 10, key = "jittered:{id}")]
    async fn jittered(id: u64) -> u64 {
        id
    }

    #[cached(ttl = 60, local = "5s", key = "local:{id}")]
    async fn local(id: u64) -> u64 {
        id
    }

    #[cached(ttl = 60, local = false, key = "nowhere:{id}")]
    async fn nowhere(id: u64) -> u64 {
        id
    }

    #[tokio::test]
    async fn an_entry_is_alive_until_its_ttl_and_not_at_it() {
        let (builder, clock) = timed();
        let lives = async {
            number(1).await;
            clock.advance(just_before(60));
            assert_eq!(number(1).expires_in().await, Some(NANO));
            assert_eq!(number(1).peek().await, Some(1));
            clock.advance(NANO);
            assert_eq!(number(1).peek().await, None);
            assert_eq!(number(1).with_source().await.1, Source::Function);
        };
        builder.build().unwrap().scope(lives).await;
    }

    /// A hit that goes by the kernel's clock is found on a way of its own.
    #[tokio::test]
    async fn a_life_ends_by_the_clock_of_the_kernel() {
        static RUNS: AtomicU32 = AtomicU32::new(0);

        #[cached(ttl = "500ms", key = "brief:{id}")]
        async fn brief(id: u32) -> u32 {
            id + RUNS.fetch_add(1, SeqCst)
        }

        let lives = async {
            assert_eq!((brief(7).await, brief(7).await), (7, 7));
            std::thread::sleep(Duration::from_millis(600));
            assert_eq!(brief(7).await, 8);
        };
        Cache::memory().scope(lives).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_begins_when_the_run_ends_and_an_age_when_it_begins() {
        #[cached(ttl = 60, key = "long", skip(clock))]
        async fn long(clock: &ManualClock) -> u32 {
            clock.advance(secs(50));
            7
        }

        let (builder, clock) = timed();
        let lives = async {
            long(&clock).await;
            assert_eq!(long(&clock).expires_in().await, Some(secs(60)));
            let source = long(&clock).with_source().await.1;
            assert_eq!(source, Source::Memory { age: secs(50) });
        };
        builder.build().unwrap().scope(lives).await;
    }

    /// The life of an entry whose jitter is drawn as this.
    async fn life(drawn: u64) -> Duration {
        let (builder, _clock) = timed();
        let cache = builder.random(move || drawn).build().unwrap();
        let told = async {
            jittered(1).await;
            jittered(1).expires_in().await
        };
        cache.scope(told).await.unwrap()
    }

    #[tokio::test]
    async fn jitter_adds_from_nothing_to_all_of_it() {
        assert_eq!(life(0).await, secs(60));
        assert_eq!(life(1 << 63).await, secs(65));
        assert_eq!(life(u64::MAX).await, secs(70));
    }

    #[tokio::test]
    async fn an_entry_with_jitter_is_alive_until_the_end_of_it_and_not_at_it() {
        let (builder, clock) = timed();
        let lives = async {
            jittered(1).await;
            clock.advance(just_before(70));
            assert_eq!(jittered(1).peek().await, Some(1));
            clock.advance(NANO);
            assert_eq!(jittered(1).peek().await, None);
        };
        builder.random(|| u64::MAX).build().unwrap().scope(lives).await;
    }

    #[tokio::test]
    async fn a_life_in_memory_ends_before_the_ttl() {
        let (builder, clock) = timed();
        let lives = async {
            local(1).await;
            clock.advance(just_before(5));
            assert_eq!(local(1).peek().await, Some(1));
            clock.advance(NANO);
            assert_eq!(local(1).peek().await, None);
        };
        builder.build().unwrap().scope(lives).await;
    }

    #[tokio::test]
    async fn a_cache_bounds_every_life_in_memory() {
        let (builder, clock) = timed();
        let lives = async {
            number(1).await;
            local(1).await;
            assert_eq!(number(1).expires_in().await, Some(secs(30)));
            assert_eq!(local(1).expires_in().await, Some(secs(5)));
            clock.advance(secs(30));
            assert_eq!(number(1).peek().await, None);
        };
        builder.local_ttl(secs(30)).build().unwrap().scope(lives).await;
    }

    #[tokio::test]
    async fn what_is_kept_out_of_memory_runs_each_time() {
        let cache = Cache::memory();
        cache
            .scope(async {
                nowhere(1).await;
                nowhere(1).put(5).await.unwrap();
                assert_eq!(nowhere(1).with_source().await, (1, Source::Function));
            })
            .await;
    }
}

mod counters {
    use super::*;

    #[cached(ttl = 60, key = "failing:{id}")]
    async fn failing(id: u64) -> Result<u64, u64> {
        Err(id)
    }

    #[cached(ttl = 60, key = "timed", skip(clock))]
    async fn timed_run(clock: &ManualClock) -> u32 {
        clock.advance(secs(3));
        7
    }

    #[tokio::test]
    async fn hits_misses_and_runs_are_counted() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(1).await;
                number(1).await;
                number(1).await;
                number(2).await;
            })
            .await;
        let stats = cache.stats();
        let row = stats.function("number").unwrap();
        assert_eq!((row.cache_hits_memory, row.cache_misses, row.runs), (2, 2, 2));
        assert!((row.hit_rate() - 0.5).abs() < f64::EPSILON);
    }

    #[tokio::test]
    async fn a_peek_counts_as_nothing() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(1).await;
                number(1).peek().await;
                number(2).peek().await;
            })
            .await;
        let stats = cache.stats();
        let row = stats.function("number").unwrap();
        assert_eq!((row.cache_hits_memory, row.cache_misses), (0, 1));
    }

    #[tokio::test]
    async fn errors_are_counted() {
        let cache = Cache::memory();
        cache.scope(async { failing(1).await }).await.unwrap_err();
        let stats = cache.stats();
        let row = stats.function("failing").unwrap();
        assert_eq!((row.errors, row.runs), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn runs_and_waiters_of_the_moment_are_counted() {
        let cache = Cache::memory();
        let calls: Vec<_> =
            (0..4).map(|_| tokio::spawn(cache.scope(async { slow(1).await }))).collect();
        sleep(MOMENT).await;
        let of_the_moment = || {
            let stats = cache.stats();
            let row = stats.function("slow").unwrap();
            (row.inflight_requests, row.waiters)
        };
        assert_eq!(of_the_moment(), (1, 3));
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(of_the_moment(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_run_is_under_way_no_more() {
        let cache = Cache::memory();
        let call = tokio::spawn(cache.scope(async { slow(1).await }));
        sleep(MOMENT).await;
        call.abort();
        sleep(MOMENT).await;
        assert_eq!(cache.stats().function("slow").unwrap().inflight_requests, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_invalidation_keeps_from_being_stored_is_counted() {
        let cache = Cache::memory();
        let call = tokio::spawn(cache.scope(async { slow(1).await }));
        sleep(RUN / 2).await;
        cache.invalidate("slow:1").await.unwrap();
        call.await.unwrap();
        assert_eq!(cache.stats().function("slow").unwrap().fills_refused, 1);
    }

    #[tokio::test]
    async fn the_time_of_runs_adds_up() {
        let (builder, clock) = timed();
        let cache = builder.build().unwrap();
        cache
            .scope(async {
                timed_run(&clock).await;
                timed_run(&clock).refresh().await;
            })
            .await;
        assert_eq!(cache.stats().function("timed_run").unwrap().run_time, secs(6));
    }

    #[tokio::test]
    async fn a_function_is_found_by_the_end_of_its_path() {
        let cache = Cache::memory();
        cache.scope(async { failing(1).await }).await.unwrap_err();
        let stats = cache.stats();
        assert_eq!(stats.function("failing").unwrap().function, "cache::counters::failing");
        assert!(stats.function("counters::failing").is_some());
        assert!(stats.function("cache::counters::failing").is_some());
        assert!(stats.function("ailing").is_none());
        assert!(stats.function("number").is_none());
    }

    #[tokio::test]
    async fn two_caches_count_apart() {
        let (one, other) = (Cache::memory(), Cache::memory());
        one.scope(async { number(1).await }).await;
        assert!(other.stats().function("number").is_none());
    }

    #[tokio::test]
    async fn stats_are_a_table_with_a_header_and_a_row_per_function() {
        let cache = Cache::memory();
        cache
            .scope(async {
                number(1).await;
                number(1).await;
                failing(1).await.unwrap_err();
            })
            .await;
        let table = cache.stats().to_string();
        let lines: Vec<Vec<_>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert_eq!(lines[0][..3], ["function", "memory", "redis"]);
        assert_eq!(lines[1][..5], ["cache::counters::failing", "0", "0", "1", "0.0"]);
        assert_eq!(lines[2][..5], ["cache::number", "1", "0", "1", "50.0"]);
        let widths: Vec<_> = table.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}

/// A value that calls the cache when it is dropped. A lock that is held meanwhile would never be
/// released.
mod drops {
    use super::*;

    #[derive(Clone)]
    struct Calling(#[allow(dead_code)] Arc<OnDrop>);

    struct OnDrop {
        cache: Cache,
        id: u64,
        dropped: Arc<AtomicU32>,
    }

    impl Drop for OnDrop {
        fn drop(&mut self) {
            let (cache, id) = (self.cache.clone(), self.id);
            let calls = cache.scope(async {
                number(id).put(id).await.unwrap();
                number(id + 1).invalidate().await.unwrap();
                // The shard and the slot of its own key.
                cache.invalidate(&format!("calling:{id}")).await.unwrap();
                let _ = cache.stats();
            });
            // In memory nothing waits.
            assert!(pin!(calls).poll(&mut Context::from_waker(Waker::noop())).is_ready());
            self.dropped.fetch_add(1, SeqCst);
        }
    }

    #[cached(ttl = 60, remote = false, key = "calling:{id}", skip(dropped))]
    async fn calling(id: u64, dropped: &Arc<AtomicU32>) -> Calling {
        let (cache, dropped) = (Cache::current(), Arc::clone(dropped));
        Calling(Arc::new(OnDrop { cache, id, dropped }))
    }

    #[tokio::test]
    async fn an_evicted_value_may_call_the_cache() {
        let dropped = Arc::default();
        let cache = Cache::builder("test").capacity(10).build().unwrap();
        let calls = async {
            for id in 0..1_000 {
                calling(id, &dropped).await;
            }
        };
        cache.scope(calls).await;
        assert!(dropped.load(SeqCst) > 900);
    }

    #[tokio::test]
    async fn an_invalidated_value_may_call_the_cache() {
        let dropped = Arc::default();
        let calls = async {
            calling(1, &dropped).await;
            calling(1, &dropped).invalidate().await.unwrap();
        };
        Cache::memory().scope(calls).await;
        assert_eq!(dropped.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_cleared_value_may_call_the_cache() {
        let dropped = Arc::default();
        let cache = Cache::memory();
        let calls = async {
            for id in 0..100 {
                calling(id, &dropped).await;
            }
            cache.clear().await.unwrap();
        };
        cache.scope(calls).await;
        assert_eq!(dropped.load(SeqCst), 100);
    }

    #[tokio::test]
    async fn a_replaced_value_may_call_the_cache() {
        let dropped = Arc::default();
        let calls = async {
            calling(1, &dropped).await;
            calling(1, &dropped).refresh().await;
        };
        Cache::memory().scope(calls).await;
        assert_eq!(dropped.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_value_that_a_put_replaces_may_call_the_cache() {
        let dropped = Arc::default();
        let calls = async {
            let value = calling(1, &dropped).await;
            let other = calling(2, &dropped).uncached().await;
            drop(value);
            calling(1, &dropped).put(other).await.unwrap();
        };
        Cache::memory().scope(calls).await;
        assert_eq!(dropped.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn an_expired_value_may_call_the_cache() {
        let dropped = Arc::default();
        let (builder, clock) = timed();
        let calls = async {
            calling(1, &dropped).await;
            clock.advance(secs(60));
            calling(1, &dropped).await;
        };
        builder.build().unwrap().scope(calls).await;
        // The first invalidates the key of the second, which then is not kept.
        assert_eq!(dropped.load(SeqCst), 2);
    }
}

mod loads {
    use super::*;

    const A_MINUTE: Options = Options::ttl(secs(60));

    /// A load that counts itself.
    async fn counted(runs: &AtomicU32) -> Result<u32, u32> {
        let run = runs.fetch_add(1, SeqCst) + 1;
        sleep(RUN).await;
        Ok(run)
    }

    #[tokio::test(start_paused = true)]
    async fn one_load_is_made_for_many_callers() {
        let (cache, runs) = (Cache::memory(), AtomicU32::new(0));
        let (one, other, third) = tokio::join!(
            cache.get_or_load("a", A_MINUTE, counted(&runs)),
            cache.get_or_load("a", A_MINUTE, counted(&runs)),
            cache.get_or_load("a", A_MINUTE, counted(&runs)),
        );
        assert_eq!((one, other, third), (Ok(1), Ok(1), Ok(1)));
        assert_eq!(cache.get_or_load("a", A_MINUTE, counted(&runs)).await, Ok(1));
        assert_eq!(runs.load(SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_neither_shared_nor_stored() {
        let (cache, runs) = (Cache::memory(), AtomicU32::new(0));
        let failing = || async {
            let run = runs.fetch_add(1, SeqCst) + 1;
            sleep(RUN).await;
            Err::<u32, _>(run)
        };
        let (one, other) = tokio::join!(
            cache.get_or_load("a", A_MINUTE, failing()),
            cache.get_or_load("a", A_MINUTE, failing()),
        );
        assert_eq!((one, other), (Err(1), Err(2)));
        assert_eq!(cache.get_or_load("a", A_MINUTE, failing()).await, Err(3));
    }

    async fn none(runs: &AtomicU32) -> Result<Option<u32>, Infallible> {
        runs.fetch_add(1, SeqCst);
        Ok(None)
    }

    #[tokio::test]
    async fn a_none_is_not_stored() {
        let (cache, runs) = (Cache::memory(), AtomicU32::new(0));
        for _ in 0..2 {
            assert_eq!(cache.get_or_load("a", A_MINUTE, none(&runs)).await, Ok(None));
        }
        assert_eq!(runs.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn a_none_is_stored_for_its_own_time() {
        let (builder, clock) = timed();
        let (cache, runs) = (builder.build().unwrap(), AtomicU32::new(0));
        let options = A_MINUTE.none_ttl(secs(5));
        for _ in 0..2 {
            assert_eq!(cache.get_or_load("a", options, none(&runs)).await, Ok(None));
        }
        assert_eq!(runs.load(SeqCst), 1);
        clock.advance(secs(5));
        cache.get_or_load("a", options, none(&runs)).await.unwrap();
        assert_eq!(runs.load(SeqCst), 2);
    }

    async fn ok<T>(value: T) -> Result<T, Infallible> {
        Ok(value)
    }

    #[tokio::test]
    async fn another_version_is_another_entry() {
        let cache = Cache::memory();
        cache.get_or_load("a", A_MINUTE, ok(1)).await.unwrap();
        assert_eq!(cache.get_or_load("a", A_MINUTE.version(1), ok(2)).await, Ok(2));
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok(3)).await, Ok(1));
    }

    #[tokio::test]
    async fn another_type_is_another_entry() {
        let cache = Cache::memory();
        cache.get_or_load("a", A_MINUTE, ok(1_u32)).await.unwrap();
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok("b".to_owned())).await, Ok("b".to_owned()));
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok(3_u32)).await, Ok(1));
    }

    #[tokio::test]
    async fn an_invalidation_reaches_every_type_and_version() {
        let cache = Cache::memory();
        cache.get_or_load("a", A_MINUTE, ok(1_u32)).await.unwrap();
        cache.get_or_load("a", A_MINUTE.version(1), ok(1_u32)).await.unwrap();
        cache.get_or_load("a", A_MINUTE, ok("b".to_owned())).await.unwrap();
        cache.invalidate("a").await.unwrap();
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok(2_u32)).await, Ok(2));
        assert_eq!(cache.get_or_load("a", A_MINUTE.version(1), ok(3_u32)).await, Ok(3));
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok("c".to_owned())).await, Ok("c".to_owned()));
    }

    #[tokio::test]
    async fn a_life_ends_at_its_ttl() {
        let (builder, clock) = timed();
        let cache = builder.build().unwrap();
        cache.get_or_load("a", A_MINUTE, ok(1)).await.unwrap();
        clock.advance(just_before(60));
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok(2)).await, Ok(1));
        clock.advance(NANO);
        assert_eq!(cache.get_or_load("a", A_MINUTE, ok(3)).await, Ok(3));
    }

    #[tokio::test]
    async fn a_life_in_memory_ends_before_the_ttl() {
        let (builder, clock) = timed();
        let cache = builder.build().unwrap();
        let options = A_MINUTE.local(secs(5));
        cache.get_or_load("a", options, ok(1)).await.unwrap();
        clock.advance(secs(5));
        assert_eq!(cache.get_or_load("a", options, ok(2)).await, Ok(2));
    }
}

mod secrets {
    use super::*;

    #[cached(ttl = 60, key = "secret:{id}")]
    async fn secret(id: u64) -> String {
        format!("hunter{id}")
    }

    #[tokio::test]
    async fn nothing_that_is_debugged_prints_a_value() {
        let cache = Cache::memory();
        cache
            .scope(async {
                secret(2).await;
                let (call, builder) = (secret(2), Cache::builder("test"));
                let mut printed = format!("{cache:?} {builder:?} {:?} {call:?}", cache.stats());
                write!(printed, " {:?}", call.into_entry()).unwrap();
                assert!(printed.contains("secret:2") && !printed.contains("hunter"), "{printed}");
            })
            .await;
    }
}

mod sending {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Never run: that it compiles is the test.
    #[allow(dead_code)]
    fn every_future_of_the_cache_can_be_sent(cache: &Cache) {
        is_send(&cache.scope(async { number(1).await }));
        is_send(&cache.invalidate("a"));
        is_send(&cache.clear());
        is_send(&cache.shutdown());
        let load = async { Ok::<_, Infallible>(1) };
        is_send(&cache.get_or_load("a", Options::ttl(secs(1)), load));
    }

    /// Never run: that it compiles is the test.
    #[allow(dead_code)]
    fn a_call_and_its_verbs_can_be_sent_where_its_future_can() {
        is_send(&number(1));
        is_send(&number(1).peek());
        is_send(&number(1).refresh());
        is_send(&number(1).uncached());
        is_send(&number(1).invalidate());
        is_send(&number(1).put(1));
        is_send(&number(1).expires_in());
        is_send(&number(1).with_source());
        is_send(&detached(1));
        let entry = number(1).into_entry();
        is_send(&entry);
        is_send(&entry.invalidate());
        is_send(&entry.put(1));
    }
}
