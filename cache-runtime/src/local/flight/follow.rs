//! The followers of a flight: callers that wait for another's run.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{EVERYBODY, Flight, Lead, Offered, Outcome};
use crate::{
    cache::{Circle, InScope},
    call::Call,
    local::{fresh::Old, store::Kept, waits::Edge},
    remote,
    sync::{atomic::Ordering::Relaxed, lock},
};

/// What a leader needs for its last look at the remote tier.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// A caller that waits for another's run.
pub(crate) struct Follower {
    flight: Arc<Flight>,
    /// The number of its site.
    function: u32,
    joined: Joined,
    /// In a flight that asks the remote tier.
    since: Option<Instant>,
    /// Of one that takes an old value.
    wanting: Option<Box<Wanting>>,
    /// The run that it is made in waits for the flight.
    edge: Edge,
    /// It leads now.
    left: bool,
}

/// Of a follower that takes an old value, if there is one.
struct Wanting {
    call: Call,
    /// What it knew of when it came.
    old: Option<Old>,
    since: Instant,
}

/// When a follower joined.
#[derive(Debug, Clone, Copy)]
struct Joined {
    /// At which moment of the flight.
    moment: u32,
    /// Whether memory would have served it something as old as this flight then.
    takes_old: bool,
}

/// What became of the wait.
pub(crate) enum Followed {
    Landed(Outcome),
    /// It takes this, and the run goes on.
    Old(Kept),
    Lead(Lead),
    /// It waited long enough: whoever's wait has ended shares one new flight.
    Overdue,
}

impl Follower {
    /// Under the lock of the flight's shard.
    pub(super) fn join(flight: &Arc<Flight>, call: &Call, old: Option<Old>, now: u64) -> Self {
        flight.followers.fetch_add(1, Relaxed);
        let joined = Joined {
            moment: flight.moment.load(Relaxed),
            takes_old: call.is_kept_here() && flight.is_trusted(now),
        };
        let function = call.instance.number;
        flight.cache.functions.of(function).waiters.fetch_add(1, Relaxed);
        let since = flight.fetch.is_some().then(Instant::now);
        let wanting = call
            .freshness()
            .is_any()
            .then(|| Box::new(Wanting { call: call.clone(), old, since: Instant::now() }));
        let flight = Arc::clone(flight);
        Self { flight, function, joined, since, wanting, edge: None, left: false }
    }

    /// F5: whether a value is current enough for this follower: it was when it joined or later, or
    /// memory would have served it something as old.
    fn may_take_value(&self) -> bool {
        let confirmed = self.flight.confirmed.load(Relaxed);
        confirmed == EVERYBODY || self.joined.moment < confirmed || self.joined.takes_old
    }

    /// The old value that this follower takes by now.
    fn takes_old(&self) -> Option<Kept> {
        let Wanting { call, old, since } = self.wanting.as_deref()?;
        let offered = || {
            let Offered { entry, read } = lock(&self.flight.old).clone()?;
            let is_current = self.joined.takes_old || self.joined.moment < read?;
            is_current.then(|| call.old(entry, self.flight.cache.time.now()))?
        };
        let cache = &self.flight.cache;
        let now = cache.time.now();
        // What was in memory is to be trusted as it would be there.
        let own = || old.clone().filter(|_| !call.is_kept_here() || cache.trust.lasts(now));
        let old = offered().or_else(own)?;
        let waited = old.wait.is_some_and(|wait| since.elapsed() >= wait.min(cache.settings.lease));
        let is_current = !self.flight.is_superseded()
            && cache.generations.is_at(&old.entry.header)
            && call.is_of_use(&old.entry, now);
        (waited && is_current).then_some(old.entry)
    }

    /// How long it waits at most where there is an old value for it: for no longer than a lease, as any.
    fn max_wait(&self) -> Option<Duration> {
        let most = self.wanting.as_ref()?.call.freshness().max_wait.map(Duration::from_nanos)?;
        Some(most.min(self.flight.cache.settings.lease))
    }

    /// What it gets of a run that has failed where there is an old value.
    fn takes(&self, old: &Kept, other: &Outcome) -> Followed {
        let is_of_use =
            |wanting: &Wanting| wanting.call.is_of_use(old, self.flight.cache.time.now());
        if self.may_take_value() && self.wanting.as_deref().is_some_and(is_of_use) {
            Followed::Old(old.clone())
        } else {
            Followed::Landed(other.clone())
        }
    }

    /// The run that it is made in will wait for the flight.
    pub(crate) fn wait(&mut self) -> Result<(), Circle> {
        self.edge = InScope::follows(&self.flight)?;
        Ok(())
    }

    /// Becomes the leader of a flight that has lost its own; `None` where another did, or has to: what this
    /// one waits for besides waits for that flight, too.
    fn take_over(&mut self) -> Option<Followed> {
        let Self { flight, function, left, edge, .. } = self;
        let mut shard = flight.shard();
        if !flight.vacant.load(Relaxed) {
            return None;
        }
        if let Some(edge) = edge.as_mut().filter(|edge| edge.is_of_element())
            && !edge.turn()
        {
            return None;
        }
        flight.vacant.store(false, Relaxed);
        *left = true;
        let followers = flight.followers.fetch_sub(1, Relaxed) - 1;
        if flight.is_outdated() || flight.superseded.load(Relaxed) {
            // A run that begins now is newer than what outdated the flight.
            shard.remove(flight);
            drop(shard);
            flight.publish(Outcome::Again, followers);
            remote::give_back(flight);
            return Some(Followed::Landed(Outcome::Again));
        }
        drop(shard);
        if flight.fetch.is_some() && flight.token.get().is_none() {
            // What the leader before has found may be from before this one joined; it looks by itself.
            *lock(&flight.old) = None;
        }
        if let Some(tags) = &flight.tags {
            tags.goes_by(u64::MAX);
        }
        let now = flight.cache.time.now();
        Some(Followed::Lead(Lead::new(Arc::clone(flight), *function, now)))
    }

    /// How much longer to wait at the end of a wait, if at all: a leader that waited for the run of
    /// another process, and has begun its own by now or is about to, is shared as it would be by who
    /// comes now.
    fn more_patience(&self) -> Option<Duration> {
        let (fetch, lease) = (self.flight.fetch.as_ref()?, self.flight.cache.settings.lease);
        let waited = self.since?.elapsed();
        match fetch.ran_after.get() {
            None => (waited < 2 * lease).then_some(LAST_LOOK),
            Some(ran_after) => {
                let began = fetch.began + *ran_after;
                if self.since? >= began {
                    return None;
                }
                let left = lease.saturating_sub(began.elapsed());
                (!left.is_zero()).then_some(left)
            }
        }
    }

    /// Nobody else joins a flight that somebody has waited for too long.
    fn give_up(&self) {
        let _shard = self.flight.shard();
        self.flight.joinable.store(false, Relaxed);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let Self { flight, function, left, edge, .. } = self;
        // Before others look whether it still waits.
        drop(edge.take());
        flight.cache.functions.of(*function).waiters.fetch_sub(1, Relaxed);
        if *left {
            return;
        }
        let mut shard = flight.shard();
        let remaining = flight.followers.fetch_sub(1, Relaxed) - 1;
        if !flight.vacant.load(Relaxed) {
            return;
        }
        if remaining == 0 {
            shard.remove(flight);
            drop(shard);
            remote::give_back(flight);
        } else {
            drop(shard);
            // Another could not take it over while this one waited for it.
            flight.changed.notify_waiters();
        }
    }
}

/// Waits for the landing of a flight, for `lease` at most. Who leads it then still waits for it, or it for him.
pub(crate) async fn follow(mut follower: Follower) -> (Followed, Edge) {
    let outcome = follow_patiently(&mut follower).await;
    (outcome, follower.edge.take())
}

async fn follow_patiently(follower: &mut Follower) -> Followed {
    // Without a runtime there are no timers, and the wait has no end but the landing.
    if tokio::runtime::Handle::try_current().is_err() {
        return landing(follower).await;
    }
    let mut patience = follower.flight.cache.settings.lease;
    if let Some(wait) = follower.max_wait() {
        if let Ok(followed) = tokio::time::timeout(wait, landing(follower)).await {
            return followed;
        }
        patience -= wait;
    }
    loop {
        // One timer for all of the wait, whoever polls the rest of it.
        if let Ok(followed) = tokio::time::timeout(patience, landing(follower)).await {
            return followed;
        }
        match follower.more_patience() {
            Some(more) => patience = more,
            None => break,
        }
    }
    follower.give_up();
    Followed::Overdue
}

async fn landing(follower: &mut Follower) -> Followed {
    let flight = Arc::clone(&follower.flight);
    loop {
        let mut changed = pin!(flight.changed.notified());
        // From here on no notification is missed.
        changed.as_mut().enable();
        if let Some(outcome) = flight.outcome.get() {
            return Followed::Landed(match outcome {
                Outcome::Value(_) if !follower.may_take_value() => Outcome::Again,
                Outcome::Old(old, other) => return follower.takes(old, other),
                outcome => outcome.clone(),
            });
        }
        if let Some(old) = follower.takes_old() {
            return Followed::Old(old);
        }
        if flight.vacant.load(Relaxed)
            && let Some(followed) = follower.take_over()
        {
            return followed;
        }
        changed.await;
    }
}
