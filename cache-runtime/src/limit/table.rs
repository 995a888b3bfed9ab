//! What is known of each of many names for a time, in bounded memory and without a task that tidies up.
//!
//! Before it grows, what is over is removed. Where there is no room, the name goes that would be over
//! first: of a limit, the one that is nearest to being as if nobody had ever taken any.

use std::{cmp::Reverse, collections::BinaryHeap, hash::BuildHasher as _};

use hashbrown::HashTable;

use super::name::Name;
use crate::{
    hash::RandomState,
    sync::{Mutex, lock},
};

/// Shared by all threads.
pub(super) struct Table<T> {
    shards: Box<[Mutex<Shard<T>>]>,
    random: RandomState,
}

/// What is known, and until when that is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Until<T> {
    pub(super) value: T,
    pub(super) over: u64,
}

/// So that two threads seldom want the same; a power of two.
const SHARDS: usize = 16;

/// Of so few it is not worth while to remove what is over.
const FEW: usize = 256;

struct Shard<T> {
    index: HashTable<u32>,
    slots: Vec<Slot<T>>,
    /// When each of them is over, or earlier: what is known has changed since. The first comes first.
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    free: Vec<u32>,
    most: usize,
    latest: u64,
    forgets: u64,
}

struct Slot<T> {
    hash: u64,
    name: Name,
    known: Option<Until<T>>,
}

impl<T: Copy> Table<T> {
    /// For so many names at most, or a few more.
    pub(super) fn new(most: usize) -> Self {
        let shard = || Mutex::new(Shard::new(most.div_ceil(SHARDS)));
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), random: RandomState::default() }
    }

    /// What is known of a name.
    pub(super) fn find(&self, name: &Name) -> Option<Until<T>> {
        let (hash, shard) = self.shard(name);
        let shard = lock(shard);
        shard.find(hash, name).and_then(|slot| shard.slots.get(slot as usize)?.known)
    }

    /// Changes what is known of a name, or makes it known, at that moment. Who was held up between the
    /// clock and here is told the moment of who was here before: for a name, time never goes back.
    #[inline]
    pub(super) fn change<R>(
        &self,
        name: &Name,
        now: u64,
        change: impl FnOnce(Option<T>, u64) -> (Option<Until<T>>, R),
    ) -> R {
        let (hash, shard) = self.shard(name);
        let mut shard = lock(shard);
        let now = shard.latest.max(now);
        shard.latest = now;
        let found = shard.find(hash, name);
        if let Some(slot) = found.and_then(|slot| shard.slots.get_mut(slot as usize)) {
            let (known, result) = change(slot.known.map(|known| known.value), now);
            slot.known = known;
            return result;
        }
        let (known, result) = change(None, now);
        if let Some(known) = known {
            shard.add(hash, *name, known, now);
        }
        result
    }

    /// How often something was forgotten of the names that are kept where this one is.
    pub(super) fn forgets(&self, name: &Name) -> u64 {
        lock(self.shard(name).1).forgets
    }

    /// Makes something known, unless something was forgotten meanwhile.
    pub(super) fn keep(&self, name: &Name, known: Until<T>, now: u64, forgets: u64) {
        let (hash, shard) = self.shard(name);
        let mut shard = lock(shard);
        if shard.forgets != forgets {
            return;
        }
        let found = shard.find(hash, name);
        match found.and_then(|slot| shard.slots.get_mut(slot as usize)) {
            Some(slot) => slot.known = Some(known),
            None => shard.add(hash, *name, known, now),
        }
    }

    /// Nothing is known of the name any more. Its place is free when it would have been over.
    pub(super) fn forget(&self, name: &Name) {
        let (hash, shard) = self.shard(name);
        let mut shard = lock(shard);
        shard.forgets += 1;
        let found = shard.find(hash, name);
        if let Some(slot) = found.and_then(|slot| shard.slots.get_mut(slot as usize)) {
            slot.known = None;
        }
    }

    #[inline]
    fn shard(&self, name: &Name) -> (u64, &Mutex<Shard<T>>) {
        let hash = self.random.hash_one(name);
        // The highest bits and the lowest are what a table goes by.
        (hash, &self.shards[(hash >> 32) as usize % SHARDS])
    }
}

impl<T: Copy> Shard<T> {
    fn new(most: usize) -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            ends: BinaryHeap::new(),
            free: Vec::new(),
            most: most.max(1),
            latest: 0,
            forgets: 0,
        }
    }

    #[inline]
    fn find(&self, hash: u64, name: &Name) -> Option<u32> {
        let is_it =
            |slot: &u32| self.slots.get(*slot as usize).is_some_and(|slot| slot.name == *name);
        self.index.find(hash, is_it).copied()
    }

    fn add(&mut self, hash: u64, name: Name, known: Until<T>, now: u64) {
        // What is over may stay as long as nothing else needs its place: it may come again.
        let is_full = self.free.is_empty() && self.slots.len() == self.slots.capacity();
        if is_full && self.slots.len() >= FEW {
            let is_over = |Reverse((over, _)): &Reverse<(u64, u32)>| *over <= now;
            while self.ends.peek().is_some_and(is_over) {
                self.remove_first(now);
            }
        }
        while self.index.len() >= self.most && !self.ends.is_empty() {
            self.remove_first(now);
        }
        let over = known.over;
        let slot = Slot { hash, name, known: Some(known) };
        let at = match self.free.pop() {
            Some(at) if let Some(place) = self.slots.get_mut(at as usize) => {
                *place = slot;
                at
            }
            _ => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.ends.push(Reverse((over, at)));
        let slots = &self.slots;
        self.index
            .insert_unique(hash, at, |slot| slots.get(*slot as usize).map_or(0, |slot| slot.hash));
    }

    /// Removes the one that is over first. If it has changed since that was noted, and is not over yet,
    /// it is noted anew, and another may be the first.
    fn remove_first(&mut self, now: u64) {
        let Some(Reverse((noted, at))) = self.ends.pop() else {
            return;
        };
        let Some(slot) = self.slots.get_mut(at as usize) else {
            return;
        };
        let over = slot.known.map_or(0, |known| known.over);
        if over > noted.max(now) {
            self.ends.push(Reverse((over, at)));
            return;
        }
        slot.known = None;
        if let Ok(entry) = self.index.find_entry(slot.hash, |slot| *slot == at) {
            entry.remove();
        }
        self.free.push(at);
    }
}

#[cfg(test)]
impl<T> Table<T> {
    /// How many names there are, and how many bytes are allocated for all of them.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut size = (0, size_of_val(&*self.shards));
        for shard in &self.shards {
            let shard = lock(shard);
            size.0 += shard.index.len();
            size.1 += shard.index.allocation_size()
                + shard.slots.capacity() * size_of::<Slot<T>>()
                + shard.ends.capacity() * size_of::<Reverse<(u64, u32)>>()
                + shard.free.capacity() * size_of::<u32>();
        }
        size
    }

    /// Where a name is kept.
    pub(super) fn shard_of(&self, name: &Name) -> usize {
        (self.random.hash_one(name) >> 32) as usize % SHARDS
    }
}
