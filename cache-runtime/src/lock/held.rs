//! A lock that is held by the word of the remote tier: until when, and how that is put off.

use std::{
    fmt,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    cache::Cache,
    remote::{Acquired, Backoff, Claim, Remote, Wish},
    sync::{Mutex, lock},
    tally::{Fate, LockCounts},
};

/// Held until a moment of this process's clock, unless it is renewed. The moment is counted from before the
/// command was sent that has granted or renewed it, so the remote tier's is later: whoever looks at the
/// clock before he goes on knows of the end before anybody else can have the lock.
pub(super) struct Held {
    pub(super) claim: Claim,
    /// When it was asked for.
    since: Instant,
    /// `None` when it is lost or given back.
    until: Mutex<Option<Instant>>,
    lost: Notify,
    /// Where it is counted if it is lost, once, and not before somebody has it.
    counts: Mutex<Option<Arc<LockCounts>>>,
}

impl Held {
    /// One that was asked for at that moment.
    pub(super) fn since(sent: Instant, claim: Claim) -> Arc<Self> {
        let until = Mutex::new(Some(sent + term(claim.lease)));
        Arc::new(Self { claim, since: sent, until, lost: Notify::new(), counts: Mutex::default() })
    }

    /// From now on somebody has it, and it counts if he loses it.
    pub(super) fn count_in(&self, counts: &Arc<LockCounts>) {
        *lock(&self.counts) = Some(Arc::clone(counts));
    }

    /// It is not his any more who has it.
    pub(super) fn count_lost(&self) {
        let counts = lock(&self.counts).take();
        if let Some(counts) = counts {
            counts.add(Fate::Lost);
        }
    }

    /// Whether it is over; once it was, it stays so.
    pub(super) fn is_lost(&self) -> bool {
        self.until().is_none()
    }

    /// It was given back, or is about to be, if it is not lost.
    pub(super) fn end(&self) {
        let _ = self.until();
        *lock(&self.until) = None;
        self.lost.notify_waiters();
    }

    /// Returns when it is lost.
    pub(super) async fn lost(&self) {
        loop {
            let told = self.lost.notified();
            let Some(until) = self.until() else {
                return;
            };
            let mut told = pin!(timeout_at(until, told));
            // By the clock with each look: of one that was frozen no timer need have gone off yet.
            poll_fn(|cx| {
                if self.is_lost() { Poll::Ready(()) } else { told.as_mut().poll(cx).map(drop) }
            })
            .await;
            // It may have been put off meanwhile.
        }
    }

    /// Until when it is held.
    fn until(&self) -> Option<Instant> {
        let mut until = lock(&self.until);
        if until.is_some_and(|until| Instant::now() >= until) {
            *until = None;
            drop(until);
            self.count_lost();
            return None;
        }
        *until
    }

    /// It was renewed, by a command that was sent then.
    fn extend(&self, sent: Instant) {
        let mut until = lock(&self.until);
        // Who was told that it is lost is not told otherwise.
        if until.is_some() {
            *until = Some(sent + term(self.claim.lease));
        }
    }

    /// Renews it at a third of its lease, and again and again where that fails, until it is lost.
    pub(super) async fn renew(self: Arc<Self>, cache: Cache, remote: Arc<dyn Remote>) {
        let lease = self.claim.lease;
        let (mut due, mut backoff) = (self.since + lease / 3, Backoff::default());
        while let Some(until) = self.until() {
            let now = Instant::now();
            if now < due {
                sleep_until(due.min(until)).await;
                continue;
            }
            match timeout_at(until, remote.acquire(&self.claim, Wish::Renew)).await {
                Ok(Ok(Acquired::Held { .. })) => {
                    self.extend(now);
                    due = now + lease / 3;
                    backoff.reset();
                }
                // It was forgotten, or somebody else has it.
                Ok(Ok(_)) => {
                    // If it was not given back meanwhile.
                    if self.until().is_some() {
                        self.count_lost();
                    }
                    break;
                }
                Ok(Err(_)) => due = Instant::now() + backoff.next(cache.random()).min(lease / 10),
                // It is over.
                Err(_) => {}
            }
        }
        self.end();
    }
}

/// For how long a lease is relied on: less than it is by what clocks may differ, and by what it takes to
/// get from a look at the clock to what is done then.
fn term(lease: Duration) -> Duration {
    lease.saturating_sub((lease / 10).min(Duration::from_secs(1)))
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("key", &self.claim.key).finish_non_exhaustive()
    }
}
