//! What outdates a key, and what is pending of it while somebody changes it.

use hashbrown::hash_table::Entry;

use super::{Evicted, Flight, Flights, Named, SeqCst, Shard, lock};
use crate::{
    cache::Inner,
    call::Call,
    local::{
        store::Kept,
        tags::{Tagged, note_bump},
    },
};

#[derive(Debug)]
pub(super) struct Pending {
    name: Named,
    /// The invalidation that began last, of those that are under way or failed; 0 for none.
    newest: u64,
    /// Writers that are in the middle of a change.
    holds: u32,
    /// Whether anything else has changed the key while one of them was: then none of them knows the
    /// value that came of it.
    contended: bool,
}

/// A moment: how many flights and invalidations had begun in each shard.
pub(crate) struct Before(Box<[u64]>);

impl Flights {
    /// Outdates what memory has of the key, and what is being loaded: no later call joins it,
    /// and it stores nothing.
    pub(crate) fn outdate(cache: &Inner, name: &Named, call: Option<&Call>) {
        let mut shard = cache.flights.shard(name);
        let dead = shard.outdate(cache, name, call);
        drop(shard);
        drop(dead);
    }

    /// As `outdate`, by a message of another process. What is being loaded may have been read after
    /// the change or before: the lease knows, and so it may still be stored in the remote tier.
    pub(crate) fn hear(cache: &Inner, name: &Named) {
        let mut shard = cache.flights.shard(name);
        shard.bump(cache, name);
        shard.take_off(name, |_| true, |_| {});
    }

    /// As `outdate`, and from now on nothing is read or stored for the key in this process,
    /// until `confirm` of this invalidation, which is numbered, or of a later one.
    pub(crate) fn suspend(cache: &Inner, name: &Named, call: Option<&Call>) -> u64 {
        let mut shard = cache.flights.shard(name);
        shard.begun += 1;
        let number = shard.begun;
        shard.change_pending(&cache.flights, name, |pending| pending.newest = number);
        let dead = shard.outdate(cache, name, call);
        drop(shard);
        drop(dead);
        number
    }

    /// The invalidation landed. Outdates again: what was loaded meanwhile may be from before.
    pub(crate) fn confirm(cache: &Inner, name: &Named, number: u64) {
        let mut shard = cache.flights.shard(name);
        shard.change_pending(&cache.flights, name, |pending| {
            // One that was sent later makes up for those that failed or were dropped before.
            if pending.newest <= number {
                pending.newest = 0;
            }
        });
        let dead = shard.outdate(cache, name, None);
        drop(shard);
        drop(dead);
    }

    /// A writer begins a change: until it has settled, nothing is read or stored for the key in this
    /// process.
    pub(crate) fn hold(cache: &Inner, name: &Named, call: Option<&Call>) {
        // To drop what stands there may run code of the user, which is not to contend with this.
        Self::outdate(cache, name, call);
        let mut shard = cache.flights.shard(name);
        let dead = shard.outdate(cache, name, call);
        shard.change_pending(&cache.flights, name, |pending| {
            pending.contend();
            pending.holds += 1;
        });
        // What has begun since the one above, and did not see that it is pending.
        move_slot(cache, name);
        drop(shard);
        drop(dead);
    }

    /// The change that a writer holds is over: what is being loaded may be from before it.
    pub(crate) fn overtake(cache: &Inner, name: &Named) {
        let mut shard = cache.flights.shard(name);
        move_slot(cache, name);
        shard.take_off(name, |_| true, Flight::supersede);
    }

    /// A writer has told everybody of its change. Outdates again, and keeps the entry that it made
    /// if nothing else has changed the key since its hold began.
    pub(crate) fn settle(
        cache: &Inner,
        name: &Named,
        call: Option<&Call>,
        tags: Option<&Tagged>,
        entry: Option<Kept>,
    ) {
        let mut shard = cache.flights.shard(name);
        let mut was_alone = false;
        shard.change_pending(&cache.flights, name, |pending| {
            pending.holds = pending.holds.saturating_sub(1);
            was_alone = pending.holds == 0 && !pending.contended && pending.newest == 0;
            pending.contended &= pending.holds > 0;
        });
        let dead = shard.outdate(cache, name, call);
        let mut evicted = Evicted::default();
        if let (true, Some(call), Some(mut entry)) = (was_alone, call, entry) {
            // Nobody has changed the key meanwhile, but somebody may have bumped a tag.
            entry.header.generation = cache.generations.at(name.slot());
            entry.label(call, tags);
            evicted = cache.store.insert(call, entry);
        }
        drop(shard);
        drop((dead, evicted));
    }

    /// Outdates what memory has, and not what is being loaded.
    pub(crate) fn forget(cache: &Inner) {
        cache.generations.bump_all();
        for shard in &cache.flights.shards {
            lock(shard).contend_all();
        }
    }

    /// Outdates everything.
    pub(crate) fn clear(cache: &Inner) {
        cache.generations.bump_all();
        for shard in &cache.flights.shards {
            let mut shard = lock(shard);
            shard.flights.drain().for_each(|flight| flight.supersede());
            shard.contend_all();
        }
    }

    /// A `clear` landed, and so did every invalidation that was sent before it.
    pub(crate) fn confirm_clear(cache: &Inner, before: &Before) {
        Self::clear(cache);
        for (shard, begun) in cache.flights.shards.iter().zip(&before.0) {
            let mut shard = lock(shard);
            let before = shard.pending.len();
            shard.pending.retain(|pending| {
                if pending.newest <= *begun {
                    pending.newest = 0;
                }
                pending.is_pending()
            });
            cache.flights.pending.fetch_sub(before - shard.pending.len(), SeqCst);
        }
    }

    /// This moment, for `confirm_clear`.
    pub(crate) fn before(&self) -> Before {
        Before(self.shards.iter().map(|shard| lock(shard).begun).collect())
    }

    /// Whether any key is pending: whoever was told that its invalidation began is told so here.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.load(SeqCst) > 0
    }

    pub(crate) fn is_pending(&self, name: &Named) -> bool {
        self.shard(name).is_pending(name)
    }
}

/// Under the lock of the shard.
fn move_slot(cache: &Inner, name: &Named) {
    if name.is_tag {
        cache.flights.bumps.add(name);
    }
    cache.generations.bump(name);
    if name.is_tag {
        note_bump();
    }
}

impl Shard {
    pub(super) fn outdate(
        &mut self,
        cache: &Inner,
        name: &Named,
        call: Option<&Call>,
    ) -> Option<Kept> {
        self.bump(cache, name);
        self.take_off(name, |_| true, Flight::supersede);
        call.and_then(|call| cache.store.remove(call))
    }

    /// What memory has of the key is outdated, and a writer of it knows that it was not alone.
    fn bump(&mut self, cache: &Inner, name: &Named) {
        move_slot(cache, name);
        if let Some(pending) = self.pending.find_mut(name.hash, |pending| pending.is_of(name)) {
            pending.contend();
        }
    }

    pub(super) fn is_pending(&self, name: &Named) -> bool {
        self.pending.find(name.hash, |pending| pending.is_of(name)).is_some()
    }

    /// What a writer stores now is not known to be the newest.
    fn contend_all(&mut self) {
        self.pending.iter_mut().for_each(Pending::contend);
    }

    /// Changes what is pending of a key, and forgets it when nothing is any more.
    fn change_pending(
        &mut self,
        flights: &Flights,
        name: &Named,
        change: impl FnOnce(&mut Pending),
    ) {
        let same = |pending: &Pending| pending.is_of(name);
        let rehash = |pending: &Pending| pending.name.hash;
        let mut entry = match self.pending.entry(name.hash, same, rehash) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                flights.pending.fetch_add(1, SeqCst);
                entry.insert(Pending { name: name.clone(), newest: 0, holds: 0, contended: false })
            }
        };
        change(entry.get_mut());
        if !entry.get().is_pending() {
            entry.remove();
            flights.pending.fetch_sub(1, SeqCst);
        }
    }
}

impl Pending {
    fn is_of(&self, name: &Named) -> bool {
        self.name.is(name)
    }

    /// Lets the writers that hold it, if there are any, know that they were not alone.
    fn contend(&mut self) {
        self.contended |= self.holds > 0;
    }

    fn is_pending(&self) -> bool {
        self.newest > 0 || self.holds > 0
    }
}
