//! The engine: what a call does from step to step. It knows nothing of the function's types, so
//! it is compiled once; what it needs of them it asks a [`Function`].

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{Source, policy::Made};
use crate::{
    cache::{Cache, InScope, Inner},
    cold::Cold,
    counters::Count,
    error::Error,
    key::{Instance, KeyBytes, KeyText, Lookup},
    local::{
        Begun, Flights, Followed, Header, Kept, Lead, Mode, Outcome, SharedError, Stamp, WaitEdge,
        follow,
    },
    remote::{self, Fetched, Seen},
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
    missed: Cold<Box<Missed>>,
}

impl State {
    #[inline]
    pub(super) fn made(mode: Mode) -> Self {
        Self { made: Some(mode), missed: Cold::NONE }
    }

    pub(super) fn missed(missed: Missed) -> Self {
        Self { made: None, missed: Cold::new(Box::new(missed)) }
    }
}

/// What a call goes through that memory did not answer.
pub(super) enum Missed {
    /// It starts over, and has been counted as a miss.
    Again(Mode),
    Following(Boxed<(Followed, Edge)>),
    Fetching(Boxed<(Fetched, Edge)>),
    Leading(Lead, Edge),
    /// The run, and with it the lead, is on a task of its own.
    Away(#[expect(dead_code, reason = "held as long as the call waits")] Edge),
    /// Without a flight.
    Alone(Reason),
    Filling(Boxed<Kept>),
}

/// The run that this call is made in waits for it. Boxed, for most calls are made in none.
pub(super) type Edge = Option<Box<WaitEdge>>;

/// Why a call runs without a flight.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    Disabled,
    /// `uncached()`, or to wait for another's run would be to wait for itself.
    Unstored,
}

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A source whose age is a duration only if somebody asks: to divide is a tenth of a hit.
#[derive(Clone, Copy)]
pub(super) enum From {
    Memory { nanos: u64 },
    Shared,
    Function,
    Disabled,
}

impl From {
    #[inline]
    pub(super) fn memory(loaded: u64, now: u64) -> Self {
        Self::Memory { nanos: now.saturating_sub(loaded) }
    }

    pub(super) fn source(self) -> Source {
        match self {
            Self::Memory { nanos } => Source::Memory { age: Duration::from_nanos(nanos) },
            Self::Shared => Source::Shared,
            Self::Function => Source::Function,
            Self::Disabled => Source::Disabled,
        }
    }
}

/// What a step of the engine comes to, before the function's types come in.
enum Step {
    /// At that moment.
    Hit(Kept, u64),
    Go(Missed),
}

/// Polls a call until it has an output, and says where that came from.
pub(super) fn drive(
    call: &Call,
    state: &mut State,
    function: &mut dyn Function,
    cx: &mut Context<'_>,
) -> Poll<From> {
    loop {
        let step = if let Some(mode) = state.made.take() {
            let step = call.begin(mode);
            call.count(&step);
            step
        } else if let Some(missed) = state.missed.as_mut() {
            match ready!(missed.poll(call, function, cx)) {
                Polled::Made(from) => {
                    *state.missed = None;
                    return Poll::Ready(from);
                }
                Polled::Go(Missed::Again(mode)) => call.begin(mode),
                Polled::Go(next) => Step::Go(next),
            }
        } else {
            // As any future of a function: polled again after it was ready.
            panic!("a cached call was polled after completion");
        };
        let next = match step {
            Step::Go(next) => next,
            Step::Hit(entry, now) => {
                let from = From::memory(entry.header.loaded, now);
                if function.join(entry) {
                    *state.missed = None;
                    return Poll::Ready(from);
                }
                Missed::Again(Mode::Alone)
            }
        };
        match state.missed.as_mut() {
            Some(missed) => **missed = next,
            None => *state = State::missed(next),
        }
    }
}

/// What a poll of a miss comes to.
enum Polled {
    /// The function has its output.
    Made(From),
    Go(Missed),
}

impl Polled {
    fn of(made: bool, from: From) -> Self {
        if made {
            Self::Made(from)
        } else {
            // It runs for itself: an entry of another type stands there, or an error that cannot
            // be shared.
            Self::Go(Missed::Again(Mode::Alone))
        }
    }
}

impl Missed {
    fn poll(
        &mut self,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Polled> {
        Poll::Ready(match self {
            Self::Again(mode) => Polled::Go(Self::Again(*mode)),
            Self::Following(wait) => match ready!(wait.as_mut().poll(cx)) {
                (Followed::Lead(lead), edge) => Polled::Go(call.lead(lead, Seen::Nothing, edge)),
                (Followed::Landed(Outcome::Again), _) => Polled::Go(Self::Again(Mode::Load)),
                (Followed::Overdue, _) => Polled::Go(Self::Again(Mode::Overdue)),
                (Followed::Landed(outcome), _) => {
                    let made = match outcome {
                        Outcome::Value(entry) => function.join(entry),
                        Outcome::Error(shared) => function.fail(&shared),
                        Outcome::Unshared | Outcome::Again => false,
                    };
                    Polled::of(made, From::Shared)
                }
            },
            Self::Fetching(fetch) => match ready!(fetch.as_mut().poll(cx)) {
                (Fetched::Value(entry), _) => {
                    let from = From::memory(entry.header.loaded, call.cache().time.now());
                    Polled::of(function.join(entry), from)
                }
                (Fetched::Run(lead), edge) => Polled::Go(Self::Leading(lead, edge)),
            },
            Self::Leading(..) => {
                // Taken out, for its lead is used up; nothing looks at what stands in meanwhile.
                let taken = std::mem::replace(self, Self::Alone(Reason::Unstored));
                let Self::Leading(lead, edge) = taken else { unreachable!() };
                let Some(lead) = function.detach(call, lead) else {
                    return Poll::Ready(Polled::Go(Self::Away(edge)));
                };
                lead.run();
                let scope = InScope::of_run(call, Some(lead.flight()));
                if scope.enter(|| function.poll(cx)).is_pending() {
                    *self = Self::Leading(lead, edge);
                    return Poll::Pending;
                }
                lead.ran();
                match function.settle(call, lead) {
                    Some(filling) => Polled::Go(Self::Filling(filling)),
                    None => Polled::Made(From::Function),
                }
            }
            Self::Filling(filling) => {
                let entry = ready!(filling.as_mut().poll(cx));
                Polled::of(function.join(entry), From::Function)
            }
            Self::Away(_) => {
                ready!(function.poll(cx));
                Polled::Made(From::Function)
            }
            Self::Alone(reason) => {
                let from = match reason {
                    Reason::Disabled => From::Disabled,
                    Reason::Unstored => From::Function,
                };
                let scope = InScope::of_run(call, None);
                ready!(scope.enter(|| function.poll(cx)));
                Polled::Made(from)
            }
        })
    }
}

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
            self.cache.is_of_scope().then(|| self.cache.clone())
        }
    }

    pub(crate) fn text(&self) -> KeyText {
        KeyText::render(self.instance.entity, self.key.as_slice())
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
    ///
    /// Always part of its caller: one for each type that functions return, for the hits that nobody
    /// asks about. A call more would be a twentieth of a hit.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured")]
    pub(super) fn hit(&self) -> Option<Kept> {
        let cache: &Inner = self.cache();
        if !cache.is_enabled() {
            return None;
        }
        let entry = cache.store.get(self.lookup())?;
        if !cache.is_valid(&entry.header, cache.time.now()) {
            return None;
        }
        cache.functions.of(self.instance.number).add(Count::Hits, 1);
        Some(entry)
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
        let entry = cache.store.peek(self.lookup()).filter(|_| cache.is_enabled())?;
        (cache.is_valid(&entry.header, cache.time.now()) && self.reads(&entry)).then_some(entry)
    }

    fn begin(&self, mode: Mode) -> Step {
        if !self.cache().is_enabled() {
            return Step::Go(Missed::Alone(Reason::Disabled));
        }
        let now = self.cache().time.now();
        match Flights::begin(self.cache(), self, mode, now) {
            Begun::Hit(entry) => Step::Hit(entry, now),
            Begun::Lead(lead) => {
                let seen = if mode == Mode::Refresh { Seen::Refresh } else { Seen::Nothing };
                let edge = InScope::current_run()
                    .and_then(|run| WaitEdge::waiting(&run, lead.flight()))
                    .map(Box::new);
                Step::Go(self.lead(lead, seen, edge))
            }
            Begun::Follow(follower) => {
                let edge = match InScope::current_run() {
                    None => None,
                    Some(run) => match WaitEdge::waiting(&run, follower.flight()) {
                        Some(edge) => Some(Box::new(edge)),
                        // The run that this call is made in would wait for itself.
                        None => return Step::Go(Missed::Alone(Reason::Unstored)),
                    },
                };
                Step::Go(Missed::Following(Box::pin(async move { (follow(follower).await, edge) })))
            }
        }
    }

    /// Counts a call by its first step, however often it starts over.
    fn count(&self, step: &Step) {
        let count = match step {
            Step::Hit(..) => Count::Hits,
            Step::Go(Missed::Alone(Reason::Disabled)) => return,
            Step::Go(_) => Count::Misses,
        };
        self.cache().functions.of(self.instance.number).add(count, 1);
    }

    /// A flight of its own: the remote tier first, where there is one.
    fn lead(&self, lead: Lead, seen: Seen, edge: Edge) -> Missed {
        if remote::of(self.cache(), self).is_none() || lead.token().is_some() {
            return Missed::Leading(lead, edge);
        }
        let call = self.clone();
        Missed::Fetching(Box::pin(async move { (remote::fetch(lead, call, seen).await, edge) }))
    }

    /// What an entry carries that lives for `life` from now.
    pub(crate) fn header(&self, stamp: Stamp, life: u64, measure: impl FnOnce() -> u64) -> Header {
        let life = life.min(self.local()).min(self.cache().settings.local_ttl);
        Header {
            expires: stamp.now.saturating_add(life),
            loaded: stamp.loaded,
            slot: stamp.slot,
            generation: stamp.generation,
            function: self.instance.number,
            weight: self.cache().store.weigh(self.lookup(), measure),
        }
    }

    /// Lands the entry of a run: in memory, or first in the remote tier, and that takes a while.
    pub(crate) fn keep(&self, lead: Lead, life: Option<u64>, entry: Kept) -> Option<Boxed<Kept>> {
        match (life, lead.token()) {
            (Some(life), Some(token)) => {
                return Some(remote::fill(self, lead, token, life, entry));
            }
            (Some(_), None) if self.is_kept_here() => lead.land_stored(self.lookup(), entry),
            _ => lead.land(Outcome::Value(entry)),
        }
        None
    }

    pub(crate) async fn invalidate(&self) -> Result<(), Error> {
        self.cache().invalidate_named(self.text(), Some(self.lookup())).await
    }

    /// Stores what a `put` made, or removes the entry if it made nothing that is stored here.
    pub(crate) async fn put(&self, made: Option<Made>) -> Result<(), Error> {
        let kept =
            self.cache().is_enabled() && self.is_kept_here() && self.cache().remote.is_none();
        match made {
            Some(made) if kept => {
                let name = self.cache().flights.name(self.text());
                Flights::put(self.cache(), &name, self.lookup(), made);
                Ok(())
            }
            _ => self.invalidate().await,
        }
    }
}
