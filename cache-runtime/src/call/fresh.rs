//! What a call does with a value that is old, or about to be.

use std::time::Duration;

use super::Call;
use crate::{
    key::{Lifetimes, serves_old},
    local::{Aged, Freshness, Kept, Old, Remembered, Standing},
};

/// What memory has for a call.
pub(crate) enum Recalled {
    Nothing,
    Fresh(Kept),
    /// To be refreshed, or replaced.
    Old(Old),
    /// Of no use to anybody here.
    Dead,
}

impl Call {
    pub(crate) fn lifetimes(&self) -> &Lifetimes {
        let given = self.key.apart.as_ref().and_then(|apart| apart.lifetimes.as_ref());
        given.unwrap_or(&self.instance.site.lifetimes)
    }

    pub(crate) fn freshness(&self) -> &Freshness {
        &self.lifetimes().freshness
    }

    /// What memory has, if it may be used.
    pub(crate) fn recall(&self, now: u64) -> Recalled {
        let cache = self.cache();
        let Some(remembered) = cache.store.recall(self) else {
            return Recalled::Nothing;
        };
        let Remembered { entry, cost, paused_until, since } = remembered;
        let may_be_used = cache.vouches_for(&entry.header, now)
            && entry.has_current_tags(self)
            && self.reads(&entry);
        if !may_be_used {
            return Recalled::Dead;
        }
        let is_paused = now < paused_until;
        let standing = self.standing(entry.aged(cost, now));
        let wait = match standing {
            // It stays where the function that has stored it may still have a use for it.
            Standing::Dead if serves_old(entry.header.function) => return Recalled::Nothing,
            Standing::Dead => return Recalled::Dead,
            Standing::Fresh => return Recalled::Fresh(entry),
            Standing::Early if is_paused => return Recalled::Fresh(entry),
            // Memory keeps nothing for longer than it was told to: then the remote tier knows better.
            Standing::Stale | Standing::IfError
                if now >= since.saturating_add(self.kept_here()) =>
            {
                return Recalled::Dead;
            }
            Standing::Stale | Standing::IfError if is_paused => Some(Duration::ZERO),
            Standing::Early | Standing::Stale | Standing::IfError => {
                self.freshness().wait(standing)
            }
        };
        Recalled::Old(Old { entry, wait, is_paused })
    }

    /// What a value is to this call.
    pub(crate) fn standing(&self, aged: Aged) -> Standing {
        self.freshness().standing(aged, || self.cache().random())
    }

    /// An entry that is old, if it is of use to this call.
    pub(crate) fn old(&self, entry: Kept, now: u64) -> Option<Old> {
        // Nothing is drawn: without a cost there is nothing to refresh before its time.
        match self.standing(entry.aged(0, now)) {
            Standing::Dead => None,
            standing => {
                let wait = self.freshness().wait(standing);
                Some(Old { entry, wait, is_paused: false })
            }
        }
    }

    /// Whether it waits for a new value where it may have an old one.
    pub(crate) fn waits_for_new(&self) -> bool {
        self.freshness().max_wait.is_some()
    }

    /// Whether a value may be in the place of the result of a run that has failed, or is too slow.
    pub(crate) fn is_of_use(&self, old: &Kept, now: u64) -> bool {
        self.reads(old)
            && old.has_current_tags(self)
            && self.standing(old.aged(0, now)) != Standing::Dead
    }

    /// For how long nobody runs a function again that has failed, while there is an old value: as long
    /// as a value lives, and no longer than a lease.
    pub(crate) fn throttle(&self) -> Duration {
        let lease = self.cache().settings.lease;
        match self.lifetimes().ttl {
            // Only each value says it.
            0 => lease,
            ttl => lease.min(Duration::from_nanos(ttl)),
        }
    }
}
