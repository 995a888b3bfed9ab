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
    Cached, Call, Front, Source,
    engine::{Missed, Why},
    guard::Guard,
    policy::{AnyKnobs, Policy, Rules, known},
    shape::Shape,
    share::{ByType, ShareError},
};
use crate::cache::Running;

/// A body and its policy, erased down to what the function returns.
pub(crate) struct Opened<'a, R> {
    pub(super) run: Run<'a, R>,
    pub(super) policy: Policy<'a, R>,
    /// For a failure, while it is not known whether an old value is in its place. There is none where
    /// there are no old values.
    pub(super) aside: Option<&'a mut Option<R>>,
}

/// What is behind a call, erased down to what its function returns.
pub(super) enum Behind<'a, R> {
    Body(Opened<'a, R>),
    /// It is asked before the call is.
    Guard(Pin<&'a mut (dyn Guard<R> + 'a)>),
}

/// How that is opened.
pub(super) type Open<F> = for<'a> fn(Pin<&'a mut F>) -> Behind<'a, <F as Future>::Output>;

impl<'a, R> Behind<'a, R> {
    pub(super) fn policy(self) -> Policy<'a, R> {
        match self {
            Self::Body(opened) => opened.policy,
            Self::Guard(guard) => guard.policy(),
        }
    }
}

pub(super) enum Run<'a, R> {
    /// Where its caller is polled.
    Here(Pin<&'a mut (dyn Future<Output = R> + 'a)>),
    /// It can move to a task of its own.
    Anywhere(&'a mut (dyn Leave<R> + 'a)),
}

impl<R> Opened<'_, R> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<R> {
        match &mut self.run {
            Run::Here(body) => body.as_mut().poll(cx),
            Run::Anywhere(body) => Pin::new(&mut **body).poll(cx),
        }
    }

    pub(super) fn permit(&mut self, call: &Call, why: Why) -> Option<Running> {
        match &mut self.run {
            Run::Here(_) => None,
            Run::Anywhere(body) => body.permit(call, why),
        }
    }

    pub(super) fn leave(&mut self, call: &Call, missed: Missed, running: Running) {
        if let Run::Anywhere(body) = &mut self.run {
            body.leave(self.policy.knobs, call, missed, running);
        }
    }

    pub(super) fn counts_itself(&mut self) -> bool {
        match &mut self.run {
            Run::Here(_) => false,
            Run::Anywhere(body) => body.counts_itself(),
        }
    }

    pub(super) fn has_left(&self) -> bool {
        match &self.run {
            Run::Here(_) => false,
            Run::Anywhere(body) => body.has_left(),
        }
    }

    pub(super) fn source(&self) -> Source {
        match &self.run {
            Run::Here(_) => Source::Function,
            Run::Anywhere(body) => body.source(),
        }
    }
}

pub(super) trait Leave<R>: Future<Output = R> + Unpin {
    /// Leave to go on without its caller, if it may.
    fn permit(&mut self, call: &Call, why: Why) -> Option<Running>;

    /// Goes on with this on a task of its own; what is polled here from then on is the task.
    fn leave(&mut self, knobs: &AnyKnobs, call: &Call, missed: Missed, running: Running);

    /// Whether it does.
    fn has_left(&self) -> bool;

    /// Whether a run for a flight is counted by who makes it.
    fn counts_itself(&mut self) -> bool {
        false
    }

    /// Where the output of that task came from.
    fn source(&self) -> Source;
}

/// Opens a body that has no knobs of its own.
pub(super) fn open_plain<S, H, B>(body: Pin<&mut B>) -> Behind<'_, B::Output>
where
    S: Shape<Output = B::Output>,
    H: ByType + ShareError<S::Error>,
    B: Future,
{
    let policy = Policy::of::<S, _>(H::PLAIN);
    Behind::Body(Opened { run: Run::Here(body), policy, aside: None })
}

pin_project! {
    /// Runs where its caller is polled.
    #[doc(hidden)]
    pub struct Inline<K, B: Future> {
        pub(crate) knobs: K,
        #[pin]
        pub(crate) body: B,
        aside: Option<B::Output>,
    }
}

impl<K, B: Future> Future for Inline<K, B> {
    type Output = B::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        self.project().body.poll(cx)
    }
}

impl<K, B: Future> Inline<K, B> {
    pub(crate) fn new(knobs: K, body: B) -> Self {
        Self { knobs, body, aside: None }
    }

    pub(super) fn open<S>(self: Pin<&mut Self>) -> Behind<'_, B::Output>
    where
        S: Shape<Output = B::Output>,
        K: Rules<S>,
    {
        let this = self.project();
        Behind::Body(Opened {
            run: Run::Here(this.body),
            policy: Policy::of::<S, K>(this.knobs),
            aside: Some(this.aside),
        })
    }
}

impl<K, B: Future> fmt::Debug for Inline<K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inline")
    }
}

/// Goes on without its caller on a task of its own: when it has to run for a flight, and so survives
/// its caller, or only when there is an old value for that.
#[doc(hidden)]
pub struct Leaving<S, K, B: Future> {
    knobs: K,
    moving: Moving<S, K, B>,
    aside: Option<B::Output>,
}

/// A body that moves, and is pinned only behind a box of its own.
struct Moving<S, K, B: Future> {
    /// Not only when it refreshes.
    always: bool,
    place: Place<B>,
    source: Source,
    rules: PhantomData<fn() -> (S, K)>,
}

enum Place<B: Future> {
    Nowhere(Option<B>),
    /// Where its caller is polled: no flight, or no runtime to spawn on.
    Here(Pin<Box<B>>),
    Task(JoinHandle<(B::Output, Source)>),
}

impl<S, K, B> Leaving<S, K, B>
where
    S: Shape<Output = B::Output> + 'static,
    K: Rules<S>,
    B: Future + Send + 'static,
    B::Output: Send + 'static,
{
    pub(crate) fn always(knobs: K, body: B) -> Self {
        Self::new(knobs, body, true)
    }

    pub(crate) fn refreshing(knobs: K, body: B) -> Self {
        Self::new(knobs, body, false)
    }

    fn new(knobs: K, body: B, always: bool) -> Self {
        let place = Place::Nowhere(Some(body));
        let moving = Moving { always, place, source: Source::Function, rules: PhantomData };
        Self { knobs, moving, aside: None }
    }

    pub(super) fn open(self: Pin<&mut Self>) -> Behind<'_, B::Output> {
        let Self { knobs, moving, aside } = self.get_mut();
        let policy = Policy::of::<S, K>(knobs);
        Behind::Body(Opened { run: Run::Anywhere(moving), policy, aside: Some(aside) })
    }
}

impl<S, K, B: Future> Unpin for Leaving<S, K, B> {}

impl<S, K, B: Future> Unpin for Moving<S, K, B> {}

impl<S, K, B: Future> fmt::Debug for Leaving<S, K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaving")
    }
}

impl<S, K, B: Future> Future for Leaving<S, K, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        Pin::new(&mut self.moving).poll(cx)
    }
}

impl<S, K, B: Future> Future for Moving<S, K, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        let this = &mut *self;
        if let Place::Nowhere(body) = &mut this.place
            && let Some(body) = body.take()
        {
            this.place = Place::Here(Box::pin(body));
        }
        match &mut this.place {
            Place::Nowhere(_) => Poll::Pending,
            Place::Here(body) => body.as_mut().poll(cx),
            Place::Task(task) => match ready!(Pin::new(task).poll(cx)) {
                Ok((output, source)) => {
                    this.source = source;
                    Poll::Ready(output)
                }
                // The function's own panic goes on where it was called.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The caller outlived the runtime that it spawned the run on, and with it the
                // function: there is no output, and to wait for one would never end.
                Err(error) => panic!("a detached run was shut down with its runtime: {error}"),
            },
        }
    }
}

impl<S, K, B> Leave<B::Output> for Moving<S, K, B>
where
    S: Shape<Output = B::Output> + 'static,
    K: Rules<S>,
    B: Future + Send + 'static,
    B::Output: Send + 'static,
{
    fn permit(&mut self, call: &Call, why: Why) -> Option<Running> {
        let background = &call.cache().background;
        match (&self.place, why) {
            (Place::Nowhere(_), Why::Refresh) => background.track_refresh(),
            (Place::Nowhere(_), Why::Run) if self.always => background.track_run(),
            _ => None,
        }
    }

    fn leave(&mut self, knobs: &AnyKnobs, call: &Call, missed: Missed, running: Running) {
        let Place::Nowhere(body) = &mut self.place else {
            return;
        };
        let Some(body) = body.take() else {
            return;
        };
        let knobs: K = *known(knobs);
        let front = Front::going_on::<S>(call.clone(), missed);
        // As it would go on here, but that it has no other place to go to.
        let call = Cached { front, open: Inline::open::<S>, body: Inline::new(knobs, body) };
        let task = running.spawn(async move { call.with_source().await });
        self.place = Place::Task(task);
    }

    fn has_left(&self) -> bool {
        matches!(self.place, Place::Task(_))
    }

    fn source(&self) -> Source {
        self.source
    }
}
