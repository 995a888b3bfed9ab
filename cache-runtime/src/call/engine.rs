//! The engine: what a call does from step to step. It knows nothing of the function's types, so
//! it is compiled once; what it needs of them it asks a [`Function`].

use std::{
    future::Future,
    hash::{Hash as _, Hasher as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::{Made, Source};
use crate::{
    cache::{Cache, InScope},
    change::{self, Write},
    clock::MILLI,
    counters::Count,
    error::Error,
    key::{Apart, Instance, KeyBytes, KeyText, Lookup},
    local::{
        AnyValue, Begun, Flights, Followed, Header, Kept, Label, Lead, Mode, Outcome, SharedError,
        Stamp, Tags, WaitEdge, follow, negative_label,
    },
    remote::{self, Asked, Fetched, Read},
};

/// A function with its types, behind the engine. What it has made last is its output.
pub(super) trait Function {
    /// Polls the body; when it is ready there is an output.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Makes the output of an entry, if it can be.
    fn join(&mut self, entry: Kept) -> bool;

    /// Makes the output of another's error, if it can be.
    fn fail(&mut self, shared: &SharedError) -> bool;

    /// Moves the run to a task of its own; gives the lead back if it stays here.
    fn detach(&mut self, call: &Call, lead: Lead) -> Option<Lead>;

    /// Lands the output. If it first goes to the remote tier, what comes back is the entry that
    /// the output is to be made of.
    fn settle(&mut self, call: &Call, lead: Lead) -> Option<Boxed<Kept>>;
}

/// A call by its key: everything that does not depend on the function's types.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) instance: &'static Instance,
    cache: Cache,
    /// Whether `cache` was given, so that it says nothing about the scope.
    is_given: bool,
    key: KeyBytes,
}

/// Where a call is. Small: a call is moved a few times before it is polled, and most end as hits.
pub(super) struct State {
    /// Before the first poll, what the call wants.
    pub(super) made: Option<Mode>,
    /// Once it is done there is nothing in it.
    missed: Option<Missed>,
}

impl State {
    #[inline]
    pub(super) fn made(mode: Mode) -> Self {
        Self { made: Some(mode), missed: None }
    }

    /// Runs the function without a flight.
    pub(super) fn alone() -> Self {
        Self { made: None, missed: Some(Box::pin(Alone(Source::Function))) }
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
type Missed = Pin<Box<dyn Pursuit + Send>>;

trait Pursuit {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step>;
}

/// What comes of one step.
enum Step {
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
    let mut step = match (state.made.take(), &mut state.missed) {
        (Some(mode), _) => call.begin_first(mode, function),
        (None, Some(missed)) => ready!(missed.as_mut().poll(call, function, cx)),
        // As any future of a function: polled again after it was ready.
        (None, None) => panic!("a cached call was polled after completion"),
    };
    loop {
        step = match step {
            Step::Made(source) => {
                state.missed = None;
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
        Poll::Ready(match ready!(self.project().wait.poll(cx)) {
            (Followed::Lead(lead), edge) => Step::Go(call.lead(lead, None, edge)),
            (Followed::Overdue, _) => Step::Again(Mode::Overdue),
            (Followed::Landed(outcome), _) => match outcome {
                Outcome::Again => Step::Again(Mode::Load),
                Outcome::Value(entry) => Step::of(function.join(entry), Source::Shared),
                Outcome::Error(shared) => Step::of(function.fail(&shared), Source::Shared),
                Outcome::Unshared => Step::Again(Mode::Alone),
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
        let Some(lead) = function.detach(call, lead) else {
            return Poll::Ready(Step::Go(Box::pin(Away { _edge: edge })));
        };
        lead.run();
        let scope = InScope::of_run(call, Some(lead.flight()));
        if scope.enter(|| function.poll(cx)).is_pending() {
            self.lead = Some((lead, edge));
            return Poll::Pending;
        }
        lead.ran();
        Poll::Ready(match function.settle(call, lead) {
            Some(filling) => Step::Go(Box::pin(Filling(filling))),
            None => Step::Made(Source::Function),
        })
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
        Poll::Ready(Step::Made(Source::Function))
    }
}

/// Runs without a flight: the cache is switched off, or the run is `uncached()`, or to wait for
/// another's would be to wait for itself.
struct Alone(Source);

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

/// The run that this call is made in waits for it. Boxed, for most calls are made in none.
type Edge = Option<Box<WaitEdge>>;

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

    /// Says the longest life in the memory of the process, in place of the site.
    pub(crate) fn set_local(&mut self, local: u64) {
        self.key.apart.get_or_insert_default().local = Some(local);
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

    /// The longest life in the memory of the process; 0 for none.
    fn local(&self) -> u64 {
        let given = self.key.apart.as_ref().and_then(|apart| apart.local);
        given.unwrap_or(self.instance.site.lifetimes.local)
    }

    /// Whether this call can make an output of the entry.
    pub(crate) fn reads(&self, entry: &Kept) -> bool {
        self.instance.reads_none || !entry.is_negative()
    }

    /// Whether values are kept in the memory of the process at all.
    pub(crate) fn is_kept_here(&self) -> bool {
        self.local() > 0
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
        let cache = self.cache();
        let entry = cache.store.peek(self).filter(|_| cache.is_enabled())?;
        (cache.is_valid(&entry.header, cache.time.now()) && self.reads(&entry)).then_some(entry)
    }

    /// As `begin`, and counts the call by it, however often it starts over.
    fn begin_first(&self, mode: Mode, function: &mut dyn Function) -> Step {
        let step = self.begin(mode, function);
        let count = match step {
            Step::Made(_) => Count::Hits,
            Step::Go(_) | Step::Again(_) => Count::Misses,
        };
        if self.cache().is_enabled() {
            self.cache().functions.of(self.instance.number).add(count, 1);
        }
        step
    }

    fn begin(&self, mode: Mode, function: &mut dyn Function) -> Step {
        if !self.cache().is_enabled() {
            return Step::Go(Box::pin(Alone(Source::Disabled)));
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
        !self.is_kept_here() && remote::of(self.cache(), self).is_some()
    }

    fn begin_flight(&self, mode: Mode, asked: Option<Asked>, function: &mut dyn Function) -> Step {
        let now = self.cache().time.now();
        match Flights::begin(self.cache(), self, mode, now) {
            Begun::Hit(entry) => {
                let source = source(&entry, now);
                Step::of(function.join(entry), source)
            }
            Begun::Lead(lead) => {
                let edge = InScope::current_run()
                    .and_then(|run| WaitEdge::waiting(&run, lead.flight()))
                    .map(Box::new);
                Step::Go(self.lead(lead, asked, edge))
            }
            Begun::Follow(follower) => {
                let edge = match InScope::current_run() {
                    None => None,
                    Some(run) => match WaitEdge::waiting(&run, follower.flight()) {
                        Some(edge) => Some(Box::new(edge)),
                        // The run that this call is made in would wait for itself.
                        None => return Step::Go(Box::pin(Alone(Source::Function))),
                    },
                };
                let wait = async move { (follow(follower).await, edge) };
                Step::Go(Box::pin(Following { wait }))
            }
        }
    }

    /// A flight of its own: the remote tier first, where there is one.
    fn lead(&self, lead: Lead, asked: Option<Asked>, edge: Edge) -> Missed {
        if remote::of(self.cache(), self).is_none() || lead.token().is_some() {
            return leading(lead, edge);
        }
        let call = self.clone();
        let fetch = async move { (remote::fetch(lead, call, asked).await, edge) };
        Box::pin(Fetching { fetch })
    }

    /// The output of a value that Redis had.
    fn hit_in_redis(&self, entry: Kept, function: &mut dyn Function) -> Step {
        let age = age(&entry, self.cache().time.now());
        let counters = self.cache().functions.of(self.instance.number);
        // It was counted as a miss of memory.
        counters.subtract(Count::Misses);
        counters.add(Count::RedisHits, 1);
        Step::of(function.join(entry), Source::Redis { age })
    }

    /// What an entry carries that lives for `life` from now.
    pub(crate) fn header(&self, stamp: Stamp, life: u64, measure: impl FnOnce() -> u64) -> Header {
        let life = life.min(self.local()).min(self.cache().settings.local_ttl);
        let took = stamp.now.saturating_sub(stamp.loaded).div_ceil(MILLI);
        // At most what a header has room for, and no run takes that long.
        let life = life.min(u64::from(u32::MAX).saturating_sub(took) * MILLI);
        let expires = stamp.now.saturating_add(life);
        Header {
            expires,
            span: expires.saturating_sub(stamp.loaded).div_ceil(MILLI) as u32,
            slot: stamp.slot,
            generation: stamp.generation,
            function: self.instance.number as u16,
            weight: self.cache().store.weigh(self, measure),
        }
    }

    /// An entry that the remote tier knows nothing of, and that a writer there may be about to
    /// outdate without a word: it is kept no longer than what nobody can vouch for.
    fn unconfirmed(&self, entry: Kept) -> Kept {
        let Kept { header, value } = entry;
        let until = header.loaded().saturating_add(self.cache().settings.unproven);
        Kept { header: header.living_until(header.expires.min(until)), value }
    }

    /// Lands an entry in memory, if it may be kept there.
    pub(crate) fn land(&self, lead: Lead, entry: Kept) {
        let now = self.cache().time.now();
        if self.is_kept_here() && now < entry.header.expires {
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
            (Some(life), Some(token)) => {
                return Some(remote::fill(self, lead, token, life, entry));
            }
            (Some(_), None) if remote::of(self.cache(), self).is_some() => {
                self.land(lead, self.unconfirmed(entry));
            }
            (Some(_), None) => self.land(lead, entry),
            _ => lead.land(Outcome::Value(entry)),
        }
        None
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

/// Where the value of an entry in memory comes from.
pub(super) fn source(entry: &Kept, now: u64) -> Source {
    Source::Memory { age: age(entry, now) }
}

/// Since the run began that an entry comes from.
fn age(entry: &Kept, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(entry.header.loaded()))
}
