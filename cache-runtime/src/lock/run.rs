//! A body under a lock.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{LockError, LockGuard};
use crate::sync::task_local;

task_local! {
    static FENCE: u64;
}

/// The fence of the lock that the current task runs a body under, as
/// [`LockGuard::fence`](crate::LockGuard::fence) has it: inside of a function with `#[locked]`, that of the
/// innermost. `None` outside, and on a task that the body has spawned.
#[must_use]
pub fn fence() -> Option<u64> {
    FENCE.try_with(|fence| *fence).ok()
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// Takes a lock, runs a body, and gives the lock back.
    ///
    /// Dropped before its end, the body is dropped first and then the lock.
    #[doc(hidden)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Run<F: Future> {
        #[pin]
        body: Option<F>,
        step: Step<F::Output>,
    }
}

/// How far it is.
enum Step<T> {
    Acquires(Boxed<Result<LockGuard, LockError>>),
    Runs(LockGuard, Option<Boxed<()>>),
    /// The body has returned this.
    Releases(Option<T>, Boxed<Result<(), LockError>>),
    Done,
}

impl<F: Future> Run<F> {
    pub(super) fn new(
        acquiring: impl Future<Output = Result<LockGuard, LockError>> + Send + 'static,
        body: F,
    ) -> Self {
        Self { body: Some(body), step: Step::Acquires(Box::pin(acquiring)) }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step {
                Step::Acquires(acquiring) => match ready!(acquiring.as_mut().poll(cx)) {
                    Ok(guard) => {
                        let lost = guard.held().map(|held| -> Boxed<()> {
                            let held = Arc::clone(held);
                            Box::pin(async move { held.lost().await })
                        });
                        *this.step = Step::Runs(guard, lost);
                    }
                    Err(error) => {
                        this.body.set(None);
                        *this.step = Step::Done;
                        return Poll::Ready(Err(error));
                    }
                },
                Step::Runs(guard, lost) => {
                    // Before each step of the body: whoever was frozen looks at the clock first.
                    let is_lost =
                        lost.as_mut().is_some_and(|lost| lost.as_mut().poll(cx).is_ready());
                    let Some(body) = this.body.as_mut().as_pin_mut().filter(|_| !is_lost) else {
                        this.body.set(None);
                        *this.step = Step::Done;
                        return Poll::Ready(Err(LockError::Lost));
                    };
                    let polled = FENCE.sync_scope(guard.fence(), || body.poll(cx));
                    let output = ready!(polled);
                    this.body.set(None);
                    let Step::Runs(guard, _) = std::mem::replace(this.step, Step::Done) else {
                        continue;
                    };
                    *this.step = Step::Releases(Some(output), Box::pin(guard.release()));
                }
                Step::Releases(output, releasing) => {
                    // The body has run to its end, whatever has become of the lock.
                    let _ = ready!(releasing.as_mut().poll(cx));
                    let output = output.take();
                    *this.step = Step::Done;
                    return output.map_or(Poll::Pending, |output| Poll::Ready(Ok(output)));
                }
                // As a future that is polled after its end.
                Step::Done => return Poll::Pending,
            }
        }
    }
}

impl<F: Future> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
