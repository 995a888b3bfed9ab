//! A subscriber that keeps all that it is told, and fails where a key is in it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    dispatcher::{DefaultGuard, set_default},
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_core::span::Current;

/// What keys of these tests are made of: no field may have it.
pub(crate) const TELLING: &str = "telling";

pub(crate) type Fields = BTreeMap<&'static str, String>;

/// Copies are the same.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Inner>);

#[derive(Default)]
struct Inner {
    told: Mutex<Told>,
    most: Option<Level>,
}

#[derive(Default)]
struct Told {
    spans: Vec<SeenSpan>,
    events: Vec<SeenEvent>,
}

#[derive(Debug, Clone)]
pub(crate) struct SeenSpan {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
    /// Of which spans, by their places, it is a child and a consequence.
    pub(crate) parent: Option<usize>,
    pub(crate) follows: Vec<usize>,
    pub(crate) entered: usize,
    handles: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct SeenEvent {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: Fields,
    /// In which span.
    pub(crate) within: Option<usize>,
}

thread_local! {
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

impl SeenSpan {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(crate) fn outcome(&self) -> Option<&str> {
        self.field("outcome")
    }

    /// Whether nobody has it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.handles == 0
    }
}

impl Watch {
    /// One that is interested in nothing that matters less.
    pub(crate) fn up_to(most: Level) -> Self {
        Self(Arc::new(Inner { most: Some(most), ..Inner::default() }))
    }

    /// Of this thread, until the guard is dropped.
    pub(crate) fn here(&self) -> DefaultGuard {
        set_default(&self.dispatch())
    }

    pub(crate) fn dispatch(&self) -> Dispatch {
        Dispatch::new(self.clone())
    }

    /// In the order in which they began.
    pub(crate) fn spans(&self) -> Vec<SeenSpan> {
        self.told().spans.clone()
    }

    pub(crate) fn spans_of(&self, name: &str) -> Vec<SeenSpan> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The only one of that name.
    pub(crate) fn span(&self, name: &str) -> SeenSpan {
        let spans = self.spans_of(name);
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.into_iter().next().unwrap()
    }

    /// The names of the spans around the span, from the inside.
    pub(crate) fn around(&self, span: &SeenSpan) -> Vec<&'static str> {
        let spans = self.spans();
        let mut around = Vec::new();
        let mut next = span.parent;
        while let Some(parent) = next {
            around.push(spans[parent].name);
            next = spans[parent].parent;
        }
        around
    }

    pub(crate) fn outcomes(&self, name: &str) -> Vec<Option<String>> {
        self.spans_of(name).iter().map(|span| span.outcome().map(str::to_owned)).collect()
    }

    pub(crate) fn are_all_closed(&self) -> bool {
        self.told().spans.iter().all(SeenSpan::is_closed)
    }

    pub(crate) fn events(&self, name: &str) -> Vec<SeenEvent> {
        let told = self.told();
        told.events.iter().filter(|event| event.name == name).cloned().collect()
    }

    /// The only one of that name.
    pub(crate) fn event(&self, name: &str) -> SeenEvent {
        let events = self.events(name);
        assert_eq!(events.len(), 1, "{events:#?}");
        events.into_iter().next().unwrap()
    }

    pub(crate) fn all_events(&self) -> Vec<SeenEvent> {
        self.told().events.clone()
    }

    pub(crate) fn name_of(&self, span: Option<usize>) -> Option<&'static str> {
        span.map(|span| self.told().spans[span].name)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap()
    }
}

/// How often this thread has asked or told a subscriber anything. Others also do when they come upon
/// something new.
pub(crate) fn calls() -> usize {
    CALLS.get()
}

fn called() {
    CALLS.set(CALLS.get() + 1);
}

/// The place of a span.
fn at(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

fn current() -> Option<Id> {
    ENTERED.with_borrow(|entered| entered.last().cloned())
}

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        assert!(!text.contains(TELLING), "{field} is {text}");
        self.0.insert(field.name(), text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl Subscriber for Watch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        called();
        match self.0.most {
            Some(most) if *metadata.level() > most => Interest::never(),
            _ => Interest::sometimes(),
        }
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        self.0.most.map(Into::into)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        called();
        self.0.most.is_none_or(|most| *metadata.level() <= most)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        called();
        let mut fields = Fields::new();
        span.record(&mut Visitor(&mut fields));
        let parent = if span.is_contextual() { current() } else { span.parent().cloned() };
        let mut told = self.told();
        told.spans.push(SeenSpan {
            metadata: span.metadata(),
            name: span.metadata().name(),
            fields,
            parent: parent.as_ref().map(at),
            follows: Vec::new(),
            entered: 0,
            handles: 1,
        });
        Id::from_non_zero_u64(NonZeroU64::new(told.spans.len() as u64).unwrap())
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        called();
        values.record(&mut Visitor(&mut self.told().spans[at(id)].fields));
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        called();
        self.told().spans[at(id)].follows.push(at(follows));
    }

    fn event(&self, event: &Event<'_>) {
        called();
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields));
        let message = fields.remove("message").unwrap_or_default();
        let metadata = event.metadata();
        self.told().events.push(SeenEvent {
            name: metadata.name(),
            target: metadata.target(),
            level: *metadata.level(),
            message,
            fields,
            within: current().as_ref().map(at),
        });
    }

    fn enter(&self, id: &Id) {
        called();
        self.told().spans[at(id)].entered += 1;
        ENTERED.with_borrow_mut(|entered| entered.push(id.clone()));
    }

    fn exit(&self, id: &Id) {
        called();
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left.as_ref(), Some(id), "spans are left in the order of their nesting");
    }

    fn clone_span(&self, id: &Id) -> Id {
        called();
        self.told().spans[at(id)].handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        called();
        let mut told = self.told();
        let handles = &mut told.spans[at(&id)].handles;
        *handles -= 1;
        *handles == 0
    }

    fn current_span(&self) -> Current {
        called();
        match current() {
            Some(id) => Current::new(id.clone(), self.told().spans[at(&id)].metadata),
            None => Current::none(),
        }
    }
}
