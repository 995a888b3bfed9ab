//! Locks: who has one, who waits for it, and how it is given back.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::Value;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        connection::Connection,
        failure::Failure,
        scripts::{self, Command as _},
        subscriber::Kind,
        waiters::Waiter,
        wire::Request,
    },
    Inner, MOST, RETRY,
};
use crate::{
    error::Error,
    remote::{Acquired, Claim, Turns, Wish},
};

impl Inner {
    pub(super) async fn acquire(
        self: &Arc<Self>,
        claim: &Claim,
        wish: Wish,
    ) -> Result<Acquired, Error> {
        let Claim { key, token, lease } = claim;
        let not_after = self.not_after(Instant::now(), self.budget);
        let command = scripts::Acquire { key, token: *token, lease: *lease, not_after, wish };
        let request = Request::of(&command);
        let answered = match wish {
            // One that comes late makes a lock last longer which its holder gives back, or has given back.
            Wish::Renew => self.connection.run(request, self.budget).await,
            Wish::Now | Wish::Wait => {
                let (late, claim) = (Arc::downgrade(self), claim.clone());
                let on_late = move |answered| come_late(&late, claim, answered);
                self.connection.run_or_late(request, self.budget, on_late).await
            }
        };
        let answer = scripts::Acquire::answer(answered?).ok_or(Failure::Garbage)?;
        match answer.outcome {
            scripts::Acquired::Held(fence) => Ok(Acquired::Held { fence }),
            scripts::Acquired::Busy { left, ahead } => Ok(Acquired::Busy { left, ahead }),
            scripts::Acquired::Lost => Ok(Acquired::Lost),
            scripts::Acquired::Late => Err(Error::Timeout { budget: self.budget }),
        }
    }

    pub(super) async fn unlock(self: &Arc<Self>, claim: &Claim) -> Result<bool, Error> {
        let answer = self.try_unlock(claim).await;
        if answer.is_err_and(|failure| !matches!(failure, Failure::Refused(_))) {
            self.owe_lock(claim.clone());
        }
        Ok(answer?)
    }

    async fn try_unlock(&self, Claim { key, token, .. }: &Claim) -> Result<bool, Failure> {
        let message = self.message(Kind::Wake, "");
        let (channel, message) = (self.service_key.as_str(), message.as_slice());
        let command = scripts::Unlock { key, token: *token, channel, message };
        let answer = self.connection.run(Request::of(&command), self.budget).await?;
        Ok(scripts::Unlock::answer(answer).ok_or(Failure::Garbage)?.outcome)
    }

    /// Unlocks as soon as there is a connection again, or nobody would get the lock until its lease ends.
    fn owe_lock(self: &Arc<Self>, claim: Claim) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let owed = Arc::clone(&self.owed);
        if Arc::strong_count(&owed) - 1 > MOST {
            return;
        }
        let (lease, back) = (claim.lease, self.connection.back());
        let unlock = timeout(lease, pay(Arc::downgrade(self), back, claim));
        runtime.spawn(async move {
            // By then it has ended.
            let _ = unlock.await;
            drop(owed);
        });
    }

    pub(super) fn turns(&self, Claim { key, token, .. }: &Claim) -> Box<dyn Turns> {
        let waiter = self.ears.waiters.wait(&scripts::name_of(key, *token));
        Box::new(Told { waiter, connection: self.connection.clone() })
    }
}

/// Unlocks on the next connection, and on others until one takes it.
async fn pay(inner: Weak<Inner>, first: impl Future<Output = bool> + Send, claim: Claim) {
    let mut is_back = first.await;
    while let Some(inner) = inner.upgrade().filter(|_| is_back) {
        if let Ok(_) | Err(Failure::Refused(_)) = inner.try_unlock(&claim).await {
            return;
        }
        // Whatever was lost may not be known to be lost yet.
        sleep(RETRY).await;
        let back = inner.connection.back();
        drop(inner);
        is_back = back.await;
    }
}

/// An answer to ACQUIRE that nobody waits for any more.
fn come_late(inner: &Weak<Inner>, claim: Claim, answered: Result<Value, Failure>) {
    let answer = answered.and_then(|answer| {
        scripts::Acquire::answer(answer).map(|answer| answer.outcome).ok_or(Failure::Garbage)
    });
    match answer {
        Ok(scripts::Acquired::Held(_) | scripts::Acquired::Busy { ahead: Some(_), .. }) => {}
        // It may have been.
        Err(failure) if failure.is_broken() => {}
        Ok(_) | Err(_) => return,
    }
    let Some(inner) = inner.upgrade() else {
        return;
    };
    if !matches!(answer, Ok(scripts::Acquired::Busy { .. })) {
        inner.late_grants.fetch_add(1, Relaxed);
    }
    tokio::spawn(async move {
        // What is not given back ends by itself.
        let _ = inner.unlock(&claim).await;
    });
}

/// One that waits for its turn: told by a message, and behind it by its own clock.
struct Told {
    waiter: Waiter,
    connection: Connection,
}

impl Turns for Told {
    fn next(&mut self, within: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // Whatever it was, it is time to ask.
            let _ = self.waiter.changed_within(within, self.connection.broken()).await;
        })
    }
}
