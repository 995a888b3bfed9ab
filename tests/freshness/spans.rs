//! With the feature `tracing`, what goes on without its caller stays in the caller's span, also where nobody is
//! interested in the spans of the cache.

use std::{cell::RefCell, num::NonZeroU64, sync::Mutex};

use tracing::{
    Event, Instrument as _, Level, Metadata, Span, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

use super::*;

/// Knows which span the thread is in, and nothing else.
#[derive(Default)]
struct Spans(Mutex<Vec<&'static Metadata<'static>>>);

thread_local! {
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

impl Spans {
    fn metadata(&self, id: &Id) -> &'static Metadata<'static> {
        self.0.lock().unwrap()[usize::try_from(id.into_u64()).unwrap() - 1]
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        spans.push(span.metadata());
        Id::from_non_zero_u64(NonZeroU64::new(spans.len() as u64).unwrap())
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.clone()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with_borrow_mut(Vec::pop);
    }

    fn current_span(&self) -> Current {
        ENTERED.with_borrow(|entered| match entered.last() {
            Some(id) => Current::new(id.clone(), self.metadata(id)),
            None => Current::none(),
        })
    }
}

/// In whose span each run was.
type Seen = Arc<Mutex<Vec<Option<&'static str>>>>;

fn current() -> Option<&'static str> {
    Span::current().metadata().map(Metadata::name)
}

#[cached(ttl = 60, stale = 30, key = "seen", skip(seen))]
async fn see(seen: Seen) -> u32 {
    seen.lock().unwrap().push(current());
    sleep(RUN).await;
    // Also after it has waited.
    seen.lock().unwrap().push(current());
    1
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_in_the_span_of_who_began_it() {
    let _default = tracing::subscriber::set_default(Spans::default());
    let seen = Seen::default();
    let calls = async {
        see(Arc::clone(&seen)).instrument(tracing::info_span!("first")).await;
        sleep(STALE).await;
        see(Arc::clone(&seen)).instrument(tracing::info_span!("second")).await;
        see(Arc::clone(&seen)).instrument(tracing::info_span!("third")).await;
        assert_eq!(current(), None);
        sleep(2 * RUN).await;
    };
    cache().build().unwrap().scope(calls).await;
    let (first, second) = (Some("first"), Some("second"));
    assert_eq!(*seen.lock().unwrap(), [first, first, second, second]);
}
