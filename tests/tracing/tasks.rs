//! Spans of many tasks on many threads.

use std::time::Duration;

use larder::{Cache, cached};
use tokio::{
    runtime::Builder,
    task::{JoinSet, yield_now},
    time::timeout,
};
use tracing::{Instrument as _, debug_span, info_span};

use crate::watch::{TELLING, Watch};

#[cached(ttl = 60, key = "here:{key}", skip(at))]
async fn here(key: String, at: u64) -> u64 {
    there(key, at).await
}

#[cached(ttl = 60, detached, key = "there:{key}", skip(at))]
async fn there(key: String, at: u64) -> u64 {
    for _ in 0..5 {
        debug_span!("work", at).in_scope(|| {});
        yield_now().await;
    }
    at
}

#[test]
fn each_run_is_in_the_spans_of_its_own_request() {
    let watch = Watch::default();
    let dispatch = watch.dispatch();
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        // As long as the thread is there.
        .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
        .build()
        .unwrap();
    let requests = async {
        let cache = Cache::memory();
        let mut tasks = JoinSet::new();
        for at in 0..200 {
            let call = cache.scope(async move { here(format!("{TELLING}{at}"), at).await });
            // The span is made by the task, which has a subscriber.
            tasks.spawn(async move { call.instrument(info_span!("request", at)).await });
        }
        tasks.join_all().await
    };
    runtime.block_on(async { timeout(Duration::from_secs(60), requests).await }).unwrap();
    let spans = watch.spans();
    let work = watch.spans_of("work");
    assert_eq!(work.len(), 1000);
    for span in &work {
        let around = watch.around(span);
        assert_eq!(around, ["larder.run", "larder.call", "larder.call", "request"]);
        let mut outermost = span;
        while let Some(parent) = outermost.parent {
            outermost = &spans[parent];
        }
        assert_eq!(outermost.fields["at"], span.fields["at"]);
    }
    drop(runtime);
    assert!(watch.are_all_closed());
    for name in ["larder.call", "larder.run"] {
        let outcomes = watch.outcomes(name);
        assert!(outcomes.iter().all(|outcome| outcome.as_deref() == Some("function")));
    }
}
