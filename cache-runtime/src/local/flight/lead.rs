//! The leader of a flight.

use std::{sync::Arc, time::Duration};

use super::{Flight, Follower, Named, Offered, Outcome, Shard, Stamp};
use crate::{
    call::Call,
    clock::nanos,
    counters::{Count, Counters},
    local::{
        fresh::Old,
        store::{Evicted, Kept},
    },
    remote::{self, Token},
    sync::{atomic::Ordering::Relaxed, lock},
};
#[cfg(feature = "tracing")]
use crate::{key::function, watch::events};

/// The one caller that runs. Dropped before it has landed, it leaves the flight to a follower.
///
/// One pointer: what belongs to the leader alone is in the flight, whose next leader overwrites it.
pub(crate) struct Lead {
    flight: Arc<Flight>,
}

impl Lead {
    pub(super) fn new(flight: Arc<Flight>, function: u32, now: u64) -> Self {
        flight.function.store(function, Relaxed);
        flight.ended.store(0, Relaxed);
        flight.denied.store(false, Relaxed);
        flight.loaded.store(now, Relaxed);
        Self { flight }
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    pub(crate) fn name(&self) -> &Named {
        &self.flight.name
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let Flight { name, generation, loaded, .. } = &*self.flight;
        let generation = generation.load(Relaxed);
        let now = match self.flight.ended.load(Relaxed) {
            0 => self.flight.cache.time.now(),
            ended => ended,
        };
        let loaded = loaded.load(Relaxed);
        Stamp { slot: name.slot(), generation, loaded, now }
    }

    /// The lease of this load in the remote tier, if it has one.
    pub(crate) fn token(&self) -> Option<Token> {
        self.flight.token.get().copied()
    }

    pub(crate) fn is_patient(&self) -> bool {
        self.flight.patient
    }

    /// Something is about to be asked or begun that may show the value to be current. Who joins
    /// from now on joins later than that.
    pub(crate) fn mark(&self) -> u32 {
        let flight = &self.flight;
        let _shard = flight.shard();
        flight.moment.fetch_add(1, Relaxed) + 1
    }

    /// What was marked has shown that the value was current then.
    pub(crate) fn confirm(&self, mark: u32) {
        self.flight.confirmed.fetch_max(mark, Relaxed);
    }

    /// It has waited, and is about to read anew: what came until now outdates nothing that it will
    /// have. Unless this process itself is changing the key.
    pub(crate) fn look_anew(&self) {
        let flight = &self.flight;
        if self.may_be_kept() {
            return;
        }
        if let Some(tags) = flight.tags() {
            tags.begin_anew(&flight.cache);
            if tags.was_pending() {
                // What it will find may be from before, and so would be what it keeps or shares.
                flight.supersede();
                flight.shard().remove(flight);
                return;
            }
        }
        let mut shard = flight.shard();
        if shard.is_pending(&flight.name) {
            return;
        }
        flight.generation.store(flight.cache.generations.at(flight.name.slot()), Relaxed);
        flight.superseded.store(false, Relaxed);
        // It may have been taken off.
        shard.remove(flight);
        shard.insert(flight);
    }

    /// A guard has denied something inside of the run: an error of it is nobody else's.
    pub(crate) fn was_denied(&self) {
        self.flight.denied.store(true, Relaxed);
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.flight.denied.load(Relaxed)
    }

    /// Whether what this flight comes to is in the place of a value that may be served meanwhile.
    pub(crate) fn replaces(&self) -> bool {
        self.flight.replaces.load(Relaxed)
    }

    /// The value that is to be replaced, if it is of use to the leader.
    pub(crate) fn old(&self) -> Option<Kept> {
        lock(&self.flight.old).as_ref().map(|old| old.entry.clone())
    }

    /// Whether that was read in the remote tier.
    pub(crate) fn has_read(&self) -> bool {
        lock(&self.flight.old).as_ref().is_some_and(|old| old.read.is_some())
    }

    /// Nobody vouches for it any more, unless it is in memory and would be a hit there.
    pub(crate) fn forget_old(&self) {
        let now = self.flight.cache.time.now();
        lock(&self.flight.old).take_if(|old| old.read.is_some() || now >= old.entry.header.expires);
    }

    /// There is an old value, as it was read at this moment of the flight: whoever waits takes it, if it
    /// is of use to him.
    pub(crate) fn offer(&self, call: &Call, entry: Kept, read: u32) {
        let flight = &self.flight;
        flight.replaces.store(true, Relaxed);
        let offered = Offered { entry: entry.clone(), read: Some(read) };
        *lock(&flight.old) = Some(offered);
        let evicted = {
            let shard = flight.shard();
            self.keep_old(&shard, call, entry, flight.cache.time.now())
        };
        drop(evicted);
        flight.changed.notify_waiters();
    }

    /// Keeps an old value in memory, if it may be, and lets nobody refresh it until then.
    fn keep_old(&self, shard: &Shard, call: &Call, old: Kept, until: u64) -> Evicted {
        let flight = &self.flight;
        old.label(call, flight.tags());
        if !call.is_kept_here() || !self.may_be_kept() || shard.is_pending(&flight.name) {
            return Evicted::default();
        }
        let now = flight.cache.time.now();
        flight.cache.store.insert(call, old.paused(now, until))
    }

    /// The leader goes on without its caller, who waits for it like others.
    pub(crate) fn follow(&self, call: &Call, old: Old, now: u64) -> Follower {
        let _shard = self.flight.shard();
        Follower::join(&self.flight, call, Some(old), now)
    }

    /// What the commands of this flight took so far.
    pub(crate) fn spent(&self) -> Duration {
        let spent = self.flight.fetch.as_ref().map(|fetch| fetch.spent.load(Relaxed));
        Duration::from_nanos(spent.unwrap_or(0))
    }

    pub(crate) fn spend(&self, time: Duration) {
        if let Some(fetch) = &self.flight.fetch {
            fetch.spent.fetch_add(nanos(time), Relaxed);
        }
    }

    pub(crate) fn forget_spent(&self) {
        if let Some(fetch) = &self.flight.fetch {
            fetch.spent.store(0, Relaxed);
        }
    }

    /// What the run took.
    pub(crate) fn cost(&self) -> Duration {
        let (started, ended) = (&self.flight.started, &self.flight.ended);
        Duration::from_nanos(ended.load(Relaxed).saturating_sub(started.load(Relaxed)))
    }

    pub(crate) fn granted(&self, token: Token) {
        let _ = self.flight.token.set(token);
    }

    /// The remote tier took the lease back, with a value or because it was lost.
    pub(crate) fn used_up(&self) {
        self.flight.token_used.store(true, Relaxed);
    }

    /// Whatever this load comes to is not stored: the remote tier said no.
    pub(crate) fn keep_nothing(&self) {
        self.flight.supersede();
    }

    fn counters(&self) -> &Counters {
        self.flight.cache.functions.of(self.flight.function.load(Relaxed))
    }

    /// The function starts, or goes on.
    pub(crate) fn run(&self, counts: bool) {
        let flight = &self.flight;
        if !flight.running.load(Relaxed) {
            flight.running.store(true, Relaxed);
            flight.counts.store(counts, Relaxed);
            // Without a remote tier it starts as soon as the load begins.
            let started = match flight.cache.remote {
                None => flight.loaded.load(Relaxed),
                Some(_) => flight.cache.time.now(),
            };
            flight.started.store(started, Relaxed);
            #[cfg(feature = "metrics")]
            flight.timed.store(flight.cache.time.precise(), Relaxed);
            if flight.cache.remote.is_some() {
                self.confirm(self.mark());
            }
            if let Some(fetch) = &flight.fetch {
                let _ = fetch.ran_after.set(fetch.began.elapsed());
            }
            self.count(Count::Runs, 1);
        }
    }

    /// The function returned, or was dropped.
    pub(crate) fn ran(&self) {
        let flight = &self.flight;
        // Only the leader changes it.
        if flight.running.load(Relaxed) {
            flight.running.store(false, Relaxed);
            // By the coarse clock: a short run counts as none, or rarely as a whole tick, and over
            // many that comes to the same.
            let ended = flight.cache.time.now();
            flight.ended.store(ended, Relaxed);
            let took = ended.saturating_sub(flight.started.load(Relaxed));
            self.count(Count::Ended, 1);
            self.count(Count::RunNanos, took);
            #[cfg(feature = "metrics")]
            if flight.counts.load(Relaxed) {
                let since = flight.timed.load(Relaxed);
                let took = flight.cache.time.precise().saturating_sub(since);
                crate::watch::record_run(flight.function.load(Relaxed), took);
            }
        }
    }

    pub(crate) fn failed(&self) {
        self.count(Count::Errors, 1);
        #[cfg(feature = "tracing")]
        if self.flight.counts.load(Relaxed) {
            events::run_failed(function(self.flight.function.load(Relaxed)));
        }
    }

    /// Counts something of the run.
    fn count(&self, count: Count, more: u64) {
        if self.flight.counts.load(Relaxed) {
            self.counters().add(count, more);
        }
    }

    /// A result is not stored that should have been.
    pub(crate) fn refused(&self) {
        self.counters().add(Count::Refused, 1);
        #[cfg(feature = "tracing")]
        events::fill_refused(function(self.flight.function.load(Relaxed)));
    }

    /// Whether anybody waits. One who joins later runs for itself.
    pub(crate) fn has_followers(&self) -> bool {
        self.flight.followers.load(Relaxed) > 0
    }

    /// From now on nobody joins; says how many have.
    pub(crate) fn close(&self) -> usize {
        let mut shard = self.flight.shard();
        shard.remove(&self.flight);
        self.flight.followers.load(Relaxed)
    }

    /// Whether something came between that outdates what this flight loaded: not what became of
    /// other keys of its slot, or of the link to other processes.
    pub(crate) fn is_superseded(&self) -> bool {
        self.flight.is_superseded()
    }

    /// Whether what this flight loaded may be kept in memory.
    fn may_be_kept(&self) -> bool {
        !self.is_superseded() && !self.flight.is_outdated()
    }

    /// Keeps the entry, if it may, and gives it to the followers.
    pub(crate) fn land_stored(self, call: &Call, entry: Kept) {
        let flight = &*self.flight;
        let mut shard = flight.shard();
        let (mut evicted, mut is_refused) = (Evicted::default(), false);
        if self.may_be_kept() && !shard.is_pending(&flight.name) {
            entry.label(call, flight.tags());
            evicted = flight.cache.store.insert(call, entry.clone());
            shard.supersede_older(flight);
        } else {
            is_refused = !flight.token_used.load(Relaxed);
        }
        shard.remove(&self.flight);
        let followers = flight.followers.load(Relaxed);
        drop(shard);
        drop(evicted);
        if is_refused {
            self.refused();
        }
        flight.publish(Outcome::Value(entry), followers);
    }

    /// Lands with a value that somebody else refreshes, or nobody until then.
    pub(crate) fn land_paused(self, call: &Call, entry: Kept, until: u64, outcome: Outcome) {
        let shard = self.flight.shard();
        let evicted = self.keep_old(&shard, call, entry, until);
        drop(shard);
        drop(evicted);
        self.land(outcome);
    }

    /// The run has failed, and this value is in the place of its result, if nothing has outdated it: it
    /// is not refreshed until then. For whom it is too old there is the other outcome.
    pub(crate) fn land_old(self, call: &Call, old: Kept, until: u64, other: Outcome) -> bool {
        let flight = &*self.flight;
        let shard = flight.shard();
        let stands = self.may_be_kept()
            && !shard.is_pending(&flight.name)
            && flight.cache.generations.is_at(&old.header)
            && old.has_current_tags(call);
        let evicted = if stands {
            self.keep_old(&shard, call, old.clone(), until)
        } else {
            Evicted::default()
        };
        drop(shard);
        drop(evicted);
        self.land(if stands { Outcome::Old(old, Box::new(other)) } else { other });
        stands
    }

    /// Gives the followers what they get, and stores nothing.
    pub(crate) fn land(self, outcome: Outcome) {
        let followers = self.close();
        self.flight.publish(outcome, followers);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.ran();
        let flight = &self.flight;
        if flight.landed.load(Relaxed) {
            return remote::give_back(flight);
        }
        let mut shard = flight.shard();
        if flight.followers.load(Relaxed) == 0 {
            shard.remove(flight);
            drop(shard);
            remote::give_back(flight);
        } else {
            flight.vacant.store(true, Relaxed);
            drop(shard);
            // All of them: one alone may be held by a task that does not poll it, and would keep
            // the flight to itself.
            flight.changed.notify_waiters();
        }
    }
}
