//! Invalidations that did not land: they are tried until they do, however long that takes, and until
//! then this process trusts nothing that they name.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tokio::{sync::Notify, task::JoinHandle, time::sleep};

use super::{Hold, Remote, Settlement, Token, backoff::Backoff};
#[cfg(feature = "tracing")]
use crate::watch::events;
use crate::{
    cache::Cache,
    local::{Flights, Named},
};

/// More than so many become one `clear`, which invalidates more and is one command.
const MOST: usize = 10_000;

/// So many commands go in one pipeline: a server that is slow answers them within a budget.
const AT_ONCE: usize = 100;

/// So many holds of a key are ended; the others end by themselves.
const MOST_HOLDS: usize = 8;

/// What is to be repaired in one cache.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    work: Mutex<Work>,
    /// Until it lands nothing of the remote tier is read.
    is_clear_pending: AtomicBool,
    done: Notify,
}

#[derive(Debug, Default)]
struct Work {
    /// By the key in the remote tier.
    keys: BTreeMap<String, Owed>,
    /// The newest `clear` that has not landed.
    clear: Option<u64>,
    /// How many `clear`s were asked for.
    clears: u64,
    /// Whether it was told that something is pending, and not yet that nothing is.
    #[cfg(feature = "tracing")]
    is_told: bool,
    task: Option<JoinHandle<()>>,
}

impl Work {
    fn is_done(&self) -> bool {
        self.keys.is_empty() && self.clear.is_none()
    }
}

/// What did not land of a key or a tag.
#[derive(Debug, Clone)]
struct Owed {
    name: Named,
    /// Of the newest invalidation.
    number: u64,
    /// Holds that have not ended in the remote tier.
    holds: Vec<Token>,
}

impl Repairs {
    pub(crate) fn is_clear_pending(&self) -> bool {
        self.is_clear_pending.load(SeqCst)
    }

    /// How many invalidations have not landed.
    pub(crate) fn pending(&self) -> usize {
        let work = self.work();
        work.keys.len() + usize::from(work.clear.is_some())
    }

    /// An invalidation of a key did not land, or may not have; nor did the end of a hold, if there
    /// was one.
    pub(crate) fn add(&self, cache: &Cache, name: Named, number: u64, hold: Option<Token>) {
        let mut work = self.work();
        let owed = work.keys.entry(cache.remote_key(&name)).or_insert_with(|| Owed {
            name,
            number,
            holds: Vec::new(),
        });
        owed.number = owed.number.max(number);
        owed.holds.extend(hold.filter(|_| owed.holds.len() < MOST_HOLDS));
        if work.keys.len() > MOST {
            self.owe_clear(&mut work);
        }
        start(&mut work, cache);
        drop(work);
        self.tell(cache);
    }

    /// A `clear` did not land, or may not have.
    fn add_clear(&self, cache: &Cache) {
        let mut work = self.work();
        self.owe_clear(&mut work);
        start(&mut work, cache);
        drop(work);
        self.tell(cache);
    }

    fn owe_clear(&self, work: &mut Work) {
        // Sent later than they were, it does all that they would do.
        work.keys.clear();
        work.clears += 1;
        work.clear = Some(work.clears);
        self.is_clear_pending.store(true, SeqCst);
    }

    /// A `clear` landed that was sent when so many had been asked for.
    fn cleared(&self, cache: &Cache, clears: u64) {
        let mut work = self.work();
        if work.clear.is_some_and(|newest| newest <= clears) {
            work.clear = None;
            self.is_clear_pending.store(false, SeqCst);
        }
        drop(work);
        self.tell(cache);
        self.done.notify_waiters();
    }

    /// Sees to it that somebody is at work, if there is anything to do: what was added where there was
    /// no runtime, or on one that has ended, has nobody yet.
    pub(crate) fn attend(&self, cache: &Cache) {
        let mut work = self.work();
        if !work.is_done() {
            start(&mut work, cache);
        }
    }

    /// Waits until everything has landed.
    pub(crate) async fn drain(&self, cache: &Cache) {
        loop {
            let mut done = std::pin::pin!(self.done.notified());
            done.as_mut().enable();
            if self.pending() == 0 {
                return;
            }
            start(&mut self.work(), cache);
            done.await;
        }
    }

    /// Tells who watches when the first one is pending, and when none is any more.
    fn tell(&self, cache: &Cache) {
        #[cfg(feature = "tracing")]
        {
            let mut work = self.work();
            let is_pending = !work.is_done();
            let was_told = std::mem::replace(&mut work.is_told, is_pending);
            drop(work);
            match (was_told, is_pending) {
                (false, true) => events::repairs_pending(cache.service()),
                (true, false) => events::repairs_landed(cache.service()),
                _ => {}
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (self, cache);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that a task is at work, if there is a runtime for it.
fn start(work: &mut Work, cache: &Cache) {
    if work.task.as_ref().is_none_or(JoinHandle::is_finished)
        && let (Some(remote), Ok(runtime)) = (&cache.remote, tokio::runtime::Handle::try_current())
    {
        work.task = Some(runtime.spawn(repair(cache.clone(), Arc::clone(remote))));
    }
}

/// Tries until nothing is left. The cache lives as long as this does.
async fn repair(cache: Cache, remote: Arc<dyn Remote>) {
    let repairs = &cache.repairs;
    let mut backoff = Backoff::default();
    loop {
        let mut is_landing = false;
        let owed = repairs.work().clear;
        if let Some(clears) = owed {
            let before = cache.flights.before();
            if remote.clear().await.is_ok() {
                Flights::confirm_clear(&cache, &before);
                repairs.cleared(&cache, clears);
                is_landing = true;
            }
        } else {
            let owed: Vec<_> = {
                let mut work = repairs.work();
                if work.is_done() {
                    // Under the lock: what is added now finds no task.
                    work.task = None;
                    return;
                }
                work.keys.iter().map(|(key, owed)| (key.clone(), owed.clone())).collect()
            };
            for some in owed.chunks(AT_ONCE) {
                is_landing |= repair_some(&cache, &*remote, some).await;
            }
            repairs.tell(&cache);
            repairs.done.notify_waiters();
        }
        if is_landing {
            backoff.reset();
        } else {
            sleep(backoff.next(cache.random())).await;
        }
    }
}

/// Attempts all of these, and says whether any has landed.
async fn repair_some(cache: &Cache, remote: &dyn Remote, owed: &[(String, Owed)]) -> bool {
    let keys: Vec<_> = owed.iter().map(|(key, _)| key.clone()).collect();
    let answers = remote.invalidate(&keys).await;
    let mut settlements = Vec::new();
    let mut is_landing = false;
    for ((key, Owed { name, number, holds }), answer) in owed.iter().zip(answers) {
        if answer.is_err() {
            continue;
        }
        is_landing = true;
        Flights::confirm(cache, name, *number);
        settlements.extend(holds.iter().map(|token| Settlement {
            hold: Hold { key: key.clone(), token: *token, tags: Vec::new() },
            value: None,
        }));
        let mut work = cache.repairs.work();
        if let Some(left) = work.keys.get_mut(key) {
            left.holds.retain(|token| !holds.contains(token));
            // Unless a later one of the same key was added meanwhile.
            if left.number <= *number && left.holds.is_empty() {
                work.keys.remove(key);
            }
        }
    }
    while !settlements.is_empty() {
        let rest = settlements.split_off(settlements.len().min(AT_ONCE));
        // The keys are invalidated: a hold that stands costs a while without the cache, no more.
        let _ = remote.settle(settlements).await;
        settlements = rest;
    }
    is_landing
}

/// An invalidation that is under way. Dropped before it is confirmed, it is repaired.
pub(crate) struct Repair {
    cache: Cache,
    named: Option<(Named, u64)>,
}

impl Repair {
    pub(crate) fn armed(cache: &Cache, name: Named, number: u64) -> Self {
        Self { cache: cache.clone(), named: Some((name, number)) }
    }

    pub(crate) fn landed(mut self) {
        if let Some((name, number)) = self.named.take() {
            Flights::confirm(&self.cache, &name, number);
        }
    }
}

impl Drop for Repair {
    fn drop(&mut self) {
        if let Some((name, number)) = self.named.take() {
            self.cache.repairs.add(&self.cache, name, number, None);
        }
    }
}

/// A `clear` that is under way. Dropped before it is confirmed, it is repaired.
pub(crate) struct ClearRepair<'a> {
    cache: &'a Cache,
    /// How many had been asked for; `None` once it has landed.
    clears: Option<u64>,
}

impl<'a> ClearRepair<'a> {
    pub(crate) fn armed(cache: &'a Cache) -> Self {
        Self { cache, clears: Some(cache.repairs.work().clears) }
    }

    pub(crate) fn landed(mut self) {
        if let Some(clears) = self.clears.take() {
            self.cache.repairs.cleared(self.cache, clears);
        }
    }
}

impl Drop for ClearRepair<'_> {
    fn drop(&mut self) {
        if self.clears.is_some() {
            self.cache.repairs.add_clear(self.cache);
        }
    }
}
