//! Who waits for the locks of a process, by the name of each. An entry is there as long as it is of use.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::held::Held;
use crate::{
    cache::Cache,
    sync::{Mutex, lock},
};

/// The locks of a process that somebody holds or waits for.
pub(crate) struct Queues {
    names: Mutex<HashMap<Box<str>, Arc<Shared>>>,
    /// The last one of a lock that is only of this process.
    fence: AtomicU64,
}

/// What those have in common who are about one lock.
struct Shared {
    /// For one at a time, in the order in which they came.
    turn: Arc<Semaphore>,
    /// Who has it by the word of the remote tier.
    holder: Mutex<Weak<Held>>,
}

impl Queues {
    /// The fences of locks without a remote tier go on from there: with the time of day in microseconds,
    /// they are greater than those of this program before it was started again.
    pub(crate) fn new(fence: u64) -> Self {
        Self { names: Mutex::default(), fence: AtomicU64::new(fence) }
    }

    /// How many locks are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.names).len()
    }
}

/// The queue of one lock in its process, for one that is in it or holds the lock.
pub(super) struct Queue {
    cache: Cache,
    name: Box<str>,
    shared: Arc<Shared>,
}

/// The turn of one, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(
    #[allow(dead_code, reason = "its drop is what counts")] OwnedSemaphorePermit,
);

impl Queue {
    pub(super) fn of(cache: &Cache, name: &str) -> Self {
        let mut names = lock(&cache.locks.names);
        let shared = if let Some(shared) = names.get(name) {
            Arc::clone(shared)
        } else {
            let turn = Arc::new(Semaphore::new(1));
            let shared = Arc::new(Shared { turn, holder: Mutex::default() });
            names.insert(name.into(), Arc::clone(&shared));
            shared
        };
        drop(names);
        Self { cache: cache.clone(), name: name.into(), shared }
    }

    /// A turn that nobody has, and nobody waits for.
    pub(super) fn try_turn(&self) -> Option<Turn> {
        Arc::clone(&self.shared.turn).try_acquire_owned().ok().map(Turn)
    }

    /// Waits for the next turn.
    pub(super) async fn turn(&self) -> Option<Turn> {
        // It is never closed.
        Arc::clone(&self.shared.turn).acquire_owned().await.ok().map(Turn)
    }

    /// A fence that is greater than all before.
    pub(super) fn next_fence(&self) -> u64 {
        self.cache.locks.fence.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn hold(&self, held: &Arc<Held>) {
        *lock(&self.shared.holder) = Arc::downgrade(held);
    }

    /// Whether a holder in this process has the lock, which the remote tier need not be asked for then.
    pub(super) fn is_held(&self) -> bool {
        let holder = lock(&self.shared.holder).upgrade();
        holder.is_some_and(|held| !held.is_lost())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut names = lock(&self.cache.locks.names);
        // This one and the table's.
        if Arc::strong_count(&self.shared) == 2 {
            names.remove(&self.name);
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.name).finish()
    }
}
