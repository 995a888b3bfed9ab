//! The span of a call that memory did not answer.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use larder::{Cache, ManualClock, cached};
use tokio::{
    join,
    task::{JoinSet, yield_now},
    time::sleep,
};
use tracing::{Instrument as _, Level, info_span};

use crate::watch::{TELLING, Watch};

const SECOND: Duration = Duration::from_secs(1);
const RUN: Duration = Duration::from_millis(50);

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Ok,
    Fail,
    Panic,
}

/// The run has a span of its own, both before and after it has waited.
async fn act(act: Act) -> Result<u32, String> {
    info_span!("before").in_scope(|| {});
    sleep(RUN).await;
    info_span!("after").in_scope(|| {});
    match act {
        Act::Ok => Ok(1),
        Act::Fail => Err(TELLING.to_owned()),
        Act::Panic => panic!("as it is to"),
    }
}

#[cached(ttl = 60, key = "plain:{key}", cache = cache, skip(cache, does))]
async fn plain(cache: &Cache, key: &str, does: Act) -> Result<u32, String> {
    act(does).await
}

#[cached(ttl = 60, stale = 30, stale_if_error = 600, key = "old:{key}", cache = cache, skip(cache, does))]
async fn old(cache: Cache, key: String, does: Act) -> Result<u32, String> {
    act(does).await
}

#[cached(ttl = 60, detached, key = "detached:{key}", cache = cache, skip(cache, does))]
async fn detached(cache: Cache, key: String, does: Act) -> Result<u32, String> {
    act(does).await
}

#[cached(ttl = 60, key = "outer:{key}", cache = cache, skip(cache))]
async fn outer(cache: &Cache, key: &str) -> Result<u32, String> {
    plain(cache, key, Act::Ok).await
}

fn timed() -> (Cache, ManualClock) {
    let clock = ManualClock::new();
    (Cache::builder("test").clock(clock.clone()).build().unwrap(), clock)
}

fn step<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_miss_has_one_with_its_run_inside() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let call = plain(&cache, TELLING, Act::Ok);
    assert!(watch.spans().is_empty(), "nothing was polled");
    call.instrument(info_span!("request")).await.unwrap();

    let span = watch.span("larder.call");
    assert_eq!(span.metadata.target(), "larder::cache");
    assert_eq!(*span.metadata.level(), Level::DEBUG);
    assert_eq!(span.field("function"), Some("tracing::calls::plain"));
    assert_eq!(span.outcome(), Some("function"));
    assert_eq!(span.fields.len(), 2);
    assert_eq!(watch.around(&span), ["request"]);
    for name in ["before", "after"] {
        assert_eq!(watch.around(&watch.span(name)), ["larder.call", "request"]);
    }
    assert!(watch.are_all_closed());
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_task_are_not_in_each_others() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let (one, other) = (TELLING.to_owned() + "1", TELLING.to_owned() + "2");
    let outside = async {
        sleep(RUN / 2).await;
        info_span!("outside").in_scope(|| {});
    };
    let (one, other, ()) =
        join!(plain(&cache, &one, Act::Ok), plain(&cache, &other, Act::Ok), outside);
    assert_eq!((one, other), (Ok(1), Ok(1)));
    assert!(watch.around(&watch.span("outside")).is_empty());
    let calls = watch.spans_of("larder.call");
    assert!(calls.iter().all(|call| call.parent.is_none()), "{calls:#?}");
    for name in ["before", "after"] {
        let mut parents: Vec<_> = watch.spans_of(name).iter().map(|span| span.parent).collect();
        parents.dedup();
        assert_eq!(parents.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_inside_of_a_run_is_inside_of_its_span() {
    let watch = Watch::default();
    let _here = watch.here();
    outer(&Cache::memory(), TELLING).await.unwrap();
    assert_eq!(watch.around(&watch.span("after")), ["larder.call", "larder.call"]);
    let functions: Vec<_> =
        watch.spans_of("larder.call").iter().map(|span| span.fields["function"].clone()).collect();
    assert_eq!(functions, ["tracing::calls::outer", "tracing::calls::plain"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_shares() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let (one, other) = join!(plain(&cache, TELLING, Act::Ok), plain(&cache, TELLING, Act::Ok));
    assert_eq!((one, other), (Ok(1), Ok(1)));
    let outcomes = watch.outcomes("larder.call");
    assert_eq!(outcomes, [Some("function".to_owned()), Some("shared".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_one_of_all_who_get_it() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let (one, other) = join!(plain(&cache, TELLING, Act::Fail), plain(&cache, TELLING, Act::Fail));
    assert!(one.is_err() && other.is_err());
    plain(&cache, TELLING, Act::Fail).uncached().await.unwrap_err();
    let error = Some("error".to_owned());
    assert_eq!(watch.outcomes("larder.call"), [error.clone(), error.clone(), error]);
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_and_who_takes_over() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let mut first = Box::pin(plain(&cache, TELLING, Act::Ok));
    assert!(step(first.as_mut()).is_pending());
    let mut second = pin!(plain(&cache, TELLING, Act::Ok));
    assert!(step(second.as_mut()).is_pending());
    assert_eq!(watch.outcomes("larder.call"), [None, None]);
    drop(first);
    assert_eq!(watch.outcomes("larder.call"), [Some("dropped".to_owned()), None]);
    assert!(watch.spans()[0].is_closed());
    second.await.unwrap();
    let outcomes = watch.outcomes("larder.call");
    assert_eq!(outcomes, [Some("dropped".to_owned()), Some("function".to_owned())]);
    // Never polled, it was no call.
    drop(plain(&cache, "other", Act::Ok));
    assert_eq!(watch.spans_of("larder.call").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_the_span() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let mut call = Box::pin(plain(&cache, TELLING, Act::Panic));
    assert!(step(call.as_mut()).is_pending());
    sleep(RUN).await;
    let polled = std::panic::catch_unwind(AssertUnwindSafe(|| step(call.as_mut())));
    assert!(polled.is_err());
    info_span!("outside").in_scope(|| {});
    assert!(watch.around(&watch.span("outside")).is_empty());
    drop(call);
    let span = watch.span("larder.call");
    assert_eq!(span.outcome(), Some("panicked"));
    assert!(span.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_beside_the_call_that_has_begun_it() {
    let watch = Watch::default();
    let _here = watch.here();
    let (cache, clock) = timed();
    let call = |does| old(cache.clone(), TELLING.to_owned(), does);
    call(Act::Ok).await.unwrap();
    clock.advance(61 * SECOND);
    call(Act::Ok).instrument(info_span!("request")).await.unwrap();

    let stale = &watch.spans_of("larder.call")[1];
    assert_eq!(stale.outcome(), Some("stale"));
    assert!(stale.is_closed(), "it does not wait for the refresh");
    let served = watch.event("larder.stale.served");
    assert_eq!(served.fields["function"], "tracing::calls::old");
    assert_eq!(watch.name_of(served.within), Some("larder.call"));
    let run = watch.span("larder.run");
    assert_eq!(run.field("function"), Some("tracing::calls::old"));
    assert_eq!((run.field("why"), run.outcome()), (Some("refresh"), None));
    assert_eq!(watch.around(&run), ["request"]);
    assert_eq!(run.follows.len(), 1);
    let followed = &watch.spans()[run.follows[0]];
    assert_eq!((followed.name, followed.outcome()), ("larder.call", Some("stale")));

    sleep(2 * RUN).await;
    let run = watch.span("larder.run");
    assert_eq!(run.outcome(), Some("function"));
    assert_eq!(watch.around(&watch.spans_of("after")[1]), ["larder.run", "request"]);
    assert!(watch.are_all_closed());
}

#[tokio::test(start_paused = true)]
async fn an_old_value_in_the_place_of_a_failure() {
    let watch = Watch::default();
    let _here = watch.here();
    let (cache, clock) = timed();
    let call = |does| old(cache.clone(), TELLING.to_owned(), does);
    call(Act::Ok).await.unwrap();
    clock.advance(61 * SECOND);
    call(Act::Fail).await.unwrap();
    sleep(2 * RUN).await;
    assert_eq!(watch.outcomes("larder.run"), [Some("stale".to_owned())]);
    let failed = watch.event("larder.run.failed");
    assert_eq!(failed.fields["function"], "tracing::calls::old");
    assert_eq!(watch.name_of(failed.within), Some("larder.run"));
    // Past the time in which it is served at once.
    clock.advance(120 * SECOND);
    for does in [Act::Fail, Act::Panic] {
        clock.advance(20 * SECOND);
        assert_eq!(call(does).await, Ok(1));
    }
    let outcomes = watch.outcomes("larder.call");
    assert_eq!(outcomes[2..], [Some("stale".to_owned()), Some("stale".to_owned())]);
    let failed = watch.events("larder.run.failed");
    let within: Vec<_> = failed.iter().map(|event| watch.name_of(event.within)).collect();
    assert_eq!(within, [Some("larder.run"), Some("larder.call"), Some("larder.call")]);
}

#[tokio::test(start_paused = true)]
async fn a_detached_run_is_inside_of_its_call() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    let call = |key: &str| detached(cache.clone(), TELLING.to_owned() + key, Act::Ok);
    call("1").instrument(info_span!("request")).await.unwrap();
    let run = watch.span("larder.run");
    assert_eq!((run.field("why"), run.outcome()), (Some("detached"), Some("function")));
    assert_eq!(watch.around(&watch.span("after")), ["larder.run", "larder.call", "request"]);

    // It survives its caller.
    let mut dropped = Box::pin(call("2"));
    assert!(step(dropped.as_mut()).is_pending());
    drop(dropped);
    assert_eq!(watch.outcomes("larder.call")[1], Some("dropped".to_owned()));
    sleep(2 * RUN).await;
    assert_eq!(watch.outcomes("larder.run")[1], Some("function".to_owned()));
    assert!(watch.are_all_closed());
}

#[tokio::test(start_paused = true)]
async fn without_the_cache() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    plain(&cache, TELLING, Act::Ok).uncached().await.unwrap();
    plain(&cache, TELLING, Act::Ok).refresh().await.unwrap();
    cache.set_enabled(false);
    plain(&cache, TELLING, Act::Ok).await.unwrap();
    let outcomes = ["function", "function", "disabled"].map(|outcome| Some(outcome.to_owned()));
    assert_eq!(watch.outcomes("larder.call"), outcomes);
    for after in watch.spans_of("after") {
        assert_eq!(watch.around(&after), ["larder.call"]);
    }
}

#[tokio::test]
async fn one_who_is_not_interested_gets_the_callers_span() {
    let watch = Watch::up_to(Level::INFO);
    let _here = watch.here();
    let (cache, clock) = timed();
    let call = || old(cache.clone(), TELLING.to_owned(), Act::Ok);
    call().instrument(info_span!("first")).await.unwrap();
    clock.advance(61 * SECOND);
    call().instrument(info_span!("second")).await.unwrap();
    // The refresh runs on.
    let mut waits = JoinSet::new();
    waits.spawn(async {
        sleep(2 * RUN).await;
        yield_now().await;
    });
    waits.join_all().await;
    let around =
        |name| watch.spans_of(name).iter().map(|span| watch.around(span)).collect::<Vec<_>>();
    assert_eq!(around("after"), [["first"], ["second"]]);
    assert!(watch.spans().iter().all(|span| !span.name.starts_with("larder")));
    assert!(watch.all_events().is_empty());
}
