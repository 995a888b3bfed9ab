use std::{fmt, future::pending, sync::Arc};

use tokio::task::AbortHandle;

use super::{
    LockError,
    held::Held,
    queue::{Queue, Turn},
};
use crate::{cache::Cache, remote::Remote};

/// A lock that is held until this is released or dropped.
///
/// With Redis it is renewed on a task of its own as long as it lives. If that fails for almost as long as the
/// lease lasts, or that task cannot run because others block its thread, the lock is [lost](Self::lost).
#[must_use = "a lock is given back when its guard is dropped"]
pub struct LockGuard {
    fence: u64,
    has: Has,
    /// Of this process.
    queue: Queue,
}

/// What is held.
enum Has {
    /// The turn of this process, which has no remote tier.
    Here(#[allow(dead_code, reason = "its drop is what counts")] Turn),
    There(There),
}

/// What the remote tier has granted; given back when it is dropped.
pub(super) struct There {
    pub(super) cache: Cache,
    pub(super) remote: Arc<dyn Remote>,
    pub(super) held: Arc<Held>,
    pub(super) renewal: Option<AbortHandle>,
    pub(super) is_given_back: bool,
}

impl LockGuard {
    pub(super) fn here(turn: Turn, queue: Queue) -> Self {
        Self { fence: queue.next_fence(), has: Has::Here(turn), queue }
    }

    pub(super) fn there(fence: u64, there: There, queue: Queue) -> Self {
        queue.hold(&there.held);
        Self { fence, has: Has::There(there), queue }
    }

    /// The number of this holding: greater than that of every holding before. What is changed under the lock
    /// can refuse a holder that has lost it by comparing this with the greatest that it has seen.
    ///
    /// It is the server's time in microseconds, or one more than the last one where that is greater. So it
    /// goes on to rise when Redis has lost it.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Returns when the lock is lost: when it was not renewed in time, or Redis has forgotten it. Never, if
    /// there is no Redis.
    ///
    /// To be waited for beside the work, which is to be dropped then. First of the two, as here: it looks at
    /// the clock, and work that was frozen does not go on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use larder::{Cache, Lock};
    /// # async fn work() {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), larder::LockError> {
    /// let guard = Lock::new(&Cache::memory(), "report:7").acquire(Duration::from_secs(5)).await?;
    /// tokio::select! {
    ///     biased;
    ///     () = guard.lost() => return Err(larder::LockError::Lost),
    ///     () = work() => {}
    /// }
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lost(&self) {
        match self.held() {
            Some(held) => held.lost().await,
            None => pending().await,
        }
    }

    /// Gives the lock back, and returns when Redis has confirmed it. Dropping the guard gives it back, too,
    /// and does not wait.
    ///
    /// # Errors
    ///
    /// [`Lost`](LockError::Lost): it was not held any more. [`Unavailable`](LockError::Unavailable): Redis
    /// did not say; it is told as soon as it can be, until the lease ends.
    pub async fn release(self) -> Result<(), LockError> {
        match self.has {
            Has::Here(_) => Ok(()),
            Has::There(there) => there.give_back().await,
        }
    }

    /// What the remote tier has granted, if there is one.
    pub(super) fn held(&self) -> Option<&Arc<Held>> {
        match &self.has {
            Has::Here(_) => None,
            Has::There(there) => Some(&there.held),
        }
    }
}

impl There {
    async fn give_back(mut self) -> Result<(), LockError> {
        self.end();
        let unlocked = self.remote.unlock(&self.held.claim).await;
        self.is_given_back = true;
        match unlocked {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.held.count_lost();
                Err(LockError::Lost)
            }
            Err(source) => Err(LockError::Unavailable { source }),
        }
    }

    /// From now on it is neither held nor renewed.
    fn end(&mut self) {
        self.held.end();
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
    }
}

impl Drop for There {
    fn drop(&mut self) {
        if self.is_given_back {
            return;
        }
        self.end();
        let (remote, held) = (Arc::clone(&self.remote), Arc::clone(&self.held));
        self.cache.background.spawn(async move {
            // Without an answer it is given back later, or ends with its lease.
            if let Ok(false) = remote.unlock(&held.claim).await {
                held.count_lost();
            }
        });
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("queue", &self.queue)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}
