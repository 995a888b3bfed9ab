use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// P4: until when memory is trusted, because every message of other processes that was sent by some
/// moment is known to have been heard.
///
/// A moment, and not a flag: it passes by itself, also when no task of this process runs.
#[derive(Debug)]
pub(crate) struct Trust(AtomicU64);

impl Trust {
    /// Of a process that nobody else tells anything.
    pub(crate) fn for_ever() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    pub(crate) fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn holds(&self, now: u64) -> bool {
        now < self.0.load(SeqCst)
    }

    pub(crate) fn extend(&self, until: u64) {
        self.0.fetch_max(until, SeqCst);
    }

    pub(crate) fn end(&self) {
        self.0.store(0, SeqCst);
    }
}
