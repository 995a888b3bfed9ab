//! The call: a future that is also the handle of its entry.

mod batch;
mod body;
mod build;
mod denial;
mod engine;
mod entry;
mod fresh;
mod guard;
mod holds;
mod outcome;
mod policy;
mod shape;
mod share;
mod span;
mod warm;

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;

pub use batch::{Batch, BatchBuilder, EachOf, EachShape, batch, batch_on, unexpanded_batch};
pub use build::{
    CallBuilder, NoPart, Part, PartOf, call, call_on, path_of, type_name_of, unexpanded,
};
pub use entry::{Entry, IntoEntry, Target};
pub use holds::Holds;
pub use outcome::{
    CloneOfOutput, FromDenied, FromUnheld, Outcome, Success, clone_of, denied, of, unheld,
};
pub(crate) use policy::{Life, Made};
pub use shape::{Cacheable, Output, ShapeOf};
pub(crate) use shape::{Codec, Fallible, HasError, InArc, InLabel, Keep, Shape};
pub(crate) use share::ShareError;
pub use share::{AnyError, ClonedError, Shared, TextError};
pub use warm::{Progress, WarmReport, warm};

use crate::{
    cache::Running,
    error::Error,
    local::{Kept, Lead, Mode, SharedError},
};
use body::{Behind, Open, Opened};
pub(crate) use engine::Call;
pub(crate) use fresh::Recalled;

use engine::{Function, Missed, Owned, Phase, Settling, State, Why, drive, drop_cold, source};
use entry::Put;
use policy::{Policy, Settled, hit};

pin_project! {
    /// A call of a cached function: a future of the function's output, and the handle of its
    /// entry.
    ///
    /// Awaiting it is the cached call. The verbs name the same entry without spelling its key,
    /// and take the call instead of running it: `get_user(42).invalidate().await`.
    ///
    /// The cache is chosen when the call is made, and not when it is awaited: the one of the
    /// attribute's `cache`, else of the task's [`Cache::scope`](crate::Cache::scope), else the installed one.
    ///
    /// Dropping the call is always safe. If it ran the function, one of the callers that waited
    /// for it takes over.
    #[must_use = "a cached call does nothing unless awaited"]
    pub struct Cached<F: Future> {
        front: Front<F::Output>,
        open: Open<F>,
        #[pin]
        body: F,
    }
}

/// All of a call but its body, and all that a hit needs.
pub(crate) struct Front<R> {
    pub(crate) call: Call,
    hit: Hit<R>,
    state: State,
}

impl<R> Drop for Front<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(owned) = Owned::of(&mut self.call, &mut self.state) {
            drop_cold(owned);
        }
    }
}

/// Looks into memory.
type Hit<R> = fn(&Call) -> Option<R>;

/// Where the value of a call came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The memory of the process.
    Memory {
        /// Since the run began that the value comes from.
        age: Duration,
    },
    /// Redis.
    Redis {
        /// Since the load began that the value comes from, in whichever process.
        age: Duration,
    },
    /// Memory or Redis, past the life of the value: somebody refreshes it, or has failed to.
    Stale {
        /// Since the load began that the value comes from, in whichever process.
        age: Duration,
    },
    /// A run that another caller had under way.
    Shared,
    /// The function: this call ran it.
    Function,
    /// The function, because the cache is switched off.
    Disabled,
    /// A guard above the cache: it has denied the call, which was not looked for and not run.
    Denied,
}

impl<F: Future> Cached<F> {
    /// The key, without the service: `user:42`. What [`Cache::invalidate`](crate::Cache::invalidate) takes.
    pub fn key(&self) -> String {
        self.front.call.text().to_text()
    }

    /// What is stored, without running the function: `None` if nothing is, `Some(None)` for a
    /// stored `None`. Also a stale value, where a call would be served it at once.
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
        let (entry, _) = self.front.call.find().await?;
        let mut call = pin!(self);
        (call.as_mut().behind().policy().join)(entry.value)
    }

    /// Runs the function now and stores what it returns. Never joins a run that began earlier,
    /// and such a run stores nothing any more; the old value is served meanwhile.
    ///
    /// An `Err` leaves the old value in place. What the function returns and would not store removes it.
    pub fn refresh(mut self) -> impl Future<Output = F::Output> {
        self.front.state = State::made(Mode::Refresh);
        self
    }

    /// Runs the function; neither reads nor stores.
    pub fn uncached(mut self) -> impl Future<Output = F::Output> {
        self.front.state = State::alone();
        self
    }

    /// Removes the entry. Once this has returned `Ok`, no call returns a value from before: a run
    /// under way gives its result to those who wait for it already, and stores nothing.
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: it did not land in time, or Redis refused it. Then this process
    /// does not serve the key any more, and repeats the invalidation until it has landed.
    pub async fn invalidate(self) -> Result<(), Error> {
        self.front.call.invalidate().await
    }

    /// Stores a value as if the function had returned it: the output, or the value inside of it.
    /// A run that is under way stores nothing any more.
    ///
    /// What the function would not store (an `Err`, a `None` without `none_ttl`, a value that
    /// `cache_if` rejects) removes the entry, and so does a value if somebody else changes the entry
    /// at that moment. It may be older than a change that the caller did not see: where that matters,
    /// put it under a hold, which is what [`#[updates]`](attr.updates.html) does.
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
    /// None in memory. With Redis: the value was not stored, because Redis did not answer in time,
    /// refused it, or it has no stored form. The entry is removed, or will be: until it is, this process
    /// does not serve it.
    pub async fn put<V, M>(self, value: V) -> Result<(), Error>
    where
        F::Output: Holds<V, M>,
    {
        let (call, put) = self.taken();
        let made = put.make(&call, F::Output::holding(value));
        call.put(made).await
    }

    /// What is left of the life of the stored value; `None` if there is none, zero if it is served past its
    /// life.
    pub async fn expires_in(self) -> Option<Duration> {
        let (entry, now) = self.front.call.find().await?;
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
        std::future::poll_fn(|cx| call.as_mut().poll_with_source(cx)).await
    }

    /// The entry alone: it owns its key, so the arguments of the call are free again.
    pub fn into_entry(self) -> Entry<F::Output> {
        let (call, put) = self.taken();
        Entry::new(call, put)
    }

    fn taken(self) -> (Call, Put<F::Output>) {
        let mut call = pin!(self);
        let put = call.as_mut().behind().policy().put();
        (call.project().front.call.clone(), put)
    }

    /// Out of line, so that a hit keeps nothing in registers for it.
    #[cold]
    #[inline(never)]
    fn miss(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.front.miss_output((this.open)(this.body), cx)
    }

    fn behind(self: Pin<&mut Self>) -> Behind<'_, F::Output> {
        let this = self.project();
        (this.open)(this.body)
    }

    fn poll_with_source(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(F::Output, Source)> {
        let this = self.project();
        let behind = (this.open)(this.body);
        if let Behind::Body(opened) = &behind
            && let Some(found) = this.front.hit_with_source(&opened.policy)
        {
            return Poll::Ready(found);
        }
        this.front.miss(behind, cx)
    }
}

impl<R> Front<R> {
    #[inline]
    pub(crate) fn new<S: Shape<Output = R>>(call: Call) -> Self {
        Self { call, hit: hit::<S>, state: State::made(Mode::Load) }
    }

    /// Of a call that goes on somewhere else.
    fn going_on<S: Shape<Output = R>>(call: Call, missed: Missed) -> Self {
        Self::in_state::<S>(call, State::going_on(missed))
    }

    fn in_state<S: Shape<Output = R>>(call: Call, state: State) -> Self {
        Self { call, hit: hit::<S>, state }
    }

    /// Of a call that a guard is asked about first: memory is not looked into before.
    fn of_guarded(call: Call) -> Self {
        Self { call, hit: |_| None, state: State::made(Mode::Load) }
    }

    /// Begins its flight, if it was held back.
    fn claim(&mut self) {
        self.state.claim(&self.call);
    }

    /// What a call is most of the time: an entry in memory that it can read.
    #[inline]
    fn hit(&mut self) -> Option<R> {
        if self.state.phase != Phase::Made(Mode::Load) {
            return None;
        }
        let output = (self.hit)(&self.call);
        if output.is_some() {
            self.state.phase = Phase::Counted;
        }
        output
    }

    /// As `hit`, and where the value comes from.
    fn hit_with_source(&mut self, policy: &Policy<'_, R>) -> Option<(R, Source)> {
        if self.state.phase != Phase::Made(Mode::Load) {
            return None;
        }
        let entry = self.call.hit()?;
        let source = source(&entry, self.call.cache().time.now());
        let Some(output) = (policy.join)(entry.value) else {
            self.call.was_no_hit();
            return None;
        };
        self.state.phase = Phase::Counted;
        Some((output, source))
    }

    #[cold]
    fn miss(&mut self, behind: Behind<'_, R>, cx: &mut Context<'_>) -> Poll<(R, Source)> {
        let Self { call, state, .. } = self;
        let opened = match behind {
            Behind::Body(opened) => opened,
            Behind::Guard(guard) => return guard.poll(state, cx),
        };
        let mut function = Typed { opened, output: None };
        let source = ready!(drive(call, state, &mut function, cx));
        match function.output {
            Some(output) => Poll::Ready((output, source)),
            // The engine is ready when the function said that it has an output.
            None => unreachable!(),
        }
    }

    #[cold]
    fn miss_output(&mut self, behind: Behind<'_, R>, cx: &mut Context<'_>) -> Poll<R> {
        self.miss(behind, cx).map(|(output, _)| output)
    }
}

/// A function as the engine sees it, with the output that it made last.
struct Typed<'a, R> {
    opened: Opened<'a, R>,
    output: Option<R>,
}

impl<R> Function for Typed<'_, R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.output = Some(ready!(self.opened.poll(cx)));
        Poll::Ready(())
    }

    fn join(&mut self, entry: Kept) -> bool {
        self.output = (self.opened.policy.join)(entry.value);
        self.output.is_some()
    }

    fn fail(&mut self, shared: &SharedError) -> bool {
        self.output = (self.opened.policy.fail)(shared);
        self.output.is_some()
    }

    fn permit(&mut self, call: &Call, why: Why) -> Option<Running> {
        self.opened.permit(call, why)
    }

    fn leave(&mut self, call: &Call, missed: Missed, running: Running) {
        self.opened.leave(call, missed, running);
    }

    fn has_left(&self) -> bool {
        self.opened.has_left()
    }

    fn source(&self) -> Source {
        self.opened.source()
    }

    fn counts_itself(&mut self) -> bool {
        self.opened.counts_itself()
    }

    fn settle(&mut self, call: &Call, lead: Lead) -> Settling {
        // The engine settles what it has just polled.
        let Some(output) = self.output.take() else {
            return Settling::Done;
        };
        match (self.opened.policy.settle(call, lead, output), &mut self.opened.aside) {
            (Settled::Filling(filling), _) => Settling::Filling(filling),
            (Settled::Failing(output, falling_back), Some(aside)) => {
                **aside = Some(output);
                Settling::Failing(falling_back)
            }
            (Settled::Done(output) | Settled::Failing(output, _), _) => {
                self.output = Some(output);
                Settling::Done
            }
        }
    }

    fn keep_output(&mut self) {
        if let Some(aside) = &mut self.opened.aside {
            self.output = aside.take();
        }
    }

    #[cfg(feature = "tracing")]
    fn is_failure(&self) -> bool {
        self.output.as_ref().is_some_and(self.opened.policy.is_failure)
    }
}

impl<F: Future> Future for Cached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.as_mut().project().front.hit() {
            Some(output) => Poll::Ready(output),
            None => self.miss(cx),
        }
    }
}

impl<F: Future> fmt::Debug for Cached<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("key", &self.key()).finish_non_exhaustive()
    }
}
