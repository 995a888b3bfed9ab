use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU8, AtomicU64, Ordering::SeqCst},
};

/// Whether memory may be used, and until when.
///
/// P4: memory is trusted until a moment, because every message of other processes that was sent by some
/// other moment is known to have been heard. A moment, and not a flag: it passes by itself, also when
/// no task of this process runs.
#[derive(Debug)]
pub(crate) struct Trust {
    /// As `until`, and 0 while the cache is anything unusual: a hit looks once for all of it.
    hits: AtomicU64,
    until: AtomicU64,
    /// `IS_OFF` and `HAS_CLOCK`.
    unusual: AtomicU8,
    /// Locked while `hits` is made of the other two.
    changing: Mutex<()>,
}

/// The cache is switched off.
const IS_OFF: u8 = 1;

/// Its clock is a given one.
const HAS_CLOCK: u8 = 2;

impl Trust {
    /// For ever, in a process that nobody else tells anything, else for no time yet.
    pub(crate) fn new(is_for_ever: bool, is_enabled: bool, has_clock: bool) -> Self {
        let off = if is_enabled { 0 } else { IS_OFF };
        let clock = if has_clock { HAS_CLOCK } else { 0 };
        let until = if is_for_ever { u64::MAX } else { 0 };
        let trust = Self {
            hits: AtomicU64::new(0),
            until: AtomicU64::new(until),
            unusual: AtomicU8::new(off | clock),
            changing: Mutex::new(()),
        };
        trust.change(|_| {});
        trust
    }

    /// Whether memory may be looked into by the kernel's clock, and what it has is trusted.
    #[inline]
    pub(crate) fn allows_hits(&self, now: u64) -> bool {
        now < self.hits.load(SeqCst)
    }

    pub(crate) fn lasts(&self, now: u64) -> bool {
        now < self.until.load(SeqCst)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.unusual.load(SeqCst) & IS_OFF == 0
    }

    pub(crate) fn extend(&self, until: u64) {
        self.change(|trust| {
            trust.until.fetch_max(until, SeqCst);
        });
    }

    pub(crate) fn end(&self) {
        self.change(|trust| trust.until.store(0, SeqCst));
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.change(|trust| {
            if enabled {
                trust.unusual.fetch_and(!IS_OFF, SeqCst);
            } else {
                trust.unusual.fetch_or(IS_OFF, SeqCst);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&Self)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        change(self);
        let is_usual = self.unusual.load(SeqCst) == 0;
        let hits = if is_usual { self.until.load(SeqCst) } else { 0 };
        self.hits.store(hits, SeqCst);
    }
}
