//! The body of a cached function with what its attribute says: what `Cached` polls when the
//! function has to run.
//!
//! Of all that is done with a function, only what is here and `Cached::poll` are compiled for each
//! of them. The rest is compiled once for each type that a function returns, or once.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use super::{
    Call,
    policy::{AnyKnobs, Policy, Rules, Settled, join, known, settle},
    shape::Shape,
    share::{ByType, ShareError},
};
use crate::{cache::InScope, local::Lead};

/// A body and its policy, erased down to what the function returns.
pub(crate) struct Opened<'a, R> {
    pub(super) run: Run<'a, R>,
    pub(super) policy: Policy<'a, R>,
}

/// How a body is opened.
pub(crate) type Open<F> = for<'a> fn(Pin<&'a mut F>) -> Opened<'a, <F as Future>::Output>;

pub(super) enum Run<'a, R> {
    /// Where its caller is polled.
    Here(Pin<&'a mut (dyn Future<Output = R> + 'a)>),
    /// It can move to a task of its own.
    Anywhere(&'a mut (dyn Detach<R> + 'a)),
}

impl<R> Opened<'_, R> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<R> {
        match &mut self.run {
            Run::Here(body) => body.as_mut().poll(cx),
            Run::Anywhere(body) => Pin::new(&mut **body).poll(cx),
        }
    }

    /// Moves the run to a task of its own; gives the lead back if it stays here.
    pub(super) fn detach(&mut self, call: &Call, lead: Lead) -> Option<Lead> {
        match &mut self.run {
            Run::Here(_) => Some(lead),
            Run::Anywhere(body) => body.detach(self.policy.knobs, call, lead),
        }
    }
}

pub(super) trait Detach<R>: Future<Output = R> + Unpin {
    /// Moves the run to a task; gives the lead back where there is no runtime for it.
    fn detach(&mut self, knobs: &AnyKnobs, call: &Call, lead: Lead) -> Option<Lead>;
}

/// Opens a body that has no knobs of its own.
pub(crate) fn open_plain<S, H, B>(body: Pin<&mut B>) -> Opened<'_, B::Output>
where
    S: Shape<Output = B::Output>,
    H: ByType + ShareError<S::Error>,
    B: Future,
{
    Opened { run: Run::Here(body), policy: Policy::of::<S, _>(H::PLAIN) }
}

pin_project! {
    /// Runs where its caller is polled.
    #[derive(Debug)]
    #[doc(hidden)]
    pub struct Inline<K, B> {
        pub(crate) knobs: K,
        #[pin]
        pub(crate) body: B,
    }
}

impl<K, B: Future> Future for Inline<K, B> {
    type Output = B::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        self.project().body.poll(cx)
    }
}

impl<K, B: Future> Inline<K, B> {
    pub(crate) fn open<S>(self: Pin<&mut Self>) -> Opened<'_, B::Output>
    where
        S: Shape<Output = B::Output>,
        K: Rules<S>,
    {
        let this = self.project();
        Opened { run: Run::Here(this.body), policy: Policy::of::<S, K>(this.knobs) }
    }
}

/// Runs on a task of its own once it has to run for a flight, and so survives its caller.
#[doc(hidden)]
pub struct Detached<S, K, B: Future> {
    pub(crate) knobs: K,
    pub(crate) moving: Moving<S, K, B>,
}

/// A body that moves, and is pinned only behind a box of its own.
pub(crate) struct Moving<S, K, B: Future> {
    place: Place<B>,
    rules: PhantomData<fn() -> (S, K)>,
}

enum Place<B: Future> {
    Nowhere(Option<B>),
    /// Where its caller is polled: no flight, or no runtime to spawn on.
    Here(Pin<Box<B>>),
    Task(JoinHandle<B::Output>),
}

impl<S, K, B> Detached<S, K, B>
where
    S: Shape<Output = B::Output> + 'static,
    K: Rules<S>,
    B: Future + Send + 'static,
    B::Output: Send + 'static,
{
    pub(crate) fn new(knobs: K, body: B) -> Self {
        Self { knobs, moving: Moving { place: Place::Nowhere(Some(body)), rules: PhantomData } }
    }

    pub(crate) fn open(self: Pin<&mut Self>) -> Opened<'_, B::Output> {
        let Self { knobs, moving } = self.get_mut();
        Opened { run: Run::Anywhere(moving), policy: Policy::of::<S, K>(knobs) }
    }
}

impl<S, K, B: Future> Unpin for Detached<S, K, B> {}

impl<S, K, B: Future> Unpin for Moving<S, K, B> {}

impl<S, K, B: Future> fmt::Debug for Detached<S, K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detached")
    }
}

impl<S, K, B: Future> Future for Detached<S, K, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        Pin::new(&mut self.moving).poll(cx)
    }
}

impl<S, K, B: Future> Future for Moving<S, K, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        if let Place::Nowhere(body) = &mut self.place
            && let Some(body) = body.take()
        {
            self.place = Place::Here(Box::pin(body));
        }
        match &mut self.place {
            Place::Nowhere(_) => Poll::Pending,
            Place::Here(body) => body.as_mut().poll(cx),
            Place::Task(task) => match ready!(Pin::new(task).poll(cx)) {
                Ok(output) => Poll::Ready(output),
                // The function's own panic goes on where it was called.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The caller outlived the runtime that it spawned the run on, and with it the
                // function: there is no output, and to wait for one would never end.
                Err(error) => panic!("a detached run was shut down with its runtime: {error}"),
            },
        }
    }
}

impl<S, K, B> Detach<B::Output> for Moving<S, K, B>
where
    S: Shape<Output = B::Output> + 'static,
    K: Rules<S>,
    B: Future + Send + 'static,
    B::Output: Send + 'static,
{
    fn detach(&mut self, knobs: &AnyKnobs, call: &Call, lead: Lead) -> Option<Lead> {
        let Place::Nowhere(body) = &mut self.place else {
            return Some(lead);
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Some(lead);
        };
        let Some(running) = call.cache().background.track() else {
            return Some(lead);
        };
        let Some(body) = body.take() else {
            return Some(lead);
        };
        let knobs: K = *known(knobs);
        let call = call.clone();
        self.place = Place::Task(runtime.spawn(async move {
            let _running = running;
            let (lead, output) = run(&call, lead, body).await;
            match settle::<S, K>(&knobs, &call, lead, output) {
                Settled::Done(output) => output,
                // It has just been kept as what this call reads.
                Settled::Filling(filling) => {
                    join::<S>(filling.await.value).unwrap_or_else(|| unreachable!())
                }
            }
        }));
        None
    }
}

/// Runs a body for a flight.
async fn run<B: Future>(call: &Call, lead: Lead, body: B) -> (Lead, B::Output) {
    let scope = InScope::of_run(call, Some(lead.flight()));
    lead.run();
    let output = scope.run(body).await;
    lead.ran();
    (lead, output)
}
