//! Locks: one holder in the fleet, or in the process where there is no remote tier.
//!
//! A claim to a lock goes through the `queue` of its process first, one at a time, and then `claims` it
//! from the remote tier, which keeps the queue of all processes. A lock that is `held` is renewed until its
//! `guard` gives it back. `run` puts that around a body, for the `attribute`.

mod attribute;
mod claim;
mod error;
mod guard;
mod held;
mod queue;
mod run;

#[cfg(test)]
mod tests;

use std::{fmt, panic::Location, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use attribute::{LockSite, Locked, lock, lock_on};
pub use error::LockError;
pub use guard::LockGuard;
pub(crate) use queue::Queues;
pub use run::{Run, fence};

use crate::{
    cache::Cache,
    key::KeyText,
    tally::{Fate, LOCK_NAMES, LockCounts},
};

/// A lock that at most one holder in the fleet has at a time: a task of any process whose cache is of the
/// same service and on the same Redis. Without Redis, of this cache in this process.
///
/// ```
/// # use std::time::Duration;
/// use larder::{Cache, Lock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder::LockError> {
/// let lock = Lock::new(&Cache::memory(), "report:7");
/// let guard = lock.acquire(Duration::from_secs(5)).await?;
/// assert!(lock.try_acquire().await?.is_none());
/// guard.release().await?;
/// assert!(lock.try_acquire().await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// Who comes first gets it first: in a process by task, in the fleet by process. It is not reentrant: who
/// has it and asks again waits for himself.
///
/// # What it is worth
///
/// It keeps work from being done twice, and that is all. With Redis a lock ends with its lease: a holder that
/// was frozen for longer has lost it before it knows. And a Redis that fails over to a replica, is emptied or
/// evicts keys may forget a lock; then there are two holders until the first one renews it, for a third of
/// the lease. Where two at once would do harm, send the [fence](LockGuard::fence) along with each change,
/// and let what is changed refuse a fence below the greatest that it has seen, as
/// `UPDATE … SET …, fence = $1 WHERE … AND fence <= $1` does.
///
/// `#[locked]` and this are the same lock where the names are: `key = "report:{id}"` with an `id` of 7 is
/// `report:7`. Where a login of Redis is bound to some keys, those of locks are `:lock:<service>:*`, and who
/// waits is told by the channel `:larder:<service>`.
#[derive(Clone)]
pub struct Lock {
    cache: Cache,
    name: KeyText,
    lease: Duration,
    /// Of what it is counted under.
    number: u32,
}

impl Lock {
    /// The lock of that name, which is to be taken for 10 seconds at a time.
    #[must_use]
    #[track_caller]
    pub fn new(cache: &Cache, name: &str) -> Self {
        let number = LOCK_NAMES.number_of_place(Location::caller());
        Self::of_name(cache, KeyText::literal(name), number)
    }

    fn of_name(cache: &Cache, name: KeyText, number: u32) -> Self {
        Self { cache: cache.clone(), name, lease: Duration::from_secs(10), number }
    }

    /// How long the lock lasts when its holder does not renew it, which it does at a third of this: so long
    /// the others wait if it dies. Less than a second is hard to keep on a busy machine. Without Redis it has
    /// no meaning: a lock is held until it is released.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(SHORTEST, LONGEST);
        self
    }

    /// Takes the lock, and waits for it as long as this says. What Redis takes to answer comes on top: with
    /// a wait of zero it is asked once.
    ///
    /// Dropped before it returns, it leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](LockError::TimedOut): others had it all that time.
    /// [`Unavailable`](LockError::Unavailable): Redis did not answer, also when it was asked for the last
    /// time; until then it is asked again and again. [`Lost`](LockError::Lost): it was granted, and over
    /// when the answer came.
    pub async fn acquire(&self, wait: Duration) -> Result<LockGuard, LockError> {
        let asks = self.counts().ask();
        self.cache.watched();
        let by = after(Instant::now(), wait);
        let acquired = match &self.cache.remote {
            None => self.acquire_here(wait, by).await,
            Some(remote) => Box::pin(self.acquire_there(remote, wait, by)).await,
        };
        asks.end(match &acquired {
            Ok(_) => Fate::Acquired,
            Err(LockError::TimedOut) => Fate::TimedOut,
            Err(LockError::Lost) => Fate::Lost,
            Err(LockError::Unavailable { .. }) => Fate::Unavailable,
        });
        acquired
    }

    /// Takes the lock if it can be had at once: `None` if somebody has it, or waits for it.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), but for `TimedOut`.
    pub async fn try_acquire(&self) -> Result<Option<LockGuard>, LockError> {
        match self.acquire(Duration::ZERO).await {
            Ok(guard) => Ok(Some(guard)),
            Err(LockError::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn counts(&self) -> &Arc<LockCounts> {
        self.cache.lock_counts.of(self.number)
    }

    /// Where it is in the remote tier. No key of an entry, a tag or a limit begins like it.
    fn remote_key(&self) -> String {
        [LOCKS, self.cache.service(), ":", &self.name.to_text()].concat()
    }
}

/// What the keys of the locks of all services begin with.
const LOCKS: &str = ":lock:";

/// What a lease can be. No clock could say when a longer one ends.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A moment that is later by so much; by a year if it is more.
fn after(moment: Instant, by: Duration) -> Instant {
    moment.checked_add(by.min(LONGEST)).unwrap_or(moment)
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("service", &self.cache.service())
            .field("name", &self.name.to_text())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
