//! The call: a future that is also the handle of its entry.

mod body;
mod build;
mod entry;
mod holds;
mod policy;
mod shape;
mod share;

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;

pub use build::{CallBuilder, NoPart, Part, PartOf, call, path_of, type_name_of, unexpanded};
pub use entry::{Entry, IntoEntry};
pub use holds::Holds;
pub(crate) use policy::Life;
pub(crate) use shape::{Codec, Fallible, Shape};
pub use shape::{
    Cacheable, FallibleOptionalOutput, FallibleOutput, OptionalOutput, Output, PlainOutput,
};
pub use share::{AnyError, ClonedError, Shared, TextError};

use crate::{
    cache::{Cache, InScope, Inner},
    error::Error,
    key::{Instance, KeyBytes, KeyText},
    local::{
        Begun, Flights, Followed, Header, KeptAny, Lead, Mode, Outcome, SharedError, Stamp,
        WaitEdge, follow,
    },
    remote::{self, Fetched, Seen},
};
use entry::Put;
use policy::{Made, Settled};

pin_project! {
    /// A call of a cached function: a future of the function's output, and the handle of its
    /// entry.
    ///
    /// Awaiting it is the cached call. The verbs name the same entry without spelling its key,
    /// and take the call instead of running it: `get_user(42).invalidate().await`.
    ///
    /// The cache is chosen when the call is made, and not when it is awaited: the one of the
    /// attribute's `cache`, else of the task's [`Cache::scope`], else the installed one.
    ///
    /// Dropping the call is always safe. If it ran the function, one of the callers that waited
    /// for it takes over.
    #[must_use = "a cached call does nothing unless awaited"]
    pub struct Cached<F: Future> {
        call: Call,
        // Apart from the rest, for a hit needs no more.
        join: fn(&KeptAny) -> Option<F::Output>,
        ops: fn() -> Ops<F>,
        state: State,
        #[pin]
        body: F,
    }
}

/// What the engine needs of a function's types, erased down to the type of its future.
pub(crate) struct Ops<F: Future> {
    /// The copy of an error that a follower returns.
    fail: fn(&SharedError) -> Option<F::Output>,
    settle: fn(&F, &Call, Lead, F::Output) -> Settled<F::Output>,
    entry: fn(&F) -> Put<F::Output>,
    /// Moves the run to a task of its own; gives the lead back if it cannot.
    detach: Option<fn(Pin<&mut F>, &Call, Lead) -> Option<Lead>>,
}

/// A call by its key: everything that does not depend on the function's types.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Call {
    pub(crate) cache: Cache,
    pub(crate) instance: &'static Instance,
    /// Whether `cache` was given, so that it says nothing about the scope.
    pub(crate) given: bool,
    /// The scope, if that is of another cache.
    pub(crate) scope: Option<Box<Cache>>,
    /// In nanoseconds.
    pub(crate) ttl: u64,
    /// The longest life in the memory of the process; 0 for none.
    pub(crate) local: u64,
    pub(crate) key: KeyBytes,
}

/// Where a call is. Small, and in a box what is not: a call is moved a few times before it is
/// polled, and most end as hits.
enum State {
    Made(Mode),
    Following(Boxed<(Followed, Option<WaitEdge>)>),
    Fetching(Boxed<(Fetched, Option<WaitEdge>)>),
    Leading(Box<Leading>),
    /// The run, and with it the lead, is on a task of its own.
    Away(#[expect(dead_code, reason = "held as long as the call waits")] Option<WaitEdge>),
    /// Without a flight.
    Alone(Reason),
    Filling(Boxed<Arc<KeptAny>>),
    Done,
}

struct Leading {
    lead: Lead,
    /// The run that this call is made in waits for it.
    edge: Option<WaitEdge>,
}

/// Why a call runs without a flight.
#[derive(Clone, Copy)]
enum Reason {
    Disabled,
    /// `uncached()`, or to wait for another's run would be to wait for itself.
    Unstored,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where the value of a call came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The memory of the process.
    Memory {
        /// Since the run began that the value comes from.
        age: Duration,
    },
    /// A run that another caller had under way.
    Shared,
    /// The function: this call ran it.
    Function,
    /// The function, because the cache is switched off.
    Disabled,
}

/// A source whose age is a duration only if somebody asks: to divide is a tenth of a hit.
#[derive(Clone, Copy)]
enum From {
    Memory { nanos: u64 },
    Shared,
    Function,
    Disabled,
}

impl From {
    #[inline]
    fn memory(entry: &KeptAny, now: u64) -> Self {
        Self::Memory { nanos: now.saturating_sub(entry.header.loaded) }
    }

    fn source(self) -> Source {
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

impl<F: Future> Cached<F> {
    pub(crate) fn new(
        call: Call,
        join: fn(&KeptAny) -> Option<F::Output>,
        ops: fn() -> Ops<F>,
        body: F,
    ) -> Self {
        Self { call, join, ops, state: State::Made(Mode::Load), body }
    }

    /// The key, without the service: `user:42`. What [`Cache::invalidate`] takes.
    pub fn key(&self) -> String {
        self.call.text().to_text()
    }

    /// What is stored, without running the function: `None` if nothing is, `Some(None)` for a
    /// stored `None`.
    ///
    /// ```
    /// # use larder::{Cache, cached};
    /// #[cached(ttl = 60, key = "user:{id}")]
    /// async fn get_user(id: u64) -> Result<String, String> { Ok(format!("user {id}")) }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() { Cache::memory().scope(async {
    /// assert_eq!(get_user(42).peek().await, None);
    /// get_user(42).await.unwrap();
    /// assert_eq!(get_user(42).peek().await, Some(Ok("user 42".to_owned())));
    /// # }).await }
    /// ```
    pub async fn peek(self) -> Option<F::Output> {
        let (entry, _) = self.call.look(&self.call.cache)?;
        (self.join)(&entry)
    }

    /// Runs the function now and stores what it returns. Never joins a run that began earlier,
    /// and such a run stores nothing any more; the old value is served meanwhile.
    ///
    /// An `Err` leaves the old value in place.
    pub fn refresh(mut self) -> impl Future<Output = F::Output> {
        self.state = State::Made(Mode::Refresh);
        self
    }

    /// Runs the function; neither reads nor stores.
    pub fn uncached(mut self) -> impl Future<Output = F::Output> {
        self.state = State::Alone(Reason::Unstored);
        self
    }

    /// Removes the entry. Once this has returned `Ok`, no call returns a value from before: a run
    /// under way gives its result to those who wait for it already, and stores nothing.
    ///
    /// # Errors
    ///
    /// None in memory.
    pub async fn invalidate(self) -> Result<(), Error> {
        self.call.invalidate().await
    }

    /// Stores a value as if the function had returned it: the output, or the value inside of it.
    /// A run that is under way stores nothing any more.
    ///
    /// What the function would not store (an `Err`, a `None` without `none_ttl`, a value that
    /// `cache_if` rejects) removes the entry. The value may be older than a change that the
    /// caller did not see.
    ///
    /// ```
    /// # use larder::{Cache, cached};
    /// #[cached(ttl = 60, key = "user:{id}")]
    /// async fn get_user(id: u64) -> Result<String, String> { Err("not called".into()) }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder::Error> { Cache::memory().scope(async {
    /// get_user(42).put("Ada".to_owned()).await?;
    /// assert_eq!(get_user(42).await, Ok("Ada".to_owned()));
    /// # Ok(()) }).await }
    /// ```
    ///
    /// # Errors
    ///
    /// None in memory.
    pub async fn put<V, M>(self, value: V) -> Result<(), Error>
    where
        F::Output: Holds<V, M>,
    {
        let put = ((self.ops)().entry)(&self.body);
        let made = put.make(&self.call, F::Output::holding(value));
        self.call.put(made).await
    }

    /// How long the stored value will be served; `None` if there is none.
    pub async fn expires_in(self) -> Option<Duration> {
        let (entry, now) = self.call.look(&self.call.cache).filter(|(entry, _)| self.call.reads(entry))?;
        Some(Duration::from_nanos(entry.header.expires.saturating_sub(now)))
    }

    /// The output, and where it came from.
    ///
    /// ```
    /// # use larder::{Cache, Source, cached};
    /// #[cached(ttl = 60, key = "answer")]
    /// async fn answer() -> u32 { 42 }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() { Cache::memory().scope(async {
    /// assert_eq!(answer().with_source().await, (42, Source::Function));
    /// assert!(matches!(answer().with_source().await, (42, Source::Memory { .. })));
    /// # }).await }
    /// ```
    pub async fn with_source(self) -> (F::Output, Source) {
        let mut call = pin!(self);
        let (output, from) = std::future::poll_fn(|cx| call.as_mut().poll_with_source(cx)).await;
        (output, from.source())
    }

    /// The entry alone: it owns its key, so the arguments of the call are free again.
    pub fn into_entry(self) -> Entry<F::Output> {
        let put = ((self.ops)().entry)(&self.body);
        Entry::new(self.call, put)
    }

    #[inline]
    fn poll_with_source(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(F::Output, From)> {
        let this = self.as_ref();
        let cache: &Inner = &this.call.cache;
        if let State::Made(Mode::Load) = this.state
            && let Some((entry, now)) = this.call.look(cache)
            && let Some(output) = (this.join)(&entry)
        {
            cache.functions.of(this.call.instance.number).hit();
            // Without a drop of what it replaces: there is nothing in it.
            std::mem::forget(std::mem::replace(self.project().state, State::Done));
            return Poll::Ready((output, From::memory(&entry, now)));
        }
        self.poll_miss(cx)
    }

    #[cold]
    fn poll_miss(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(F::Output, From)> {
        let mut this = self.project();
        loop {
            // An output, or nothing that this call can use.
            let (output, source) = match this.state {
                State::Made(mode) => match this.call.begin(*mode) {
                    Step::Hit(entry, now) => {
                        this.call.cache.functions.of(this.call.instance.number).hit();
                        ((this.join)(&entry), From::memory(&entry, now))
                    }
                    Step::Go(state) => {
                        *this.state = state;
                        continue;
                    }
                },
                State::Following(wait) => match ready!(wait.as_mut().poll(cx)) {
                    (Followed::Lead(lead), edge) => {
                        *this.state = this.call.lead(lead, Seen::Nothing, edge);
                        continue;
                    }
                    (Followed::Overdue | Followed::Landed(Outcome::Again), _) => {
                        *this.state = State::Made(Mode::Load);
                        continue;
                    }
                    (Followed::Landed(outcome), _) => {
                        let output = match outcome {
                            Outcome::Value(entry) => (this.join)(&entry),
                            Outcome::Error(shared) => ((this.ops)().fail)(&shared),
                            Outcome::Unshared | Outcome::Again => None,
                        };
                        (output, From::Shared)
                    }
                },
                State::Fetching(fetch) => match ready!(fetch.as_mut().poll(cx)) {
                    (Fetched::Value(entry), _) => {
                        let now = this.call.cache.time.now();
                        ((this.join)(&entry), From::memory(&entry, now))
                    }
                    (Fetched::Run(lead), edge) => {
                        *this.state = State::Leading(Box::new(Leading { lead, edge }));
                        continue;
                    }
                },
                State::Leading(_) => {
                    let State::Leading(mut leading) = std::mem::take(this.state) else { continue };
                    if let Some(detach) = (this.ops)().detach {
                        let Leading { lead, edge } = *leading;
                        match detach(this.body.as_mut(), this.call, lead) {
                            Some(lead) => *leading = Leading { lead, edge },
                            None => {
                                *this.state = State::Away(edge);
                                continue;
                            }
                        }
                    }
                    leading.lead.run();
                    let scope = InScope::of_run(this.call, Some(leading.lead.flight()));
                    let polled = scope.enter(|| this.body.as_mut().poll(cx));
                    let Poll::Ready(output) = polled else {
                        *this.state = State::Leading(leading);
                        return Poll::Pending;
                    };
                    leading.lead.ran();
                    let body = this.body.as_ref().get_ref();
                    match ((this.ops)().settle)(body, this.call, leading.lead, output) {
                        Settled::Done(output) => (Some(output), From::Function),
                        Settled::Filling(filling) => {
                            *this.state = State::Filling(filling);
                            continue;
                        }
                    }
                }
                State::Filling(filling) => {
                    let entry = ready!(filling.as_mut().poll(cx));
                    ((this.join)(&entry), From::Function)
                }
                State::Away(_) => (Some(ready!(this.body.as_mut().poll(cx))), From::Function),
                State::Alone(reason) => {
                    let source = match reason {
                        Reason::Disabled => From::Disabled,
                        Reason::Unstored => From::Function,
                    };
                    let scope = InScope::of_run(this.call, None);
                    (Some(ready!(scope.enter(|| this.body.as_mut().poll(cx)))), source)
                }
                // As any future of a function: polled again after it was ready.
                State::Done => panic!("a cached call was polled after completion"),
            };
            *this.state = State::Done;
            if let Some(output) = output {
                return Poll::Ready((output, source));
            }
            // It runs for itself: an entry of another type stands there, or an error that cannot
            // be shared.
            *this.state = State::Made(Mode::Alone);
        }
    }
}

impl<F: Future> Future for Cached<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.poll_with_source(cx).map(|(output, _)| output)
    }
}

impl<F: Future> fmt::Debug for Cached<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Done
    }
}

impl Call {
    pub(crate) fn text(&self) -> KeyText {
        KeyText::render(self.instance.entity, self.key.parts())
    }

    /// Whether this call can make an output of the entry.
    pub(crate) fn reads(&self, entry: &KeptAny) -> bool {
        self.instance.reads_none || !entry.is_negative()
    }

    /// Whether values are kept in the memory of the process at all.
    pub(crate) fn is_kept_here(&self) -> bool {
        self.local > 0
    }

    /// What memory has, if it may be served, and the time.
    #[inline]
    fn look(&self, cache: &Inner) -> Option<(Arc<KeptAny>, u64)> {
        if !cache.is_enabled() {
            return None;
        }
        let entry = cache.store.get(&self.key)?;
        let now = cache.time.now();
        if cache.is_valid(&entry, now) { Some((entry, now)) } else { None }
    }

    fn begin(&self, mode: Mode) -> Step {
        if !self.cache.is_enabled() {
            return Step::Go(State::Alone(Reason::Disabled));
        }
        let now = self.cache.time.now();
        match Flights::begin(&self.cache, self, mode, now) {
            Begun::Hit(entry) => Step::Hit(entry, now),
            Begun::Lead(lead) => {
                self.missed();
                let seen = if mode == Mode::Refresh { Seen::Refresh } else { Seen::Nothing };
                let edge = InScope::current_run()
                    .and_then(|run| WaitEdge::waiting(&run, lead.flight()));
                Step::Go(self.lead(lead, seen, edge))
            }
            Begun::Follow(follower) => {
                self.missed();
                let edge = match InScope::current_run() {
                    None => None,
                    Some(run) => match WaitEdge::waiting(&run, follower.flight()) {
                        Some(edge) => Some(edge),
                        // The run that this call is made in would wait for itself.
                        None => return Step::Go(State::Alone(Reason::Unstored)),
                    },
                };
                let call = self.clone();
                Step::Go(State::Following(Box::pin(async move {
                    (follow(follower, call).await, edge)
                })))
            }
        }
    }

    fn missed(&self) {
        self.cache.functions.of(self.instance.number).misses.fetch_add(1, Relaxed);
    }

    /// A flight of its own: the remote tier first, where there is one.
    fn lead(&self, lead: Lead, seen: Seen, edge: Option<WaitEdge>) -> State {
        if remote::of(&self.cache, self).is_none() || lead.token().is_some() {
            return State::Leading(Box::new(Leading { lead, edge }));
        }
        let call = self.clone();
        State::Fetching(Box::pin(async move { (remote::fetch(lead, call, seen).await, edge) }))
    }

    /// What an entry carries that lives for `life` from now.
    pub(crate) fn header(&self, stamp: Stamp, life: u64, measure: impl FnOnce() -> u64) -> Header {
        let life = life.min(self.local).min(self.cache.settings.local_ttl);
        Header {
            expires: self.cache.time.now().saturating_add(life),
            loaded: stamp.loaded,
            slot: stamp.slot,
            generation: stamp.generation,
            function: self.instance.number,
            weight: self.cache.store.weigh(&self.key, measure),
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
            (Some(_), None) if self.is_kept_here() => lead.land_stored(&self.key, entry),
            _ => lead.land(Outcome::Value(entry)),
        }
        None
    }

    pub(crate) async fn invalidate(&self) -> Result<(), Error> {
        self.cache.invalidate_named(self.text(), Some(&self.key)).await
    }

    /// Stores what a `put` made, or removes the entry if it made nothing that is stored here.
    pub(crate) async fn put(&self, made: Option<Made>) -> Result<(), Error> {
        let kept = self.cache.is_enabled() && self.is_kept_here() && self.cache.remote.is_none();
        match made {
            Some(made) if kept => {
                let name = self.cache.flights.name(self.text());
                Flights::put(&self.cache, &name, &self.key, made);
                Ok(())
            }
            _ => self.invalidate().await,
        }
    }
}
