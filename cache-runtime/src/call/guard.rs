//! A guard above a cached function: awaiting the call asks the guard first, and the verbs of its entry
//! ask nobody.
//!
//! What an attribute emits for a guard is the same code wherever the guard stands, an `async` block that
//! runs what is below it. Here that is the call, in a box that moves into the block once it is awaited.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{Cached, Front, Source, body::Behind, engine::State, policy::Policy};

/// A guard with the call that is below it, erased down to what the function returns.
pub(super) trait Guard<R> {
    /// Asks it, and then the call for what the state says.
    fn poll(self: Pin<&mut Self>, state: &mut State, cx: &mut Context<'_>) -> Poll<(R, Source)>;

    /// That of the call, which is not awaited yet.
    fn policy(self: Pin<&mut Self>) -> Policy<'_, R>;
}

pin_project! {
    /// A guard `G` with the call `C` that is below it; `S` says where the output came from.
    #[doc(hidden)]
    pub struct Guarded<C, G, W, S> {
        // Until it is awaited.
        waits: Option<(Pin<Box<C>>, G)>,
        #[pin]
        way: Option<W>,
        source: Arc<OnceLock<S>>,
    }
}

/// What a guard runs.
#[doc(hidden)]
#[must_use = "a cached call does nothing unless awaited"]
pub struct Below<C, S> {
    pub(super) call: Pin<Box<C>>,
    pub(super) source: Arc<OnceLock<S>>,
}

impl<C, G, W, S> Guarded<C, G, W, S> {
    pub(super) fn new(call: C, guard: G) -> Self {
        let waits = Some((Box::pin(call), guard));
        Self { waits, way: None, source: Arc::default() }
    }

    /// The call, as long as it is not awaited.
    pub(super) fn call(self: Pin<&mut Self>) -> Option<Pin<&mut C>> {
        self.project().waits.as_mut().map(|(call, _)| call.as_mut())
    }

    /// Where the output came from, if the call was run.
    pub(super) fn source(&self) -> Option<&S> {
        self.source.get()
    }
}

impl<C, G, W, S> Future for Guarded<C, G, W, S>
where
    G: FnOnce(Below<C, S>) -> W,
    W: Future,
{
    type Output = W::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        let mut this = self.project();
        if let Some((call, guard)) = this.waits.take() {
            let source = Arc::clone(this.source);
            this.way.set(Some(guard(Below { call, source })));
        }
        match this.way.as_pin_mut() {
            Some(way) => way.poll(cx),
            // It waits, or has found its way.
            None => unreachable!(),
        }
    }
}

impl<F, G, W> Guard<F::Output> for Guarded<Cached<F>, G, W, Source>
where
    F: Future,
    G: FnOnce(Below<Cached<F>, Source>) -> W,
    W: Future<Output = F::Output>,
{
    fn poll(
        mut self: Pin<&mut Self>,
        state: &mut State,
        cx: &mut Context<'_>,
    ) -> Poll<(F::Output, Source)> {
        if let Some(call) = self.as_mut().call() {
            call.in_state(state);
        }
        let output = ready!(Future::poll(self.as_mut(), cx));
        let source = self.source().copied().unwrap_or(Source::Denied);
        Poll::Ready((output, source))
    }

    fn policy(self: Pin<&mut Self>) -> Policy<'_, F::Output> {
        match self.call() {
            Some(call) => call.behind().policy(),
            // The verbs take a call that is not awaited.
            None => unreachable!(),
        }
    }
}

impl<F: Future> Future for Below<Cached<F>, Source> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (output, source) = ready!(self.call.as_mut().poll_with_source(cx));
        // It is ready once.
        let _ = self.source.set(source);
        Poll::Ready(output)
    }
}

impl<F: Future> Cached<F> {
    /// Puts a guard above: what awaits the call runs what it makes, and that the call.
    #[doc(hidden)]
    pub fn guarded<G, W>(self, guard: G) -> Cached<Guarded<Self, G, W, Source>>
    where
        G: FnOnce(Below<Self, Source>) -> W,
        W: Future<Output = F::Output>,
    {
        let front = Front::of_guarded(self.front.call.clone());
        Cached { front, open: |body| Behind::Guard(body), body: Guarded::new(self, guard) }
    }

    /// It is awaited for what its guard was.
    fn in_state(self: Pin<&mut Self>, state: &mut State) {
        let front = self.project().front;
        std::mem::swap(&mut front.state, state);
    }
}

impl<C, G, W, S> fmt::Debug for Guarded<C, G, W, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

impl<C, S> fmt::Debug for Below<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Below")
    }
}
