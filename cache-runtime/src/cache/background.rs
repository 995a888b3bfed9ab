use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

/// The work that goes on without its caller, so that a shutdown can wait for it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Background(Arc<Work>);

#[derive(Default, Debug)]
struct Work {
    closed: AtomicBool,
    running: AtomicUsize,
    done: Notify,
}

impl Background {
    /// Counts the future as running until it is dropped; `None` after `close`.
    pub(crate) fn track(&self) -> Option<Running> {
        self.0.running.fetch_add(1, SeqCst);
        let running = Running(Arc::clone(&self.0));
        // Counted first, so that `close` sees it or it sees `close`.
        (!self.0.closed.load(SeqCst)).then_some(running)
    }

    /// Runs the future on a task of its own, if there is a runtime; after `close` too, but then
    /// nobody waits for it.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
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

/// Something runs, as long as this lives.
#[derive(Debug)]
pub(crate) struct Running(Arc<Work>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, SeqCst) == 1 {
            self.0.done.notify_waiters();
        }
    }
}
