//! How a lock is taken.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Lock, LockError, LockGuard,
    guard::There,
    held::Held,
    queue::{Queue, Turn},
};
use crate::{
    cache::Cache,
    error::Error,
    remote::{Acquired, Backoff, Claim, Remote, Wish},
    tally::LockCounts,
};

/// Between two asks of one that waits, so that it keeps its place.
const POLLS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(400));

impl Lock {
    /// Where there is no remote tier, the turn in this process is the lock.
    pub(super) async fn acquire_here(
        &self,
        wait: Duration,
        by: Instant,
    ) -> Result<LockGuard, LockError> {
        let queue = Queue::of(&self.cache, &self.name.to_text());
        let turn = turn(&queue, wait, by).await.ok_or(LockError::TimedOut)?;
        Ok(LockGuard::here(turn, queue))
    }

    pub(super) async fn acquire_there(
        &self,
        remote: &Arc<dyn Remote>,
        wait: Duration,
        by: Instant,
    ) -> Result<LockGuard, LockError> {
        let queue = Queue::of(&self.cache, &self.name.to_text());
        if wait.is_zero() {
            if queue.is_held() {
                return Err(LockError::TimedOut);
            }
            let mut claiming = self.claiming(remote);
            return claiming.ask_last(queue).await;
        }
        let Some(_turn) = turn(&queue, wait, by).await else {
            return Err(if remote.is_usable() {
                LockError::TimedOut
            } else {
                LockError::Unavailable { source: Error::Unavailable }
            });
        };
        let mut backoff = Backoff::default();
        let mut claiming = self.claiming(remote);
        let mut turns = remote.turns(&claiming.claim);
        while Instant::now() < by {
            match claiming.ask(Wish::Wait).await {
                Ok(Asked::Held(fence, held)) => return Ok(claiming.guard(fence, held, queue)),
                Ok(Asked::Over) => {}
                Ok(Asked::Busy { left, ahead }) => {
                    let pause =
                        self.pause(left, ahead).min(by.saturating_duration_since(Instant::now()));
                    turns.next(pause).await;
                    continue;
                }
                Err(_) => {
                    let pause = backoff.next(self.cache.random());
                    sleep_until((Instant::now() + pause).min(by)).await;
                }
            }
            // What became of it nobody knows, or will be undone.
            claiming = self.claiming(remote);
            turns = remote.turns(&claiming.claim);
        }
        claiming.ask_last(queue).await
    }

    /// How long until it is time to ask again, if nothing is heard.
    fn pause(&self, left: Duration, ahead: Option<u64>) -> Duration {
        let (least, most) = POLLS;
        let range = most.saturating_sub(least).as_micros() as u64;
        let pause = least + Duration::from_micros(self.cache.random() % range);
        // The next one asks when a holder has died, or one that came first.
        let is_next = ahead.is_some_and(|ahead| ahead <= 1);
        if is_next { pause.min(left + Duration::from_millis(1)) } else { pause }
    }

    fn claiming<'a>(&'a self, remote: &'a Arc<dyn Remote>) -> Claiming<'a> {
        let claim = Claim { key: self.remote_key(), token: self.cache.token(), lease: self.lease };
        let counts = self.counts();
        Claiming { cache: &self.cache, remote, claim, has_place: false, counts }
    }
}

/// The turn in this process.
async fn turn(queue: &Queue, wait: Duration, by: Instant) -> Option<Turn> {
    let turn = queue.try_turn();
    // Without a runtime nobody can be waited for.
    if turn.is_some() || wait.is_zero() || Handle::try_current().is_err() {
        return turn;
    }
    timeout_at(by, queue.turn()).await.ok().flatten()
}

/// One that asks for a lock. What it has of it is given back when it is dropped.
struct Claiming<'a> {
    cache: &'a Cache,
    remote: &'a Arc<dyn Remote>,
    claim: Claim,
    /// Among those who wait in the remote tier.
    has_place: bool,
    counts: &'a Arc<LockCounts>,
}

/// What came of it.
enum Asked {
    Held(u64, Arc<Held>),
    /// It was granted, and is over already: the answer took too long.
    Over,
    Busy {
        left: Duration,
        ahead: Option<u64>,
    },
}

impl Claiming<'_> {
    async fn ask(&mut self, wish: Wish) -> Result<Asked, Error> {
        let sent = Instant::now();
        match self.remote.acquire(&self.claim, wish).await {
            Ok(Acquired::Held { fence }) => {
                let held = Held::since(sent, self.claim.clone());
                // If it is over, it is given back as a place is.
                self.has_place = held.is_lost();
                Ok(if self.has_place { Asked::Over } else { Asked::Held(fence, held) })
            }
            Ok(Acquired::Busy { left, ahead }) => {
                self.has_place = ahead.is_some();
                Ok(Asked::Busy { left, ahead })
            }
            Ok(Acquired::Lost) => Ok(Asked::Over),
            // The tier sees to what it may have taken. A place of before is given up.
            Err(error) => Err(error),
        }
    }

    async fn ask_last(&mut self, queue: Queue) -> Result<LockGuard, LockError> {
        match self.ask(Wish::Now).await {
            Ok(Asked::Held(fence, held)) => Ok(self.guard(fence, held, queue)),
            Ok(Asked::Over) => Err(LockError::Lost),
            Ok(Asked::Busy { .. }) => Err(LockError::TimedOut),
            Err(source) => Err(LockError::Unavailable { source }),
        }
    }

    fn guard(&self, fence: u64, held: Arc<Held>, queue: Queue) -> LockGuard {
        let (cache, remote) = (self.cache.clone(), Arc::clone(self.remote));
        held.count_in(self.counts);
        let renewal = Handle::try_current().ok().map(|runtime| {
            let renewing = Arc::clone(&held).renew(cache.clone(), Arc::clone(&remote));
            runtime.spawn(renewing).abort_handle()
        });
        LockGuard::there(fence, There { cache, remote, held, renewal, is_given_back: false }, queue)
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if self.has_place {
            let (remote, claim) = (Arc::clone(self.remote), self.claim.clone());
            self.cache.background.spawn(async move {
                // A place that is not given up ends by itself.
                let _ = remote.unlock(&claim).await;
            });
        }
    }
}
