//! The engine: what a call does from step to step. It knows nothing of the function's types, so
//! it is compiled once; what it needs of them it asks a [`Function`].

use std::{
    any::Any,
    future::Future,
    hash::{Hash as _, Hasher as _},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::{Made, Recalled, Source, denial, span};
use crate::{
    cache::{Cache, Circle, InScope, Running},
    change::{self, Write},
    clock::{MILLI, nanos},
    counters::{Count, Counters},
    error::Error,
    key::{Apart, Instance, KeyBytes, KeyText, Lifetimes, Lookup},
    local::{
        AnyValue, Begun, Edge, Flights, Followed, Follower, Header, Kept, Label, Lead, Mode, Old,
        Outcome, SharedError, Stamp, Tags, Window, follow, negative_label,
    },
    remote::{self, Asked, Confirmed, Fetched, Read, Remote},
};

/// A function with its types, behind the engine. What it has made last is its output.
pub(super) trait Function {
    /// Polls the body; when it is ready there is an output.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Makes the output of an entry, if it can be.
    fn join(&mut self, entry: Kept) -> bool;

    /// Makes the output of another's error, if it can be.
    fn fail(&mut self, shared: &SharedError) -> bool;

    /// Leave for the body to go on without its caller, if it may.
    fn permit(&mut self, call: &Call, why: Why) -> Option<Running>;

    /// The body goes on with this on a task of its own. What is polled here from then on is the task.
    fn leave(&mut self, call: &Call, missed: Missed, running: Running);

    /// Whether it does.
    fn has_left(&self) -> bool;

    /// Where the output of that task came from.
    fn source(&self) -> Source;

    /// Whether a run for a flight is counted by who makes it.
    fn counts_itself(&mut self) -> bool;

    /// Lands the output.
    fn settle(&mut self, call: &Call, lead: Lead) -> Settling;

    /// The output that was set aside while it was not known whether an old value is in its place.
    fn keep_output(&mut self);

    /// Whether the output is an error.
    #[cfg(feature = "tracing")]
    fn is_failure(&self) -> bool;
}

/// Why a body is to go on without its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// There is an old value that its caller may have.
    Refresh,
    /// It runs for a flight, and is to survive its caller.
    Run,
}

/// What comes of an output.
pub(super) enum Settling {
    Done,
    /// It is on its way to the remote tier, and to be made of this entry.
    Filling(Boxed<Kept>),
    /// It is a failure, and an old value may be in its place.
    Failing(Boxed<Option<Kept>>),
}

/// A call by its key: everything that does not depend on the function's types.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) instance: &'static Instance,
    cache: Cache,
    /// Whether `cache` was given, so that it says nothing about the scope.
    is_given: bool,
    pub(super) key: KeyBytes,
}

/// Where a call is. Small: a call is moved a few times before it is polled, and most end as hits.
pub(super) struct State {
    pub(super) phase: Phase,
    /// Once it is done there is nothing in it.
    missed: Option<Missed>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// Before the first poll: what the call wants.
    Made(Mode),
    /// It is counted, as a hit or, so far, as a miss.
    Counted,
    /// It goes on without its caller, whose call is counted, or with neither cache nor flight.
    Uncounted,
}

impl State {
    #[inline]
    pub(super) fn made(mode: Mode) -> Self {
        Self { phase: Phase::Made(mode), missed: None }
    }

    /// In the middle of it.
    pub(super) fn going_on(missed: Missed) -> Self {
        Self { phase: Phase::Uncounted, missed: Some(missed) }
    }

    /// Runs the function without a flight.
    pub(super) fn alone() -> Self {
        Self::going_on(span::alone())
    }

    /// Begins the flight, if that was held back.
    pub(super) fn claim(&mut self, call: &Call) {
        if let Some(missed) = &mut self.missed {
            missed.as_mut().claim(call);
        }
    }
}

/// What few calls have, and is dropped out of line and behind one comparison: where the compiler
/// does that by itself, each part is a comparison, and most are a function that is called to find
/// nothing.
pub(super) struct Owned {
    _cache: Cache,
    _apart: Option<Box<Apart>>,
    _missed: Option<Missed>,
}

impl Owned {
    /// Taken from a call that is dropped; most have none.
    #[inline]
    pub(super) fn of(call: &mut Call, state: &mut State) -> Option<Self> {
        // All three at once.
        let is_any = call.cache.is_counted() | call.key.apart.is_some() | state.missed.is_some();
        is_any.then(|| Self {
            _cache: std::mem::replace(&mut call.cache, Cache::INSTALLED),
            _apart: call.key.apart.take(),
            _missed: state.missed.take(),
        })
    }
}

#[cold]
#[inline(never)]
pub(super) fn drop_cold(owned: Owned) {
    drop(owned);
}

/// What a call does that memory did not answer. An object for each thing that it can be, so that
/// to wait for another's run costs one allocation.
pub(super) type Missed = Pin<Box<dyn Pursuit + Send>>;

pub(super) trait Pursuit {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step>;

    /// Begins the flight of a call that was held back.
    fn claim(self: Pin<&mut Self>, _call: &Call) {}

    /// Its span, if it is all of a call, and has one.
    #[cfg(feature = "tracing")]
    fn span(&self) -> Option<&tracing::Span> {
        None
    }
}

/// What comes of one step.
pub(super) enum Step {
    /// The function has its output.
    Made(Source),
    /// The call starts over, and has been counted.
    Again(Mode),
    Go(Missed),
}

impl Step {
    fn of(made: bool, source: Source) -> Self {
        // Else it runs for itself: an entry of another type stands there, or an error that cannot
        // be shared.
        if made { Self::Made(source) } else { Self::Again(Mode::Alone) }
    }
}

/// Polls a call until it has an output, and says where that came from.
pub(super) fn drive(
    call: &Call,
    state: &mut State,
    function: &mut dyn Function,
    cx: &mut Context<'_>,
) -> Poll<Source> {
    let mut step = match (state.phase, &mut state.missed) {
        (Phase::Made(mode), _) => {
            state.phase = Phase::Counted;
            call.count(Count::Misses, 1);
            call.cache().watched();
            span::begin(call, mode, function)
        }
        (_, Some(missed)) => ready!(missed.as_mut().poll(call, function, cx)),
        // As any future of a function: polled again after it was ready.
        (_, None) => panic!("a cached call was polled after completion"),
    };
    loop {
        step = match step {
            Step::Made(source) => {
                let missed = state.missed.take();
                if state.phase == Phase::Counted {
                    call.was_no_miss(source);
                    #[cfg(feature = "tracing")]
                    span::was_served(call, missed.as_ref(), source);
                }
                drop(missed);
                return Poll::Ready(source);
            }
            Step::Again(mode) => call.begin(mode, function),
            Step::Go(missed) => {
                let missed = state.missed.insert(missed);
                ready!(missed.as_mut().poll(call, function, cx))
            }
        };
    }
}

/// Begins its flight together with other calls of its batch.
struct Claiming {
    mode: Mode,
    asked: Option<Asked>,
    claimed: Option<Claimed>,
}

/// How a call has begun a flight.
struct Claimed {
    begun: Begun,
    now: u64,
    /// Dropped where no lock is held.
    _dead: Option<Kept>,
}

impl Pursuit for Claiming {
    fn poll(
        mut self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        _: &mut Context<'_>,
    ) -> Poll<Step> {
        match self.claimed.take() {
            Some(claimed) => Poll::Ready(call.go_on(claimed, self.asked.take(), function)),
            // Whoever drives the batch polls it again then.
            None => Poll::Pending,
        }
    }

    fn claim(mut self: Pin<&mut Self>, call: &Call) {
        let Self { mode, asked, claimed } = &mut *self;
        *claimed = Some(call.claim(*mode, asked));
    }
}

pin_project! {
    /// Waits for another's run.
    struct Following<W> {
        #[pin]
        wait: W,
    }
}

impl<W: Future<Output = (Followed, Edge)>> Pursuit for Following<W> {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let followed = ready!(self.project().wait.poll(cx));
        let has_own_run = function.has_left();
        Poll::Ready(match followed {
            (Followed::Landed(Outcome::Value(entry)), _) => {
                Step::of(function.join(entry), Source::Shared)
            }
            (Followed::Old(entry), _) => call.serve_old(entry, false, function),
            // It was begun for this call, and is no other flight's.
            (_, edge) if has_own_run => Step::Go(Box::pin(Away { _edge: edge })),
            (Followed::Lead(lead), edge) => Step::Go(call.lead(lead, None, edge)),
            (Followed::Overdue, _) => Step::Again(Mode::Overdue),
            (Followed::Landed(outcome), _) => match outcome {
                Outcome::Again => Step::Again(Mode::Load),
                Outcome::Error(shared) => Step::of(function.fail(&shared), Source::Shared),
                // For whom an old value is nothing gets what stands beside it.
                Outcome::Value(_) | Outcome::Unshared | Outcome::Old(..) => {
                    Step::Again(Mode::Alone)
                }
            },
        })
    }
}

pin_project! {
    /// Reads the remote tier by itself.
    struct Reading<W> {
        #[pin]
        read: W,
    }
}

impl<W: Future<Output = Read>> Pursuit for Reading<W> {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        Poll::Ready(match ready!(self.project().read.poll(cx)) {
            Read::Value(entry) => call.hit_in_redis(entry, function),
            Read::Nothing(asked) => call.begin_flight(Mode::Load, Some(asked), function),
        })
    }
}

pin_project! {
    /// Asks the remote tier for a flight.
    struct Fetching<W> {
        #[pin]
        fetch: W,
    }
}

impl<W: Future<Output = (Fetched, Edge)>> Pursuit for Fetching<W> {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        Poll::Ready(match ready!(self.project().fetch.poll(cx)) {
            (Fetched::Value(entry), _) => call.hit_in_redis(entry, function),
            (Fetched::Old(lead, asked), edge) => call.lead_old(lead, asked, edge, function),
            (Fetched::Run(lead), edge) => Step::Go(leading(lead, edge)),
        })
    }
}

/// Runs the function, for a flight.
struct Leading {
    /// Taken out while the function is polled: if it panics, the flight is handed over.
    lead: Option<(Lead, Edge)>,
}

fn leading(lead: Lead, edge: Edge) -> Missed {
    Box::pin(Leading { lead: Some((lead, edge)) })
}

impl Pursuit for Leading {
    fn poll(
        mut self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let Some((lead, edge)) = self.lead.take() else {
            panic!("a cached call was polled after its function panicked");
        };
        if let Some(running) = function.permit(call, Why::Run) {
            function.leave(call, leading(lead, None), running);
            return Poll::Ready(Step::Go(Box::pin(Away { _edge: edge })));
        }
        lead.run(!function.counts_itself());
        let scope = InScope::of_run(call, Some(lead.flight()));
        let poll = || scope.enter(|| function.poll(cx));
        let (polled, is_denied) = denial::during(|| {
            if call.old_of(&lead).is_some() {
                // The body is not polled again, and nothing else of it is seen.
                catch_unwind(AssertUnwindSafe(poll))
            } else {
                Ok(poll())
            }
        });
        if is_denied {
            lead.was_denied();
        }
        match polled {
            Ok(Poll::Pending) => {
                self.lead = Some((lead, edge));
                return Poll::Pending;
            }
            Ok(Poll::Ready(())) => {}
            Err(panic) => {
                lead.ran();
                lead.failed();
                let falling_back = call.fall_back(lead, Outcome::Again);
                return Poll::Ready(Step::Go(Box::pin(Failing(falling_back, Some(panic)))));
            }
        }
        lead.ran();
        Poll::Ready(match function.settle(call, lead) {
            Settling::Done => Step::Made(Source::Function),
            Settling::Filling(filling) => Step::Go(Box::pin(Filling(filling))),
            Settling::Failing(falling_back) => Step::Go(Box::pin(Failing(falling_back, None))),
        })
    }
}

/// The function has failed or panicked, and it is not known yet whether an old value is in its place.
struct Failing(Boxed<Option<Kept>>, Option<Box<dyn Any + Send>>);

impl Pursuit for Failing {
    fn poll(
        mut self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let old = ready!(self.0.as_mut().poll(cx));
        if let Some(old) = old
            && let step @ Step::Made(_) = call.serve_old(old, false, function)
        {
            return Poll::Ready(step);
        }
        if let Some(panic) = self.1.take() {
            resume_unwind(panic);
        }
        function.keep_output();
        Poll::Ready(Step::Made(Source::Function))
    }
}

/// The value is on its way to the remote tier.
struct Filling(Boxed<Kept>);

impl Pursuit for Filling {
    fn poll(
        mut self: Pin<&mut Self>,
        _: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let entry = ready!(self.0.as_mut().poll(cx));
        Poll::Ready(Step::of(function.join(entry), Source::Function))
    }
}

/// The run, and with it the lead, is on a task of its own.
struct Away {
    /// Held as long as the call waits.
    _edge: Edge,
}

impl Pursuit for Away {
    fn poll(
        self: Pin<&mut Self>,
        _: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        ready!(function.poll(cx));
        Poll::Ready(Step::Made(function.source()))
    }
}

/// Runs without a flight: the cache is switched off, or the run is `uncached()`, or to wait for
/// another's would be to wait for itself.
struct Alone(Source);

pub(super) fn run_alone(source: Source) -> Missed {
    Box::pin(Alone(source))
}

impl Pursuit for Alone {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let scope = InScope::of_run(call, None);
        ready!(scope.enter(|| function.poll(cx)));
        Poll::Ready(Step::Made(self.0))
    }
}

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Call {
    /// In the cache that is current.
    #[inline]
    pub(crate) fn new(cache: Cache, key: KeyBytes, instance: &'static Instance) -> Self {
        Self { instance, cache, is_given: false, key }
    }

    /// In a cache that was given.
    #[inline]
    pub(crate) fn given(
        cache: Cache,
        scope: Option<Cache>,
        key: KeyBytes,
        instance: &'static Instance,
    ) -> Self {
        let mut call = Self { instance, cache, is_given: true, key };
        if scope.is_some() {
            call.key.apart.get_or_insert_default().scope = scope;
        }
        call
    }

    /// The remote tier as this call sees it, in place of the cache's.
    pub(crate) fn set_remote(&mut self, remote: Arc<dyn Remote>) {
        self.key.apart.get_or_insert_default().remote = Some(remote);
    }

    /// The remote tier, if its cache has one.
    pub(crate) fn remote(&self) -> Option<&Arc<dyn Remote>> {
        let given = self.key.apart.as_ref().and_then(|apart| apart.remote.as_ref());
        given.or(self.cache.remote.as_ref())
    }

    /// Says how long values live, in place of the site.
    pub(crate) fn set_lifetimes(&mut self, lifetimes: Lifetimes) {
        self.key.apart.get_or_insert_default().lifetimes = Some(lifetimes);
    }

    #[inline]
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The scope that the function runs in.
    pub(crate) fn scope(&self) -> Option<Cache> {
        if self.is_given {
            self.key.apart.as_ref().and_then(|apart| apart.scope.clone())
        } else {
            self.cache.is_counted().then(|| self.cache.clone())
        }
    }

    pub(crate) fn text(&self) -> KeyText {
        KeyText::render(self.instance.entity, self.key.own(&mut [0; 9]))
    }

    /// Where its entry is in the remote tier.
    pub(super) fn remote_key(&self) -> String {
        self.text().to_text_of(self.cache.service())
    }

    /// Whether its entries have tags.
    #[inline]
    pub(crate) fn is_tagged(&self) -> bool {
        self.instance.entity.is_tagged()
    }

    /// Its tags, where its entries have any.
    pub(crate) fn tags(&self) -> Option<Tags> {
        if !self.is_tagged() {
            return None;
        }
        let flights = &self.cache.flights;
        let (id, given) = (self.tags_id()?, self.key.tags());
        Some(if given.is_empty() {
            let parts = &mut [0; 9];
            let parts = self.key.as_slice(parts);
            Tags::of(flights, id, KeyText::of_tags(self.instance.entity.tags.all, parts))
        } else {
            Tags::of(flights, id, given.iter().cloned())
        })
    }

    /// What tells its tags from those of other calls, without their names.
    pub(crate) fn tags_id(&self) -> Option<u64> {
        if !self.is_tagged() {
            return None;
        }
        let tags = self.instance.entity.tags.all;
        Some(self.cache.flights.id_of(|id| {
            (tags.as_ptr().addr(), tags.len()).hash(id);
            for given in self.key.tags() {
                given.as_bytes().hash(id);
            }
            let place = &mut [0; 9];
            let parts = KeyText::split(self.key.as_slice(place));
            // Once each: which of them stand where, the address says.
            let mut written = 0u64;
            for at in tags.iter().flat_map(|tag| tag.parts) {
                let bit = 1u64.checked_shl(*at as u32).unwrap_or(0);
                if written & bit == 0 {
                    written |= bit;
                    // It says itself where it ends.
                    id.write(parts.get(*at).copied().unwrap_or_default());
                }
            }
        }))
    }

    /// What an entry of this call has noted of its tags.
    pub(crate) fn label<'a>(&self, value: &'a AnyValue) -> Option<&'a Label> {
        (self.instance.codec.label)(value).or_else(|| negative_label(value))
    }

    /// Whether the stamps of its tags are read with every value.
    pub(crate) fn is_strict(&self) -> bool {
        self.instance.entity.tags.is_strict
    }

    #[inline]
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        self.key.lookup(self.instance.entity_number)
    }

    /// How long values are kept in the memory of the process at most; 0 for not at all.
    pub(super) fn kept_here(&self) -> u64 {
        let own = self.lifetimes().local;
        match self.cache().settings.local_ttl {
            // Nothing is kept here but what is kept nowhere else.
            0 if remote::of(self).is_none() => own,
            most => own.min(most),
        }
    }

    /// Whether this call can make an output of the entry.
    pub(crate) fn reads(&self, entry: &Kept) -> bool {
        self.instance.reads_none || !entry.is_negative()
    }

    /// Whether values are kept in the memory of the process at all.
    pub(crate) fn is_kept_here(&self) -> bool {
        self.kept_here() > 0
    }

    /// What memory has, if it may be served; counted as a hit.
    pub(crate) fn hit(&self) -> Option<Kept> {
        let (cache, counters) = self.cache.with_counters(self.instance);
        if !cache.is_enabled() {
            return None;
        }
        let entry = cache.store.get(self)?;
        if !cache.is_valid(&entry.header, cache.time.now()) {
            return None;
        }
        counters.add(Count::Hits, 1);
        Some(entry)
    }

    /// What was hit is no value that the call can take. It may be a `None`, but not one whose tags were
    /// bumped: that is nothing.
    #[cold]
    #[inline(never)]
    pub(super) fn without_outdated_none(&self, kept: AnyValue) -> AnyValue {
        match negative_label(&kept) {
            Some(label) if !label.is_current(self) => Arc::new(()),
            _ => kept,
        }
    }

    /// The entry that was hit is of another type, or a `None` that this call does not read.
    #[cold]
    pub(super) fn was_no_hit(&self) {
        self.cache().functions.of(self.instance.number).subtract(Count::Hits);
    }

    /// What is stored, in memory or behind it, and the time.
    pub(super) async fn find(&self) -> Option<(Kept, u64)> {
        let entry = match self.find_here() {
            Some(entry) => entry,
            None => remote::peek(self).await?,
        };
        Some((entry, self.cache().time.now()))
    }

    fn find_here(&self) -> Option<Kept> {
        if !self.cache().is_enabled() {
            return None;
        }
        match self.recall(self.cache().time.now()) {
            // What a call would be served without a run that it waits for.
            Recalled::Fresh(entry) | Recalled::Old(Old { entry, wait: Some(_), .. }) => Some(entry),
            Recalled::Old(_) | Recalled::Nothing | Recalled::Dead => None,
        }
    }

    fn count(&self, count: Count, more: u64) {
        if self.cache().is_enabled() {
            self.counters().add(count, more);
        }
    }

    /// The call was counted as a miss when it began, and is to be counted by where its value came from.
    fn was_no_miss(&self, source: Source) {
        let count = match source {
            Source::Memory { .. } => Count::Hits,
            Source::Redis { .. } => Count::RedisHits,
            Source::Stale { .. } => {
                self.counters().stale.fetch_add(1, Relaxed);
                return self.counters().subtract(Count::Misses);
            }
            Source::Shared | Source::Function | Source::Disabled | Source::Denied => return,
        };
        self.counters().subtract(Count::Misses);
        self.counters().add(count, 1);
    }

    pub(super) fn begin(&self, mode: Mode, function: &mut dyn Function) -> Step {
        if !self.cache().is_enabled() {
            return Step::Go(run_alone(Source::Disabled));
        }
        if mode == Mode::Load && self.reads_alone() {
            return Step::Go(Box::pin(Reading { read: remote::read_alone(self) }));
        }
        let asked = (mode == Mode::Refresh).then_some(Asked::REFRESH);
        self.begin_flight(mode, asked, function)
    }

    /// Whether each call reads the remote tier by itself: where nothing is kept here, a read that was
    /// sent before a call came is too old for it, so there is nothing to share but a run.
    fn reads_alone(&self) -> bool {
        !self.is_kept_here() && remote::of(self).is_some()
    }

    fn begin_flight(&self, mode: Mode, asked: Option<Asked>, function: &mut dyn Function) -> Step {
        let mut asked = asked;
        if InScope::holds_back() {
            return Step::Go(Box::pin(Claiming { mode, asked, claimed: None }));
        }
        let claimed = self.claim(mode, &mut asked);
        self.go_on(claimed, asked, function)
    }

    fn claim(&self, mode: Mode, asked: &mut Option<Asked>) -> Claimed {
        let now = self.cache().time.now();
        let read = asked.as_mut().and_then(|asked| asked.old.take());
        let (begun, dead) = Flights::begin(self.cache(), self, mode, read, now);
        Claimed { begun, now, _dead: dead }
    }

    fn go_on(
        &self,
        Claimed { begun, now, .. }: Claimed,
        asked: Option<Asked>,
        function: &mut dyn Function,
    ) -> Step {
        match begun {
            Begun::Hit(entry) => {
                let source = source(&entry, now);
                Step::of(function.join(entry), source)
            }
            Begun::Old(entry, is_read) => self.serve_old(entry, is_read, function),
            Begun::Lead(lead, edge) => match self.old_of(&lead) {
                Some(old) => {
                    let asked = asked.unwrap_or_else(|| Asked::of_old(&old, now));
                    self.lead_old(lead, asked, edge, function)
                }
                None => Step::Go(self.lead(lead, asked, edge)),
            },
            Begun::Follow(mut follower) => match follower.wait() {
                Ok(()) => follow_on(follower),
                // The run that this call is made in would wait for itself.
                Err(Circle) => Step::Go(run_alone(Source::Function)),
            },
        }
    }

    /// Leads a flight that is to replace a value: without its caller, if that may have the value.
    fn lead_old(&self, lead: Lead, asked: Asked, edge: Edge, function: &mut dyn Function) -> Step {
        let now = self.cache().time.now();
        let old = self.old_of(&lead).and_then(|old| self.old(old, now));
        if let Some(old) = old
            && let Some(wait) = old.wait
            && let Some(running) = function.permit(self, Why::Refresh)
        {
            let follower = (!wait.is_zero()).then(|| lead.follow(self, old.clone(), now));
            let is_read = lead.has_read();
            self.counters().background.fetch_add(1, Relaxed);
            // The run of a batch does not wait for an element that it has left behind, and that one still
            // waits for the run.
            let is_of_element = edge.as_ref().is_some_and(|edge| edge.is_of_element());
            let edge = edge.filter(|_| is_of_element);
            function.leave(self, self.lead(lead, Some(asked), edge), running);
            let Some(mut follower) = follower else {
                return self.serve_old(old.entry, is_read, function);
            };
            if !is_of_element && follower.wait().is_err() {
                return Step::Go(run_alone(Source::Function));
            }
            return follow_on(follower);
        }
        Step::Go(self.lead(lead, Some(asked), edge))
    }

    /// The value that a flight is to replace, where old values are of use.
    pub(crate) fn old_of(&self, lead: &Lead) -> Option<Kept> {
        if self.freshness().is_any() { lead.old() } else { None }
    }

    /// The output of an old value, or of one that is refreshed before its time; `is_read` if it was read in
    /// the remote tier a moment ago.
    fn serve_old(&self, old: Kept, is_read: bool, function: &mut dyn Function) -> Step {
        let now = self.cache().time.now();
        let age = age(&old, now);
        let source = match (now < old.header.expires, is_read) {
            (false, _) => Source::Stale { age },
            (true, true) => Source::Redis { age },
            (true, false) => Source::Memory { age },
        };
        Step::of(function.join(old), source)
    }

    pub(super) fn counters(&self) -> &Counters {
        self.cache().functions.of(self.instance.number)
    }

    /// A flight of its own: the remote tier first, where there is one.
    fn lead(&self, lead: Lead, asked: Option<Asked>, edge: Edge) -> Missed {
        if remote::of(self).is_none() || lead.token().is_some() {
            return leading(lead, edge);
        }
        let call = self.clone();
        let fetch = async move { (remote::fetch(lead, call, asked).await, edge) };
        Box::pin(Fetching { fetch })
    }

    /// The output of a value that Redis had.
    fn hit_in_redis(&self, entry: Kept, function: &mut dyn Function) -> Step {
        let now = self.cache().time.now();
        if self.freshness().is_any() && now >= entry.header.fresh_until() {
            return self.serve_old(entry, true, function);
        }
        let age = age(&entry, now);
        Step::of(function.join(entry), Source::Redis { age })
    }

    /// What an entry carries that lives for `life` from now, and has cost so much.
    pub(crate) fn header(
        &self,
        stamp: Stamp,
        life: u64,
        cost: u64,
        measure: impl FnOnce() -> u64,
    ) -> Header {
        let took = stamp.now.saturating_sub(stamp.loaded);
        // At most what a header has room for, and no run takes that long.
        let most = u64::from(u32::MAX).saturating_sub(took.div_ceil(MILLI)) * MILLI;
        // What is not kept here is not bounded by that.
        let most = if self.is_kept_here() { most.min(self.kept_here()) } else { most };
        let fresh_until = stamp.now.saturating_add(life.min(most));
        let window = if most < life {
            Window::UNKNOWN
        } else if self.freshness().is_early {
            Window::of(cost, took.saturating_add(life) / 2)
        } else {
            Window::NONE
        };
        let expires = fresh_until.saturating_sub(window.length());
        Header {
            expires,
            span: expires.saturating_sub(stamp.loaded).div_ceil(MILLI) as u32,
            slot: stamp.slot,
            generation: stamp.generation,
            function: self.instance.number as u16,
            weight: self.cache().store.weigh(self, measure),
            window,
        }
    }

    /// An entry that the remote tier knows nothing of, and that a writer there may be about to
    /// outdate without a word: it is kept no longer than what nobody can vouch for.
    fn unconfirmed(&self, entry: Kept) -> Kept {
        let Kept { header, value } = entry;
        let until = header.loaded().saturating_add(self.cache().settings.unproven);
        if header.expires <= until {
            return Kept { header, value };
        }
        Kept { header: Header { window: Window::UNKNOWN, ..header.living_until(until) }, value }
    }

    /// Lands an entry in memory, if it may be kept there.
    pub(crate) fn land(&self, lead: Lead, entry: Kept) {
        let now = self.cache().time.now();
        if self.is_kept_here() && now < entry.header.fresh_until() {
            if let Some(remote) = &self.cache().remote
                && !self.cache().trust.lasts(now)
            {
                remote.attend();
            }
            lead.land_stored(self, entry);
        } else {
            lead.land(Outcome::Value(entry));
        }
    }

    /// Lands the entry of a run: in memory, or first in the remote tier, and that takes a while.
    pub(crate) fn keep(&self, lead: Lead, life: Option<u64>, entry: Kept) -> Option<Boxed<Kept>> {
        match (life, lead.token()) {
            (None, _) if lead.replaces() => {
                // What it is in the place of is not what the function returns any more.
                lead.land(Outcome::Value(entry.clone()));
                let writes = vec![Write::of(self)];
                return Some(Box::pin(async move {
                    // Until it has landed, nothing of the key is served in this process.
                    let _ = change::land(writes).await;
                    entry
                }));
            }
            (Some(life), Some(token)) => {
                return Some(remote::fill(self, lead, token, life, entry));
            }
            (Some(_), None) if remote::of(self).is_some() => {
                self.land(lead, self.unconfirmed(entry));
            }
            (Some(_), None) => self.land(lead, entry),
            _ => lead.land(Outcome::Value(entry)),
        }
        None
    }

    /// The run that had the lead has failed: what is in the place of its result, if there is something.
    pub(crate) fn fall_back(&self, lead: Lead, other: Outcome) -> Boxed<Option<Kept>> {
        let call = self.clone();
        Box::pin(async move {
            let is_of_use = |old: &Kept| call.is_of_use(old, call.cache().time.now());
            let old = match lead.old().filter(is_of_use) {
                None => None,
                Some(old) => match remote::confirm_old(&call, &lead, old.clone()).await {
                    Confirmed::Yes(old) => Some(old),
                    Confirmed::Unknown => Some(old).filter(|old| call.would_hit(old)),
                    Confirmed::No => None,
                },
            };
            let Some(old) = old.filter(is_of_use) else {
                lead.land(other);
                return None;
            };
            let until = call.cache().time.now().saturating_add(nanos(call.throttle()));
            lead.land_old(&call, old.clone(), until, other).then_some(old)
        })
    }

    /// Whether memory would serve this value, whatever is known behind it.
    fn would_hit(&self, old: &Kept) -> bool {
        self.is_kept_here() && self.cache().is_valid(&old.header, self.cache().time.now())
    }

    pub(crate) async fn invalidate(&self) -> Result<(), Error> {
        change::land(vec![Write::of(self)]).await
    }

    /// Stores what a `put` made, or removes the entry if it made nothing that is stored.
    pub(crate) async fn put(&self, made: Option<Made>) -> Result<(), Error> {
        let mut writes = vec![Write::of_put(self)];
        let Some(made) = made else {
            return change::land(writes).await;
        };
        let held = change::hold(&mut writes, None).await;
        writes[0].put(made);
        let landed = change::land(writes).await;
        // Unheld, it has removed the entry.
        held.and(landed)
    }
}

fn follow_on(follower: Follower) -> Step {
    Step::Go(Box::pin(Following { wait: follow(follower) }))
}

/// Where the value of an entry in memory comes from.
pub(super) fn source(entry: &Kept, now: u64) -> Source {
    Source::Memory { age: age(entry, now) }
}

/// Since the run began that an entry comes from.
fn age(entry: &Kept, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(entry.header.loaded()))
}
