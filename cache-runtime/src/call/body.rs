//! The body of a cached function with the policy of its attribute: what `Cached` polls when the
//! function has to run.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use super::{
    Call, Ops,
    entry::Put,
    policy::{Settle, Settled, join, settle},
    shape::Shape,
};
use crate::{cache::InScope, local::Lead};

pin_project! {
    /// Runs where its caller is polled.
    #[derive(Debug)]
    #[doc(hidden)]
    pub struct Inline<P, B> {
        pub(crate) policy: P,
        #[pin]
        pub(crate) body: B,
    }
}

impl<P, B: Future> Future for Inline<P, B> {
    type Output = B::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        self.project().body.poll(cx)
    }
}

impl<P, B> Inline<P, B>
where
    P: Settle,
    B: Future<Output = <P::Shape as Shape>::Output>,
{
    pub(crate) fn ops() -> Ops<Self> {
        Ops {
            fail: |shared| P::copy(shared).map(P::Shape::error),
            settle: |body, call, lead, output| settle(&body.policy, call, lead, output),
            entry: |body| Put::of(&body.policy),
            detach: None,
        }
    }
}

/// Runs on a task of its own once it has to run for a flight, and so survives its caller.
#[doc(hidden)]
pub struct Detached<P, B: Future> {
    pub(crate) policy: P,
    pub(crate) place: Place<B>,
}

pub(crate) enum Place<B: Future> {
    Nowhere(Option<B>),
    /// Where its caller is polled: no flight, or no runtime to spawn on.
    Here(Pin<Box<B>>),
    Task(JoinHandle<B::Output>),
}

impl<P, B: Future> fmt::Debug for Detached<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detached")
    }
}

impl<B: Future> fmt::Debug for Place<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

// The body is moved, and pinned only behind a box of its own.
impl<P, B: Future> Unpin for Detached<P, B> {}

impl<P, B: Future> Future for Detached<P, B> {
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

impl<P, B> Detached<P, B>
where
    P: Settle + 'static,
    B: Future<Output = <P::Shape as Shape>::Output> + Send + 'static,
    B::Output: Send + 'static,
{
    pub(crate) fn ops() -> Ops<Self> {
        Ops {
            fail: |shared| P::copy(shared).map(P::Shape::error),
            settle: |body, call, lead, output| settle(&body.policy, call, lead, output),
            entry: |body| Put::of(&body.policy),
            detach: Some(Self::detach),
        }
    }

    /// Moves the run to a task; gives the lead back where there is no runtime for it.
    fn detach(mut self: Pin<&mut Self>, call: &Call, lead: Lead) -> Option<Lead> {
        let Place::Nowhere(body) = &mut self.place else {
            return Some(lead);
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Some(lead);
        };
        let Some(running) = call.cache.background.track() else {
            return Some(lead);
        };
        let Some(body) = body.take() else {
            return Some(lead);
        };
        let policy = P::of(self.policy.knobs());
        let call = call.clone();
        self.place = Place::Task(runtime.spawn(async move {
            let _running = running;
            let (lead, output) = run(&call, lead, body).await;
            match settle(&policy, &call, lead, output) {
                Settled::Done(output) => output,
                // It has just been kept as what this call reads.
                Settled::Filling(filling) => {
                    join::<P::Shape>(&filling.await).unwrap_or_else(|| unreachable!())
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
