//! The engine: what a call does from step to step. It knows nothing of the function's types, so
//! it is compiled once; what it needs of them it asks a [`Function`].

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{Source, policy::Made};
use crate::{
    cache::{Cache, InScope, Inner},
    counters::Count,
    error::Error,
    key::{Instance, KeyBytes, KeyText, Lookup},
    local::{
        Begun, Flights, Followed, Header, KeptAny, Lead, Mode, Outcome, SharedError, Stamp,
        WaitEdge, follow,
    },
    remote::{self, Fetched, Seen},
};

/// A function with its types, behind the engine. What it has made last is its output.
pub(super) trait Function {
    /// Polls the body; when it is ready there is an output.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Makes the output of an entry, if it can be.
    fn join(&mut self, entry: &KeptAny) -> bool;

    /// Makes the output of another's error, if it can be.
    fn fail(&mut self, shared: &SharedError) -> bool;

    /// Moves the run to a task of its own; gives the lead back if it stays here.
    fn detach(&mut self, call: &Call, lead: Lead) -> Option<Lead>;

    /// Lands the output. If it first goes to the remote tier, what comes back is the entry that
    /// the output is to be made of.
    fn settle(&mut self, call: &Call, lead: Lead) -> Option<Boxed<Arc<KeptAny>>>;
}

/// A call by its key: everything that does not depend on the function's types.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) cache: Cache,
    pub(crate) instance: &'static Instance,
    /// Whether `cache` was given, so that it says nothing about the scope.
    pub(crate) given: bool,
    /// What most calls have nothing of.
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) key: KeyBytes,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// The scope, if that is of another cache.
    pub(crate) scope: Option<Cache>,
    /// The longest life in the memory of the process, if the site does not say it.
    pub(crate) local: Option<u64>,
}

/// Where a call is. Small, and in a box what is not: a call is moved a few times before it is
/// polled, and most end as hits.
#[derive(Default)]
pub(super) enum State {
    Made(Mode),
    /// It starts over, and has been counted as a miss.
    Again(Mode),
    Following(Boxed<(Followed, Edge)>),
    Fetching(Boxed<(Fetched, Edge)>),
    Leading(Lead, Edge),
    /// The run, and with it the lead, is on a task of its own.
    Away(#[expect(dead_code, reason = "held as long as the call waits")] Edge),
    /// Without a flight.
    Alone(Reason),
    Filling(Boxed<Arc<KeptAny>>),
    #[default]
    Done,
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
    Hit(Arc<KeptAny>, u64),
    Go(State),
}

/// Polls a call until it has an output, and says where that came from.
pub(super) fn drive(
    call: &Call,
    state: &mut State,
    function: &mut dyn Function,
    cx: &mut Context<'_>,
) -> Poll<From> {
    loop {
        // Whether there is an output now.
        let (made, from) = match state {
            State::Made(mode) | State::Again(mode) => {
                let step = call.begin(*mode);
                if let State::Made(_) = state {
                    call.count(&step);
                }
                match step {
                    Step::Hit(entry, now) => {
                        (function.join(&entry), From::memory(entry.header.loaded, now))
                    }
                    Step::Go(next) => {
                        *state = next;
                        continue;
                    }
                }
            }
            State::Following(wait) => match ready!(wait.as_mut().poll(cx)) {
                (Followed::Lead(lead), edge) => {
                    *state = call.lead(lead, Seen::Nothing, edge);
                    continue;
                }
                (Followed::Landed(Outcome::Again), _) => {
                    *state = State::Again(Mode::Load);
                    continue;
                }
                (Followed::Overdue, _) => {
                    *state = State::Again(Mode::Overdue);
                    continue;
                }
                (Followed::Landed(outcome), _) => {
                    let made = match outcome {
                        Outcome::Value(entry) => function.join(&entry),
                        Outcome::Error(shared) => function.fail(&shared),
                        Outcome::Unshared | Outcome::Again => false,
                    };
                    (made, From::Shared)
                }
            },
            State::Fetching(fetch) => match ready!(fetch.as_mut().poll(cx)) {
                (Fetched::Value(entry), _) => {
                    let now = call.cache.time.now();
                    (function.join(&entry), From::memory(entry.header.loaded, now))
                }
                (Fetched::Run(lead), edge) => {
                    *state = State::Leading(lead, edge);
                    continue;
                }
            },
            State::Leading(..) => {
                let State::Leading(lead, edge) = std::mem::take(state) else {
                    continue;
                };
                let Some(lead) = function.detach(call, lead) else {
                    *state = State::Away(edge);
                    continue;
                };
                lead.run();
                let scope = InScope::of_run(call, Some(lead.flight()));
                if scope.enter(|| function.poll(cx)).is_pending() {
                    *state = State::Leading(lead, edge);
                    return Poll::Pending;
                }
                lead.ran();
                if let Some(filling) = function.settle(call, lead) {
                    *state = State::Filling(filling);
                    continue;
                }
                (true, From::Function)
            }
            State::Filling(filling) => {
                let entry = ready!(filling.as_mut().poll(cx));
                (function.join(&entry), From::Function)
            }
            State::Away(_) => {
                ready!(function.poll(cx));
                (true, From::Function)
            }
            State::Alone(reason) => {
                let from = match reason {
                    Reason::Disabled => From::Disabled,
                    Reason::Unstored => From::Function,
                };
                let scope = InScope::of_run(call, None);
                ready!(scope.enter(|| function.poll(cx)));
                (true, from)
            }
            // As any future of a function: polled again after it was ready.
            State::Done => panic!("a cached call was polled after completion"),
        };
        if made {
            *state = State::Done;
            return Poll::Ready(from);
        }
        // It runs for itself: an entry of another type stands there, or an error that cannot be
        // shared.
        *state = State::Again(Mode::Alone);
    }
}

impl Call {
    pub(crate) fn text(&self) -> KeyText {
        KeyText::render(self.instance.entity, self.key.as_slice())
    }

    #[inline]
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        self.key.lookup(self.instance.entity.number)
    }

    /// The longest life in the memory of the process; 0 for none.
    fn local(&self) -> u64 {
        let given = self.extra.as_ref().and_then(|extra| extra.local);
        given.unwrap_or(self.instance.site.lifetimes.local)
    }

    /// Whether this call can make an output of the entry.
    pub(crate) fn reads(&self, entry: &KeptAny) -> bool {
        self.instance.reads_none || !entry.is_negative()
    }

    /// Whether values are kept in the memory of the process at all.
    pub(crate) fn is_kept_here(&self) -> bool {
        self.local() > 0
    }

    /// What memory has, if it may be served, and the time.
    #[inline]
    pub(super) fn look(&self, cache: &Inner) -> Option<(Arc<KeptAny>, u64)> {
        if !cache.is_enabled() {
            return None;
        }
        let entry = cache.store.get(self.lookup())?;
        let now = cache.time.now();
        if cache.is_valid(&entry, now) { Some((entry, now)) } else { None }
    }

    /// What is stored, in memory or behind it, and the time.
    pub(super) async fn find(&self) -> Option<(Arc<KeptAny>, u64)> {
        if let Some((entry, now)) = self.look(&self.cache)
            && self.reads(&entry)
        {
            return Some((entry, now));
        }
        let entry = remote::peek(self).await?;
        Some((entry, self.cache.time.now()))
    }

    fn begin(&self, mode: Mode) -> Step {
        if !self.cache.is_enabled() {
            return Step::Go(State::Alone(Reason::Disabled));
        }
        let now = self.cache.time.now();
        match Flights::begin(&self.cache, self, mode, now) {
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
                        None => return Step::Go(State::Alone(Reason::Unstored)),
                    },
                };
                Step::Go(State::Following(Box::pin(async move { (follow(follower).await, edge) })))
            }
        }
    }

    /// Counts a call by its first step, however often it starts over.
    fn count(&self, step: &Step) {
        let count = match step {
            Step::Hit(..) => Count::Hits,
            Step::Go(State::Alone(Reason::Disabled)) => return,
            Step::Go(_) => Count::Misses,
        };
        self.cache.functions.of(self.instance.number).add(count, 1);
    }

    /// A flight of its own: the remote tier first, where there is one.
    fn lead(&self, lead: Lead, seen: Seen, edge: Edge) -> State {
        if remote::of(&self.cache, self).is_none() || lead.token().is_some() {
            return State::Leading(lead, edge);
        }
        let call = self.clone();
        State::Fetching(Box::pin(async move { (remote::fetch(lead, call, seen).await, edge) }))
    }

    /// What an entry carries that lives for `life` from now.
    pub(crate) fn header(&self, stamp: Stamp, life: u64, measure: impl FnOnce() -> u64) -> Header {
        let life = life.min(self.local()).min(self.cache.settings.local_ttl);
        Header {
            expires: stamp.now.saturating_add(life),
            loaded: stamp.loaded,
            slot: stamp.slot,
            generation: stamp.generation,
            function: self.instance.number,
            weight: self.cache.store.weigh(self.lookup(), measure),
        }
    }

    /// Lands the entry of a run: in memory, or first in the remote tier, and that takes a while.
    pub(crate) fn keep(
        &self,
        lead: Lead,
        life: Option<u64>,
        entry: Arc<KeptAny>,
    ) -> Option<Boxed<Arc<KeptAny>>> {
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
        self.cache.invalidate_named(self.text(), Some(self.lookup())).await
    }

    /// Stores what a `put` made, or removes the entry if it made nothing that is stored here.
    pub(crate) async fn put(&self, made: Option<Made>) -> Result<(), Error> {
        let kept = self.cache.is_enabled() && self.is_kept_here() && self.cache.remote.is_none();
        match made {
            Some(made) if kept => {
                let name = self.cache.flights.name(self.text());
                Flights::put(&self.cache, &name, self.lookup(), made);
                Ok(())
            }
            _ => self.invalidate().await,
        }
    }
}
