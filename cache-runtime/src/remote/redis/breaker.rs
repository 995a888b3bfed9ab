//! Skips Redis at once after a few failures in a row, until a new connection has proven itself.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// After so many failures in a row it opens: of calls one after another, at most as many lose
/// their budget.
const LIMIT: u64 = 3;

/// Counts the failures of the connection that is in use. A connection has a number, and what
/// becomes of the commands of an older one says nothing about it.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// The connection's number, and in the lowest byte its failures in a row.
    word: AtomicU64,
}

const FAILURES: u64 = 0xff;

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.word.load(Acquire) & FAILURES >= LIMIT
    }

    /// The number that the next result is to be reported with.
    pub(super) fn number(&self) -> u64 {
        self.word.load(Acquire) >> 8
    }

    pub(super) fn succeeded(&self, number: u64) {
        // Not written to by each of many successes.
        if self.word.load(Relaxed) != number << 8 {
            self.change(number, |_| 0);
        }
    }

    /// Whether this failure opened it.
    pub(super) fn failed(&self, number: u64) -> bool {
        self.change(number, |failures| failures + 1) == Some(LIMIT - 1)
    }

    /// Opens it at once: the connection is known to be gone. Says whether it was closed.
    pub(super) fn open(&self, number: u64) -> bool {
        self.change(number, |_| LIMIT).is_some()
    }

    /// A connection has proven itself.
    pub(super) fn close(&self, number: u64) {
        self.word.store(number << 8, Release);
    }

    /// The failures before, unless it is open or another connection's.
    fn change(&self, number: u64, to: impl Fn(u64) -> u64) -> Option<u64> {
        let changed = self.word.fetch_update(AcqRel, Acquire, |word| {
            let failures = word & FAILURES;
            (word >> 8 == number && failures < LIMIT).then(|| number << 8 | to(failures))
        });
        changed.ok().map(|word| word & FAILURES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it() {
        let breaker = Breaker::default();
        assert!(!breaker.failed(0) && !breaker.failed(0) && !breaker.is_open());
        breaker.succeeded(0);
        assert!(!breaker.failed(0) && !breaker.failed(0) && !breaker.is_open());
        assert!(breaker.failed(0) && breaker.is_open());
        assert!(!breaker.failed(0), "it is open already");
        breaker.succeeded(0);
        assert!(breaker.is_open(), "only a new connection closes it");
    }

    #[test]
    fn a_lost_connection_opens_it_at_once() {
        let breaker = Breaker::default();
        assert!(breaker.open(0) && breaker.is_open() && !breaker.open(0));
        breaker.close(1);
        assert!(!breaker.is_open());
        assert_eq!(breaker.number(), 1);
    }

    #[test]
    fn what_an_older_connection_did_says_nothing() {
        let breaker = Breaker::default();
        breaker.close(7);
        assert!(!breaker.open(6) && !breaker.is_open());
        assert!((0..9).all(|_| !breaker.failed(6)) && !breaker.is_open());
        assert!(!breaker.failed(7) && !breaker.failed(7));
        breaker.succeeded(6);
        assert!(breaker.failed(7));
    }
}
