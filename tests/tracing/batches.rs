//! The span of a batch: one for all of its elements.

use std::{collections::HashMap, time::Duration};

use larder::{Cache, ManualClock, cached};
use tokio::time::sleep;
use tracing::{Instrument as _, info_span};

use crate::watch::{TELLING, Watch, calls};

const SECOND: Duration = Duration::from_secs(1);
const RUN: Duration = Duration::from_millis(50);

type Rows = HashMap<String, u32>;

#[cached(ttl = 60, stale = 30, key = "row:{id}", cache = cache, skip(cache, fails), each(id in ids))]
async fn rows(cache: Cache, ids: &[String], fails: bool) -> Result<Rows, String> {
    info_span!("query").in_scope(|| {});
    sleep(RUN).await;
    info_span!("after").in_scope(|| {});
    if fails {
        Err("no database".to_owned())
    } else {
        Ok(ids.iter().map(|id| (id.clone(), 1)).collect())
    }
}

fn ids(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| format!("{TELLING}{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn it_counts_its_elements_and_has_their_run_inside() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    rows(cache.clone(), &ids(&[1, 2]), false).await.unwrap();
    let more = ids(&[1, 2, 3, 4, 5]);
    rows(cache.clone(), &more, false).instrument(info_span!("request")).await.unwrap();
    let spans = watch.spans_of("larder.batch");
    let told = |at: usize| {
        ["function", "elements", "missed", "outcome"].map(|field| spans[at].fields[field].clone())
    };
    assert_eq!(told(0), ["tracing::batches::rows", "2", "2", "function"]);
    assert_eq!(told(1), ["tracing::batches::rows", "5", "3", "function"]);
    for name in ["query", "after"] {
        assert_eq!(watch.around(&watch.spans_of(name)[1]), ["larder.batch", "request"]);
    }
    assert!(watch.spans_of("larder.call").is_empty(), "an element has none");

    // All of it is in memory.
    let before = calls();
    rows(cache, &more, false).await.unwrap();
    assert_eq!(calls(), before);
    assert!(watch.are_all_closed());
}

#[tokio::test(start_paused = true)]
async fn its_refresh_goes_on_beside_it() {
    let watch = Watch::default();
    let _here = watch.here();
    let clock = ManualClock::new();
    let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
    rows(cache.clone(), &ids(&[1, 2]), false).await.unwrap();
    clock.advance(61 * SECOND);
    let elements = ids(&[1, 2]);
    let call = rows(cache.clone(), &elements, false);
    call.instrument(info_span!("request")).await.unwrap();
    let batch = &watch.spans_of("larder.batch")[1];
    assert_eq!(batch.outcome(), Some("stale"));
    assert!(batch.is_closed());
    let served = watch.events("larder.stale.served");
    let within: Vec<_> = served.iter().map(|event| watch.name_of(event.within)).collect();
    assert_eq!(within, [Some("larder.batch"); 2]);
    let run = watch.span("larder.run");
    assert_eq!((run.field("why"), run.outcome()), (Some("refresh"), None));
    assert_eq!(watch.around(&run), ["request"]);
    sleep(2 * RUN).await;
    let run = watch.span("larder.run");
    assert_eq!(run.outcome(), Some("function"));
    assert_eq!(watch.around(&watch.spans_of("after")[1]), ["larder.run", "request"]);
    assert!(watch.are_all_closed());
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_and_one_that_is_dropped() {
    let watch = Watch::default();
    let _here = watch.here();
    let cache = Cache::memory();
    rows(cache.clone(), &ids(&[1, 2]), true).await.unwrap_err();
    let elements = ids(&[1, 2]);
    let call = rows(cache.clone(), &elements, false);
    assert!(tokio::time::timeout(RUN / 2, call).await.is_err());
    rows(cache, &ids(&[1]), false).uncached().await.unwrap();
    let outcomes = ["error", "dropped", "function"].map(|outcome| Some(outcome.to_owned()));
    assert_eq!(watch.outcomes("larder.batch"), outcomes);
    let failed = watch.event("larder.run.failed");
    assert_eq!(failed.fields["function"], "tracing::batches::rows");
    assert_eq!(watch.name_of(failed.within), Some("larder.batch"));
    assert!(watch.spans_of("larder.call").is_empty());
}
