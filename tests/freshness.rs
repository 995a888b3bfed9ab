//! Values that are old, or about to be: what a caller gets in the memory of one process. What all callers
//! get, by the state of the entry, is in `freshness_table.rs`.

#![allow(clippy::async_yields_async)]

mod common;

#[path = "freshness/chance.rs"]
mod chance;
#[path = "freshness/early.rs"]
mod early;
#[path = "freshness/fleet.rs"]
mod fleet;
#[path = "freshness/outage.rs"]
mod outage;
#[cfg(feature = "tracing")]
#[path = "freshness/spans.rs"]
mod spans;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{
    origin::{Act, Origin, RUN, SLOW},
    time::Virtual,
};
use larder::{Cache, CacheBuilder, ManualClock, Options, Source, cached};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

/// For whatever needs no time to happen.
const MOMENT: Duration = Duration::from_millis(1);

/// From a load on, until its value is one that is served while it is refreshed, where that is said; else one
/// for errors alone.
const STALE: Duration = Duration::from_secs(65);

/// How long nobody tries again after an error: a lease.
const THROTTLE: Duration = Duration::from_secs(10);

fn cache() -> CacheBuilder {
    Cache::builder("test").clock(Virtual::new())
}

#[cached(ttl = 60, stale = 30, key = "owned:{id}", skip(origin))]
async fn owned(origin: Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, stale = 30, key = "borrowed:{id}", skip(origin))]
async fn borrowed(origin: &Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, stale_if_error = 600, key = "safe:{id}", skip(origin))]
async fn safe(origin: Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

/// Half of a run at most.
#[cached(ttl = 60, stale = 30, max_wait = "500ms", key = "patient:{id}", skip(origin))]
async fn patient(origin: Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

#[cached(ttl = 60, stale_if_error = 600, max_wait = "500ms", key = "bounded:{id}", skip(origin))]
async fn bounded(origin: Origin, id: u64) -> Result<u32, u32> {
    origin.run().await
}

/// How long it takes.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let output = future.await;
    (output, began.elapsed())
}

fn is_stale(source: Source) -> bool {
    matches!(source, Source::Stale { .. })
}

fn is_memory(source: Source) -> bool {
    matches!(source, Source::Memory { .. })
}

/// A call on a task of its own, which has got to where it waits.
async fn started<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let call = tokio::spawn(Cache::current().scope(call));
    sleep(MOMENT).await;
    call
}

mod while_it_is_refreshed {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stale_value_is_served_at_once_and_refreshed_without_its_caller() {
        let origin = Origin::default();
        let calls = async {
            assert_eq!(owned(origin.clone(), 1).await, Ok(1));
            sleep(STALE).await;
            let ((output, source), took) = timed(owned(origin.clone(), 1).with_source()).await;
            assert_eq!((output, took), (Ok(1), Duration::ZERO));
            assert_eq!(source, Source::Stale { age: RUN + STALE });
            // Others get it too, and nobody runs the function again.
            assert_eq!(owned(origin.clone(), 1).await, Ok(1));
            sleep(2 * RUN).await;
            assert_eq!(origin.runs(), 2);
            let (output, source) = owned(origin.clone(), 1).with_source().await;
            assert_eq!(output, Ok(2));
            assert!(is_memory(source), "{source:?}");
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_refreshes_with_borrowed_arguments_waits_and_others_do_not() {
        let origin = Origin::default();
        let calls = async {
            assert_eq!(borrowed(&origin, 1).await, Ok(1));
            sleep(STALE).await;
            let (elected, other) = tokio::join!(
                timed(borrowed(&origin, 1).with_source()),
                timed(borrowed(&origin, 1).with_source()),
            );
            assert_eq!(elected, ((Ok(2), Source::Function), RUN));
            assert_eq!((other.0.0, other.1), (Ok(1), Duration::ZERO));
            assert!(is_stale(other.0.1));
            assert_eq!(origin.runs(), 2);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_refreshes_with_borrowed_arguments_gets_the_old_value_if_that_fails() {
        for act in [Act::Fail, Act::Panic] {
            let origin = Origin::new(&[Act::Answer, act]);
            let calls = async {
                assert_eq!(borrowed(&origin, 1).await, Ok(1));
                sleep(STALE).await;
                let ((output, source), took) = timed(borrowed(&origin, 1).with_source()).await;
                assert_eq!((output, took), (Ok(1), RUN), "{act:?}");
                assert!(is_stale(source), "{source:?}");
                // And nobody tries again for a while.
                assert_eq!(timed(borrowed(&origin, 1)).await, (Ok(1), Duration::ZERO));
                assert_eq!(origin.runs(), 2);
            };
            cache().build().unwrap().scope(calls).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn past_its_stale_time_a_value_is_not_served() {
        let origin = Origin::default();
        let calls = async {
            assert_eq!(owned(origin.clone(), 1).await, Ok(1));
            sleep(89 * SECOND).await;
            let last = owned(origin.clone(), 1).with_source().await;
            assert!(is_stale(last.1));
            sleep(2 * RUN).await;
            sleep(90 * SECOND).await;
            assert_eq!(timed(owned(origin.clone(), 1)).await, (Ok(3), RUN));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_of_a_cancelled_caller_goes_on() {
        let origin = Origin::default();
        let calls = async {
            patient(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let elected = started(patient(origin.clone(), 1)).await;
            elected.abort();
            sleep(RUN).await;
            assert_eq!(patient(origin.clone(), 1).await, Ok(2));
            assert_eq!(origin.runs(), 2);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_after_a_cancelled_refresh_of_borrowed_arguments_refreshes() {
        let origin = Origin::default();
        let calls = async {
            borrowed(&origin, 1).await.unwrap();
            sleep(STALE).await;
            let elected = {
                let origin = origin.clone();
                started(async move { borrowed(&origin, 1).await }).await
            };
            elected.abort();
            sleep(MOMENT).await;
            let next = timed(borrowed(&origin, 1).with_source()).await;
            assert_eq!(next, ((Ok(3), Source::Function), RUN));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_invalidated_during_a_refresh_is_not_stored_by_it() {
        let origin = Origin::default();
        let calls = async {
            owned(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            assert_eq!(owned(origin.clone(), 1).await, Ok(1));
            sleep(RUN / 2).await;
            owned(origin.clone(), 1).invalidate().await.unwrap();
            // Nobody is served it any more, and nobody waits for the run that is older.
            assert_eq!(timed(owned(origin.clone(), 1)).await, (Ok(3), RUN));
            assert_eq!(owned(origin.clone(), 1).peek().await, Some(Ok(3)));
            assert_eq!(Cache::current().stats().function("owned").unwrap().fills_refused, 1);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_detached_call_with_a_stale_value_does_not_wait_either() {
        #[cached(ttl = 60, stale = 30, detached, key = "detached", skip(origin))]
        async fn detached(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let origin = Origin::default();
        let calls = async {
            let call = started(detached(origin.clone())).await;
            call.abort();
            sleep(RUN).await;
            // The run survived its caller.
            assert_eq!(detached(origin.clone()).await, Ok(1));
            sleep(STALE).await;
            let ((output, source), took) = timed(detached(origin.clone()).with_source()).await;
            assert_eq!((output, took), (Ok(1), Duration::ZERO));
            assert!(is_stale(source), "{source:?}");
            sleep(2 * RUN).await;
            assert_eq!(detached(origin.clone()).await, Ok(2));
            assert_eq!(origin.runs(), 2);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_none_is_a_value() {
        #[cached(ttl = 60, none_ttl = 60, stale = 30, key = "maybe", skip(origin))]
        async fn maybe(origin: Origin) -> Option<u32> {
            origin.run().await.ok()
        }

        let origin = Origin::new(&[Act::Fail, Act::Answer]);
        let calls = async {
            assert_eq!(maybe(origin.clone()).await, None);
            sleep(STALE).await;
            assert_eq!(maybe(origin.clone()).peek().await, Some(None));
            let ((output, source), took) = timed(maybe(origin.clone()).with_source()).await;
            assert_eq!((output, took), (None, Duration::ZERO));
            assert!(is_stale(source), "{source:?}");
            sleep(2 * RUN).await;
            assert_eq!(maybe(origin.clone()).await, Some(2));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_value_with_a_tag_is_served_until_the_tag_is_bumped() {
        #[cached(ttl = 60, stale = 30, key = "tagged", tags("all"), skip(origin))]
        async fn tagged(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let origin = Origin::default();
        let calls = async {
            assert_eq!(tagged(origin.clone()).await, Ok(1));
            sleep(STALE).await;
            assert_eq!(timed(tagged(origin.clone())).await, (Ok(1), Duration::ZERO));
            sleep(RUN / 2).await;
            Cache::current().invalidate_tag("all").await.unwrap();
            assert_eq!(timed(tagged(origin.clone())).await, (Ok(3), RUN));
            sleep(RUN).await;
            // What the refresh from before the bump returned is not kept.
            assert_eq!(tagged(origin.clone()).peek().await, Some(Ok(3)));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_whose_result_is_not_stored_removes_the_old_value() {
        #[cached(ttl = 60, stale = 30, key = "odd", skip(origin), cache_if = |run| run % 2 == 1)]
        async fn odd(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        #[cached(ttl = 60, stale = 30, key = "some", skip(origin))]
        async fn some(origin: Origin) -> Option<u32> {
            origin.run().await.ok()
        }

        let (origin, ending) = (Origin::default(), Origin::new(&[Act::Answer, Act::Fail]));
        let calls = async {
            assert_eq!((odd(origin.clone()).await, some(ending.clone()).await), (Ok(1), Some(1)));
            sleep(STALE).await;
            assert_eq!((odd(origin.clone()).await, some(ending.clone()).await), (Ok(1), Some(1)));
            sleep(2 * RUN).await;
            assert_eq!(odd(origin.clone()).peek().await, None);
            assert_eq!(some(ending.clone()).peek().await, None);
            assert_eq!(timed(some(ending.clone())).await, (None, RUN));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_peek_sees_what_a_call_would_be_served_at_once() {
        let origin = Origin::default();
        let calls = async {
            owned(origin.clone(), 1).await.unwrap();
            safe(origin.clone(), 1).await.unwrap();
            let left = owned(origin.clone(), 1).expires_in().await;
            assert_eq!(left, Some(59 * SECOND));
            sleep(STALE).await;
            assert_eq!(owned(origin.clone(), 1).peek().await, Some(Ok(1)));
            assert_eq!(owned(origin.clone(), 1).expires_in().await, Some(Duration::ZERO));
            // A call would wait for a run, and get this only if that fails.
            assert_eq!(safe(origin.clone(), 1).peek().await, None);
            assert_eq!(safe(origin.clone(), 1).expires_in().await, None);
            sleep(30 * SECOND).await;
            assert_eq!(owned(origin.clone(), 1).peek().await, None);
            assert_eq!(owned(origin.clone(), 1).expires_in().await, None);
            // A peek runs nothing.
            assert_eq!(origin.runs(), 2);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_without_an_attribute_waits_for_its_refresh_and_others_do_not() {
        let origin = Origin::new(&[Act::Answer, Act::Answer, Act::Fail]);
        let cache = cache().build().unwrap();
        let options = Options::ttl(60 * SECOND).stale(30 * SECOND);
        let load = || timed(cache.get_or_load("key", options, origin.run()));
        load().await.0.unwrap();
        sleep(STALE).await;
        let (elected, other) = tokio::join!(load(), load());
        assert_eq!((elected, other), ((Ok(2), RUN), (Ok(1), Duration::ZERO)));
        sleep(STALE).await;
        assert_eq!(load().await, (Ok(2), RUN));
        assert_eq!(origin.runs(), 3);
    }
}

mod after_an_error {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_old_value_is_served_and_nobody_tries_again_for_a_while() {
        let origin = Origin::new(&[Act::Answer, Act::Fail, Act::Fail, Act::Answer]);
        let calls = async {
            assert_eq!(safe(origin.clone(), 1).await, Ok(1));
            sleep(STALE).await;
            let ((output, source), took) = timed(safe(origin.clone(), 1).with_source()).await;
            assert_eq!((output, took), (Ok(1), RUN));
            assert!(is_stale(source), "{source:?}");
            for _ in 0..9 {
                sleep(SECOND).await;
                let (output, took) = timed(safe(origin.clone(), 1)).await;
                assert_eq!((output, took), (Ok(1), Duration::ZERO));
            }
            assert_eq!(origin.runs(), 2);
            sleep(SECOND).await;
            assert_eq!(timed(safe(origin.clone(), 1)).await, (Ok(1), RUN));
            assert_eq!(origin.runs(), 3);
            // The first try after that finds the origin again.
            sleep(THROTTLE).await;
            let recovered = timed(safe(origin.clone(), 1).with_source()).await;
            assert_eq!(recovered, ((Ok(4), Source::Function), RUN));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_is_no_longer_than_a_value_lives() {
        #[cached(ttl = 2, stale_if_error = 600, key = "short", skip(origin))]
        async fn short(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        #[cached(
            ttl = |_| Duration::from_secs(2),
            stale_if_error = 600,
            key = "by_value",
            skip(origin)
        )]
        async fn by_value(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let (one, other) = [&[Act::Answer, Act::Fail]; 2].map(|acts| Origin::new(acts)).into();
        let calls = async {
            short(one.clone()).await.unwrap();
            by_value(other.clone()).await.unwrap();
            sleep(STALE).await;
            assert_eq!(tokio::join!(short(one.clone()), by_value(other.clone())), (Ok(1), Ok(1)));
            sleep(2 * SECOND).await;
            assert_eq!(timed(short(one.clone())).await, (Ok(1), RUN));
            // Where only each value says how long it lives, it is a lease.
            sleep(6 * SECOND).await;
            assert_eq!(timed(by_value(other.clone())).await, (Ok(1), Duration::ZERO));
            sleep(SECOND).await;
            assert_eq!(timed(by_value(other.clone())).await, (Ok(1), RUN));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_panic_the_old_value_is_served() {
        let origin = Origin::new(&[Act::Answer, Act::Panic]);
        let calls = async {
            assert_eq!(safe(origin.clone(), 1).await, Ok(1));
            sleep(STALE).await;
            let (output, source) = safe(origin.clone(), 1).with_source().await;
            assert_eq!(output, Ok(1));
            assert!(is_stale(source), "{source:?}");
            assert_eq!(timed(safe(origin.clone(), 1)).await, (Ok(1), Duration::ZERO));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn past_that_time_the_error_is_returned() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            assert_eq!(safe(origin.clone(), 1).await, Ok(1));
            // In time when it begins, and not when it fails.
            sleep(659 * SECOND + RUN / 2).await;
            assert_eq!(safe(origin.clone(), 1).await, Err(2));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn while_nobody_tries_again_a_peek_sees_the_old_value() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            safe(origin.clone(), 1).await.unwrap();
            assert_eq!(safe(origin.clone(), 1).peek().await, Some(Ok(1)));
            assert_eq!(safe(origin.clone(), 1).expires_in().await, Some(Duration::ZERO));
            sleep(THROTTLE).await;
            assert_eq!(safe(origin.clone(), 1).peek().await, None);
        };
        cache().build().unwrap().scope(calls).await;
    }

    // Trace 19, without a fleet.
    #[tokio::test(start_paused = true)]
    async fn what_was_invalidated_meanwhile_is_not_served_after_an_error() {
        for act in [Act::Fail, Act::Panic] {
            let origin = Origin::new(&[Act::Answer, act]);
            let calls = async {
                safe(origin.clone(), 1).await.unwrap();
                sleep(STALE).await;
                let call = started(safe(origin.clone(), 1)).await;
                safe(origin.clone(), 1).invalidate().await.unwrap();
                match call.await {
                    Ok(output) => assert_eq!((output, act), (Err(2), Act::Fail)),
                    Err(error) => assert!(error.is_panic()),
                }
                assert_eq!(safe(origin.clone(), 1).peek().await, None);
            };
            cache().build().unwrap().scope(calls).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_was_put_meanwhile_stays() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let call = started(safe(origin.clone(), 1)).await;
            safe(origin.clone(), 1).put(99).await.unwrap();
            assert_eq!(call.await.unwrap(), Err(2));
            let (output, source) = safe(origin.clone(), 1).with_source().await;
            assert_eq!(output, Ok(99));
            assert!(is_memory(source), "{source:?}");
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_a_tag_that_was_bumped_meanwhile_is_not_served_after_an_error() {
        #[cached(ttl = 60, stale_if_error = 600, key = "tagged", tags("all"), skip(origin))]
        async fn tagged(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            tagged(origin.clone()).await.unwrap();
            sleep(STALE).await;
            assert_eq!(tagged(origin.clone()).await, Ok(1));
            sleep(THROTTLE).await;
            let call = started(tagged(origin.clone())).await;
            Cache::current().invalidate_tag("all").await.unwrap();
            assert_eq!(call.await.unwrap(), Err(3));
            assert_eq!(tagged(origin.clone()).peek().await, None);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_waited_get_the_old_value_however_errors_are_shared() {
        #[derive(Debug, PartialEq)]
        struct Bare(u32);

        #[cached(ttl = 60, stale_if_error = 600, key = "bare", skip(origin))]
        async fn bare(origin: Origin) -> Result<u32, Bare> {
            origin.run().await.map_err(Bare)
        }

        let (shared, unshared) = (Origin::new(&[Act::Answer, Act::Fail]), Origin::default());
        let calls = async {
            safe(shared.clone(), 1).await.unwrap();
            bare(unshared.clone()).await.unwrap();
            unshared.turn(Act::Fail);
            sleep(STALE).await;
            let of_shared = || timed(safe(shared.clone(), 1).with_source());
            for ((output, source), took) in
                <[_; 3]>::from(tokio::join!(of_shared(), of_shared(), of_shared()))
            {
                assert_eq!((output, took), (Ok(1), RUN));
                assert!(is_stale(source), "{source:?}");
            }
            let of_unshared = || timed(bare(unshared.clone()).with_source());
            for ((output, source), took) in
                <[_; 3]>::from(tokio::join!(of_unshared(), of_unshared(), of_unshared()))
            {
                assert_eq!((output, took), (Ok(1), RUN));
                assert!(is_stale(source), "{source:?}");
            }
            assert_eq!((shared.runs(), unshared.runs()), (2, 2));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_leader_leaves_the_old_value_to_who_takes_over() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let leader = started(safe(origin.clone(), 1)).await;
            let follower = started(timed(safe(origin.clone(), 1).with_source())).await;
            sleep(RUN / 2).await;
            leader.abort();
            let ((output, source), took) = follower.await.unwrap();
            assert_eq!(output, Ok(1));
            assert!(is_stale(source), "{source:?}");
            assert!(took <= 3 * RUN / 2 + MOMENT, "{took:?}");
            assert_eq!(origin.runs(), 3);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_detached_run_that_survives_its_caller_leaves_the_old_value_too() {
        #[cached(ttl = 60, stale_if_error = 600, detached, key = "detached", skip(origin))]
        async fn detached(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            detached(origin.clone()).await.unwrap();
            sleep(STALE).await;
            let call = started(detached(origin.clone())).await;
            call.abort();
            sleep(RUN).await;
            assert_eq!(timed(detached(origin.clone())).await, (Ok(1), Duration::ZERO));
            sleep(THROTTLE).await;
            let ((output, source), took) = timed(detached(origin.clone()).with_source()).await;
            assert_eq!((output, took), (Ok(1), RUN));
            assert!(is_stale(source), "{source:?}");
            assert_eq!(origin.runs(), 3);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_cleared_meanwhile_is_not_served_after_an_error() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let call = started(safe(origin.clone(), 1)).await;
            Cache::current().clear().await.unwrap();
            assert_eq!(call.await.unwrap(), Err(2));
            assert_eq!(safe(origin.clone(), 1).peek().await, None);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_without_an_attribute_falls_back_too() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let cache = cache().build().unwrap();
        let options = Options::ttl(60 * SECOND).stale_if_error(600 * SECOND);
        let load = || timed(cache.get_or_load("key", options, origin.run()));
        load().await.0.unwrap();
        sleep(STALE).await;
        assert_eq!(load().await, (Ok(1), RUN));
        assert_eq!(load().await, (Ok(1), Duration::ZERO));
        sleep(600 * SECOND).await;
        assert_eq!(load().await, (Err(3), RUN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_none_is_an_old_value_too() {
        #[cached(ttl = 60, none_ttl = 60, stale_if_error = 600, key = "maybe", skip(origin, found))]
        async fn maybe(origin: Origin, found: bool) -> Result<Option<u32>, u32> {
            origin.run().await.map(|run| found.then_some(run))
        }

        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            assert_eq!(maybe(origin.clone(), false).await, Ok(None));
            sleep(STALE).await;
            let (output, source) = maybe(origin.clone(), true).with_source().await;
            assert_eq!(output, Ok(None));
            assert!(is_stale(source), "{source:?}");
        };
        cache().build().unwrap().scope(calls).await;
    }
}

mod bounded_waits {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_for_a_run_no_longer_than_it_says() {
        let origin = Origin::default();
        let calls = async {
            assert_eq!(bounded(origin.clone(), 1).await, Ok(1));
            assert_eq!(patient(origin.clone(), 1).await, Ok(2));
            sleep(STALE).await;
            for call in 0..2 {
                let ((output, source), took) = match call {
                    0 => timed(bounded(origin.clone(), 1).with_source()).await,
                    _ => timed(patient(origin.clone(), 1).with_source()).await,
                };
                assert_eq!((output, took), (Ok(call + 1), RUN / 2));
                assert!(is_stale(source), "{source:?}");
            }
            sleep(RUN).await;
            // The runs went on.
            assert_eq!(timed(bounded(origin.clone(), 1)).await, (Ok(3), Duration::ZERO));
            assert_eq!(timed(patient(origin.clone(), 1)).await, (Ok(4), Duration::ZERO));
            assert_eq!(origin.runs(), 4);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_later_waits_as_long_from_then_on() {
        let origin = Origin::new(&[Act::Answer, Act::AnswerSlowly]);
        let calls = async {
            bounded(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let first = started(timed(bounded(origin.clone(), 1))).await;
            sleep(RUN / 4).await;
            let second = started(timed(bounded(origin.clone(), 1))).await;
            assert_eq!(first.await.unwrap(), (Ok(1), RUN / 2));
            assert_eq!(second.await.unwrap(), (Ok(1), RUN / 2));
            assert_eq!(origin.runs(), 2);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_ends_in_time_is_waited_for() {
        #[cached(ttl = 60, stale = 30, max_wait = 2, key = "quick", skip(origin))]
        async fn quick(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let origin = Origin::new(&[Act::Answer, Act::Answer, Act::Fail]);
        let calls = async {
            quick(origin.clone()).await.unwrap();
            sleep(STALE).await;
            assert_eq!(timed(quick(origin.clone())).await, (Ok(2), RUN));
            sleep(STALE).await;
            // And so is one that fails.
            let ((output, source), took) = timed(quick(origin.clone()).with_source()).await;
            assert_eq!((output, took), (Ok(2), RUN));
            assert!(is_stale(source), "{source:?}");
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_invalidated_during_the_wait_is_not_served_and_not_stored() {
        let origin = Origin::new(&[Act::Answer, Act::AnswerSlowly]);
        let calls = async {
            bounded(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let elected = started(timed(bounded(origin.clone(), 1))).await;
            let follower = started(timed(bounded(origin.clone(), 1))).await;
            bounded(origin.clone(), 1).invalidate().await.unwrap();
            // Their run began before, and so did they.
            assert_eq!(elected.await.unwrap(), (Ok(2), SLOW));
            let (output, took) = follower.await.unwrap();
            assert_eq!((output, took + MOMENT), (Ok(2), SLOW));
            assert_eq!(bounded(origin.clone(), 1).peek().await, None);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_a_lease_where_there_is_an_old_value() {
        #[cached(ttl = 60, stale_if_error = 600, max_wait = "1h", key = "endless", skip(origin))]
        async fn endless(origin: Origin) -> Result<u32, u32> {
            origin.run().await
        }

        let origin = Origin::new(&[Act::Answer, Act::AnswerSlowly]);
        let calls = async {
            endless(origin.clone()).await.unwrap();
            sleep(STALE).await;
            let elected = started(timed(endless(origin.clone()))).await;
            let follower = started(timed(endless(origin.clone()))).await;
            assert_eq!(elected.await.unwrap(), (Ok(1), 2 * SECOND));
            assert_eq!(follower.await.unwrap(), (Ok(1), 2 * SECOND));
            sleep(SLOW).await;
            assert_eq!(endless(origin.clone()).await, Ok(2));
            assert_eq!(origin.runs(), 2);
        };
        cache().lease(2 * SECOND).build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_outlasts_the_lease_is_the_callers_own_and_stores_nothing_that_is_older() {
        let origin = Origin::new(&[Act::Answer, Act::AnswerSlowly]);
        let calls = async {
            bounded(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let elected = started(timed(bounded(origin.clone(), 1).with_source())).await;
            bounded(origin.clone(), 1).invalidate().await.unwrap();
            // Longer than two leases.
            assert_eq!(elected.await.unwrap(), ((Ok(2), Source::Function), SLOW));
            assert_eq!(bounded(origin.clone(), 1).peek().await, None);
            assert_eq!(origin.runs(), 2);
        };
        cache().lease(2 * SECOND).build().unwrap().scope(calls).await;
    }
}

mod where_nothing_goes_on_without_its_caller {
    use super::*;

    async fn assert_who_refreshes_waits(origin: &Origin) {
        let (elected, other) = tokio::join!(
            timed(owned(origin.clone(), 1).with_source()),
            timed(owned(origin.clone(), 1).with_source()),
        );
        assert_eq!(elected, ((Ok(2), Source::Function), RUN));
        assert_eq!((other.0.0, other.1), (Ok(1), Duration::ZERO));
        assert!(is_stale(other.0.1));
        let stats = Cache::current().stats();
        assert_eq!(stats.function("owned").unwrap().background_runs, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn with_no_background_runs_who_refreshes_waits() {
        let origin = Origin::default();
        let calls = async {
            owned(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            assert_who_refreshes_waits(&origin).await;
        };
        cache().background_runs(0).build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_shutdown_who_refreshes_waits() {
        let origin = Origin::default();
        let calls = async {
            owned(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            Cache::current().shutdown().await.unwrap();
            assert_who_refreshes_waits(&origin).await;
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_to_run_it_itself_waits_for_it_also_with_a_bound() {
        let origin = Origin::new(&[Act::Answer, Act::Answer, Act::Fail]);
        let calls = async {
            bounded(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let (elected, other) =
                tokio::join!(timed(bounded(origin.clone(), 1)), timed(bounded(origin.clone(), 1)),);
            assert_eq!((elected, other), ((Ok(2), RUN), (Ok(1), RUN / 2)));
            sleep(STALE).await;
            assert_eq!(timed(bounded(origin.clone(), 1)).await, (Ok(2), RUN));
        };
        cache().background_runs(0).build().unwrap().scope(calls).await;
    }

    #[test]
    fn outside_of_a_runtime_who_refreshes_runs_it_where_it_is_polled() {
        #[cached(ttl = 60, stale = 30, key = "bare", skip(runs))]
        async fn bare(runs: Arc<AtomicU32>) -> u32 {
            runs.fetch_add(1, SeqCst) + 1
        }

        let (clock, runs) = (ManualClock::new(), Arc::new(AtomicU32::new(0)));
        let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = || {
            let call = cache.scope(async { bare(Arc::clone(&runs)).with_source().await });
            pin!(call).poll(&mut cx)
        };
        assert_eq!(call(), Poll::Ready((1, Source::Function)));
        clock.advance(STALE);
        assert_eq!(call(), Poll::Ready((2, Source::Function)));
    }
}

mod background_runs {
    use super::*;

    /// Loads so many entries, and waits until they are stale.
    async fn load(origin: &Origin, count: u64) {
        for id in 0..count {
            tokio::spawn(owned(origin.clone(), id));
        }
        sleep(STALE).await;
        assert_eq!(origin.runs(), count as u32);
    }

    #[tokio::test(start_paused = true)]
    async fn of_more_than_64_at_once_the_callers_wait() {
        let origin = Origin::default();
        let calls = async {
            load(&origin, 66).await;
            let mut calls = Vec::new();
            for id in 0..66 {
                calls.push(tokio::spawn(timed(owned(origin.clone(), id).with_source())));
            }
            let mut waited = 0;
            for call in calls {
                let ((output, source), took) = call.await.unwrap();
                if is_stale(source) {
                    assert_eq!(took, Duration::ZERO);
                } else {
                    assert_eq!((source, took), (Source::Function, RUN));
                    assert!(output.unwrap() > 66);
                    waited += 1;
                }
            }
            assert_eq!((waited, origin.runs()), (2, 2 * 66));
            let stats = Cache::current().stats();
            assert_eq!(stats.function("owned").unwrap().background_runs, 64);
            // Those that ended make room.
            sleep(STALE).await;
            let again = timed(owned(origin.clone(), 0)).await;
            assert_eq!(again.1, Duration::ZERO);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_waits_for_them() {
        let origin = Origin::default();
        let calls = async {
            load(&origin, 3).await;
            for id in 0..3 {
                owned(origin.clone(), id).await.unwrap();
            }
            let ((), took) = timed(async { Cache::current().shutdown().await.unwrap() }).await;
            assert_eq!((took, origin.runs()), (RUN, 6));
            assert!(!origin.is_running());
            assert!(owned(origin.clone(), 0).peek().await.unwrap().unwrap() > 3);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn they_see_the_cache_of_their_callers_scope() {
        #[cached(ttl = 60, key = "inner")]
        async fn inner() -> u32 {
            7
        }

        #[cached(ttl = 60, stale = 30, key = "outer", skip(cache, is_first), cache = cache)]
        async fn outer(cache: Cache, is_first: bool) -> u32 {
            if !is_first {
                inner().await;
            }
            1
        }

        // One that is given says nothing about the scope.
        let (given, scope) = (cache().build().unwrap(), cache().build().unwrap());
        let calls = async {
            outer(given.clone(), true).await;
            sleep(STALE).await;
            outer(given.clone(), false).await;
            sleep(MOMENT).await;
        };
        scope.scope(calls).await;
        assert_eq!(scope.stats().function("inner").unwrap().runs, 1);
        assert_eq!(given.stats().function("outer").unwrap().background_runs, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_and_runs_are_counted_once_each() {
        let origin = Origin::new(&[Act::Answer, Act::Answer, Act::Fail]);
        let calls = async {
            let counted = || {
                let stats = Cache::current().stats();
                let row = stats.function("owned").unwrap().clone();
                let hits = row.cache_hits_memory;
                [row.cache_misses, hits, row.stale_served, row.runs, row.background_runs]
            };
            owned(origin.clone(), 1).await.unwrap();
            owned(origin.clone(), 1).await.unwrap();
            assert_eq!(counted(), [1, 1, 0, 1, 0]);
            sleep(STALE).await;
            owned(origin.clone(), 1).await.unwrap();
            owned(origin.clone(), 1).await.unwrap();
            sleep(2 * RUN).await;
            assert_eq!(counted(), [1, 1, 2, 2, 1]);
            owned(origin.clone(), 1).await.unwrap();
            assert_eq!(counted(), [1, 2, 2, 2, 1]);
            sleep(STALE).await;
            // A refresh that fails serves nobody.
            owned(origin.clone(), 1).await.unwrap();
            sleep(2 * RUN).await;
            assert_eq!(counted(), [1, 2, 3, 3, 2]);
            owned(origin.clone(), 1).await.unwrap();
            assert_eq!(counted(), [1, 2, 4, 3, 2]);
            let stats = Cache::current().stats();
            let row = stats.function("owned").unwrap();
            assert_eq!((row.errors, row.inflight_requests, row.waiters), (1, 0, 0));
            assert!((row.hit_rate() - 6.0 / 7.0).abs() < 1e-9);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_and_takes_the_old_value_is_one_that_was_served_it() {
        let origin = Origin::default();
        let calls = async {
            for _ in 0..2 {
                bounded(origin.clone(), 1).await.unwrap();
                safe(origin.clone(), 1).await.unwrap();
                origin.turn(Act::Fail);
                sleep(STALE).await;
            }
            let stats = Cache::current().stats();
            for function in ["bounded", "safe"] {
                let row = stats.function(function).unwrap();
                let counted = (row.cache_misses, row.stale_served, row.runs, row.errors);
                assert_eq!(counted, (1, 1, 2, 1), "{function}");
            }
        };
        cache().build().unwrap().scope(calls).await;
    }
}

mod refresh {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_leaves_the_old_value_and_returns_its_error() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            assert_eq!(safe(origin.clone(), 1).refresh().await, Err(2));
            let (output, source) = safe(origin.clone(), 1).with_source().await;
            assert_eq!(output, Ok(1));
            assert!(is_memory(source), "{source:?}");
            sleep(STALE).await;
            // Also of a value that is old already.
            assert_eq!(safe(origin.clone(), 1).refresh().await, Err(3));
            assert_eq!(safe(origin.clone(), 1).await, Ok(1));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_stores_stays_when_a_run_from_before_it_fails() {
        let origin = Origin::new(&[Act::Answer, Act::FailSlowly, Act::Answer]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            let failing = started(safe(origin.clone(), 1)).await;
            assert_eq!(safe(origin.clone(), 1).refresh().await, Ok(3));
            // It was overtaken: nothing is in the place of its error.
            assert_eq!(failing.await.unwrap(), Err(2));
            let (output, source) = safe(origin.clone(), 1).with_source().await;
            assert_eq!(output, Ok(3));
            assert!(is_memory(source), "{source:?}");
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_panics_leaves_the_old_value() {
        let origin = Origin::new(&[Act::Answer, Act::Panic]);
        let calls = async {
            safe(origin.clone(), 1).await.unwrap();
            let refresh = tokio::spawn(safe(origin.clone(), 1).refresh());
            assert!(refresh.await.unwrap_err().is_panic());
            assert_eq!(safe(origin.clone(), 1).peek().await, Some(Ok(1)));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_waited_for_however_old_the_value_is() {
        let origin = Origin::default();
        let calls = async {
            owned(origin.clone(), 1).await.unwrap();
            assert_eq!(timed(owned(origin.clone(), 1).refresh()).await, (Ok(2), RUN));
            sleep(STALE).await;
            let refresh = started(timed(owned(origin.clone(), 1).refresh())).await;
            // Others are served the old value.
            assert_eq!(timed(owned(origin.clone(), 1)).await, (Ok(2), Duration::ZERO));
            assert_eq!(refresh.await.unwrap(), (Ok(3), RUN));
            assert_eq!(origin.runs(), 3);
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_result_is_not_stored_removes_the_old_value() {
        #[cached(ttl = 60, key = "some", skip(origin))]
        async fn some(origin: Origin) -> Option<u32> {
            origin.run().await.ok()
        }

        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            assert_eq!(some(origin.clone()).await, Some(1));
            assert_eq!(some(origin.clone()).refresh().await, None);
            assert_eq!(some(origin.clone()).peek().await, None);
        };
        cache().build().unwrap().scope(calls).await;
    }
}

mod two_functions_of_one_key {
    use super::*;

    #[cached(ttl = 60, key = "shared:{id}", skip(origin))]
    async fn strict(origin: Origin, id: u64) -> Result<u32, u32> {
        origin.run().await
    }

    #[cached(ttl = 60, stale = 30, stale_if_error = 600, key = "shared:{id}", skip(origin))]
    async fn lenient(origin: Origin, id: u64) -> Result<u32, u32> {
        origin.run().await
    }

    #[tokio::test(start_paused = true)]
    async fn each_takes_what_is_fresh_enough_for_it() {
        let origin = Origin::default();
        let calls = async {
            // Whichever has stored it.
            for _ in 0..2 {
                let stored = lenient(origin.clone(), 1).refresh().await;
                sleep(STALE).await;
                assert_eq!(timed(lenient(origin.clone(), 1)).await, (stored, Duration::ZERO));
                sleep(2 * RUN).await;
                let stored = strict(origin.clone(), 1).refresh().await;
                sleep(STALE).await;
                let (output, took) = timed(strict(origin.clone(), 1)).await;
                assert_eq!((output, took), (stored.map(|run| run + 1), RUN));
            }
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_run_of_one_takes_no_old_value_from_the_other() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            lenient(origin.clone(), 1).await.unwrap();
            sleep(STALE).await;
            // One that has no use for it, and fails.
            let failing = started(strict(origin.clone(), 1)).await;
            assert_eq!(timed(lenient(origin.clone(), 1)).await, (Ok(1), Duration::ZERO));
            assert_eq!(failing.await.unwrap(), Err(2));
            assert_eq!(timed(lenient(origin.clone(), 1)).await, (Ok(1), Duration::ZERO));
        };
        cache().build().unwrap().scope(calls).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_one_of_the_others_run_where_there_is_nothing_to_fall_back_on() {
        let origin = Origin::new(&[Act::Answer, Act::Fail]);
        let calls = async {
            lenient(origin.clone(), 1).await.unwrap();
            sleep(100 * SECOND).await;
            let leader = started(lenient(origin.clone(), 1)).await;
            let follower = started(strict(origin.clone(), 1)).await;
            assert_eq!(leader.await.unwrap(), Ok(1));
            assert_eq!(follower.await.unwrap(), Err(2));
            assert_eq!(origin.runs(), 2);
        };
        cache().build().unwrap().scope(calls).await;
    }
}
