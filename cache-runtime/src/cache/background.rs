use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};

/// The work that goes on without its caller, so that a shutdown can wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Background(Arc<Work>);

#[derive(Debug)]
struct Work {
    closed: AtomicBool,
    running: AtomicUsize,
    /// How many more refreshes there may be at once.
    refreshes: AtomicUsize,
    done: Notify,
}

impl Background {
    /// With so many refreshes at once at most.
    pub(crate) fn new(refreshes: usize) -> Self {
        Self(Arc::new(Work {
            closed: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(refreshes),
            done: Notify::new(),
        }))
    }

    /// Counts as running until it is dropped; `None` after `close`.
    fn track(&self) -> Option<Running> {
        self.0.running.fetch_add(1, SeqCst);
        let running = Counted { work: Arc::clone(&self.0), is_refresh: false };
        // Counted first, so that `close` sees it or it sees `close`.
        (!self.0.closed.load(SeqCst)).then(|| Running::of(running))
    }

    /// For a run that is to survive its caller; `None` after `close`, and outside of a runtime.
    pub(crate) fn track_run(&self) -> Option<Running> {
        Handle::try_current().ok()?;
        self.track()
    }

    /// For one that nobody waits for: also `None` where there are as many as there may be.
    pub(crate) fn track_refresh(&self) -> Option<Running> {
        let _running = self.track_run()?;
        let take = |left: usize| left.checked_sub(1);
        self.0.refreshes.fetch_update(SeqCst, SeqCst, take).ok()?;
        self.0.running.fetch_add(1, SeqCst);
        Some(Running::of(Counted { work: Arc::clone(&self.0), is_refresh: true }))
    }

    /// Runs the future on a task of its own, if there is a runtime; after `close` too, but then
    /// nobody waits for it.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            let running = self.track();
            runtime.spawn(async move {
                future.await;
                drop(running);
            });
        }
    }

    /// Tracks nothing more, and waits for what runs.
    pub(crate) async fn close(&self) {
        self.0.closed.store(true, SeqCst);
        loop {
            let mut done = pin!(self.0.done.notified());
            done.as_mut().enable();
            if self.0.running.load(SeqCst) == 0 {
                return;
            }
            done.await;
        }
    }
}

/// Something runs, as long as this or a copy of it lives.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    counted: Arc<Counted>,
    /// The span that it goes on in, if that is not the one it is spawned in.
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

#[derive(Debug)]
struct Counted {
    work: Arc<Work>,
    is_refresh: bool,
}

impl Running {
    fn of(counted: Counted) -> Self {
        Self {
            counted: Arc::new(counted),
            #[cfg(feature = "tracing")]
            span: None,
        }
    }

    /// It goes on in this span.
    #[cfg(feature = "tracing")]
    pub(crate) fn within(self, span: &tracing::Span) -> Self {
        Self { span: Some(span.clone()), ..self }
    }

    /// Runs the future on a task of its own, in the span of its caller. Within a runtime, as it was
    /// tracked.
    pub(crate) fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[cfg(feature = "tracing")]
        let future = {
            let span = self.span.unwrap_or_else(tracing::Span::current);
            tracing::Instrument::instrument(future, span)
        };
        let counted = self.counted;
        tokio::spawn(async move {
            // Who waits for it to be over finds its span closed.
            let output = future.await;
            drop(counted);
            output
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.is_refresh {
            self.work.refreshes.fetch_add(1, SeqCst);
        }
        if self.work.running.fetch_sub(1, SeqCst) == 1 {
            self.work.done.notify_waiters();
        }
    }
}
