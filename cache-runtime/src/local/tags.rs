//! Tags of entries: which a load has, what was known of them when it began, and their stamps in the
//! remote tier as far as this process knows them.
//!
//! A tag has a slot of the generations as a key has, and what bumps it outdates its entries. Slots are
//! shared, and a flight is not to be left for the sake of another tag: so bumps are also remembered
//! one by one, for a while.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::hash_table::Entry;

use super::flight::{Flights, Named};
use crate::{
    cache::Inner,
    key::{KeyText, Slots},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
        lock,
    },
};

/// The tags of a call, at most eight.
#[derive(Debug, Clone)]
pub(crate) struct Tags(Arc<[Named]>);

impl Tags {
    pub(crate) fn of(flights: &Flights, texts: impl Iterator<Item = KeyText>) -> Self {
        Self(texts.map(|text| flights.name_tag(text)).collect())
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Named> {
        self.0.iter()
    }

    pub(crate) fn slots(&self) -> Slots {
        Slots::of(self.iter().map(Named::slot))
    }
}

/// The tags of a load, and what was known of them when it began.
#[derive(Debug)]
pub(crate) struct Tagged {
    tags: Tags,
    slots: Slots,
    /// Their generations.
    sum: AtomicU32,
    /// How many tags had been bumped.
    bumps: AtomicU64,
    /// Somebody in this process is changing what one of them stands for.
    pending: AtomicBool,
}

impl Tagged {
    pub(crate) fn begin(cache: &Inner, tags: Tags) -> Self {
        let tagged = Self {
            slots: tags.slots(),
            tags,
            sum: AtomicU32::new(0),
            bumps: AtomicU64::new(0),
            pending: AtomicBool::new(false),
        };
        tagged.begin_anew(cache);
        tagged
    }

    /// The load looks anew: what came until now does not count.
    pub(crate) fn begin_anew(&self, cache: &Inner) {
        // In this order: who begins a change has it pending before it bumps, and bumps before it is
        // over. So what is not seen here is seen later.
        self.bumps.store(cache.flights.bumps.count(), Relaxed);
        self.sum.store(cache.generations.sum(&self.slots), Relaxed);
        let flights = &cache.flights;
        let is_pending =
            flights.has_pending() && self.tags.iter().any(|tag| flights.is_pending(tag));
        self.pending.store(is_pending, Relaxed);
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.tags
    }

    pub(crate) fn slots(&self) -> Slots {
        self.slots
    }

    /// Their generations when the load began.
    pub(crate) fn sum(&self) -> u32 {
        self.sum.load(Relaxed)
    }

    /// Whether one of them was pending then: the load reads and stores nothing.
    pub(crate) fn was_pending(&self) -> bool {
        self.pending.load(Relaxed)
    }

    /// Whether one of them was bumped since.
    pub(super) fn are_bumped(&self, cache: &Inner) -> bool {
        cache.generations.sum(&self.slots) != self.sum()
            && cache.flights.bumps.any_since(self.bumps.load(Relaxed), &self.tags)
    }

    pub(super) fn is_of(&self, tags: &Tags) -> bool {
        self.tags.iter().map(Named::hash).eq(tags.iter().map(Named::hash))
    }
}

/// Which tags were bumped last.
#[derive(Debug, Default)]
pub(super) struct Bumps(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    /// How many there were.
    count: u64,
    /// The hashes of the last ones.
    tags: VecDeque<u64>,
}

/// So many are remembered. A flight during which there are more is left by who comes later, as if it
/// had been its own tag.
const REMEMBERED: usize = 4096;

impl Bumps {
    fn count(&self) -> u64 {
        lock(&self.0).count
    }

    pub(super) fn add(&self, tag: &Named) {
        let mut recent = lock(&self.0);
        recent.count += 1;
        if recent.tags.len() == REMEMBERED {
            recent.tags.pop_front();
        }
        recent.tags.push_back(tag.hash());
    }

    /// Whether one of these may be among those that came after so many.
    fn any_since(&self, count: u64, tags: &Tags) -> bool {
        let recent = lock(&self.0);
        let new = recent.count - count;
        if new > recent.tags.len() as u64 {
            return true;
        }
        let mut newest = recent.tags.iter().rev().take(new as usize);
        newest.any(|bumped| tags.iter().any(|tag| tag.hash() == *bumped))
    }
}

/// A tag's stamp in the remote tier, as it was read.
#[derive(Debug)]
pub(super) struct Known {
    /// Of the tag.
    hash: u64,
    stamp: u64,
    /// Of the tag's slot, before it was asked for.
    generation: u32,
    /// When it was asked for.
    asked: u64,
}

/// So many are known in one shard. When there are more they are read again.
const MOST_KNOWN: usize = 1024;

impl Flights {
    /// The stamps of these, if each is known and counts.
    ///
    /// One counts while nobody has bumped its tag, as far as this process was told: under the rules by
    /// which memory may be served.
    pub(crate) fn known(cache: &Inner, tags: &Tags, now: u64) -> Option<Vec<Option<u64>>> {
        let is_proven = cache.trust.lasts(now);
        tags.iter()
            .map(|tag| {
                let shard = cache.flights.shard(tag);
                let known = shard.known.find(tag.hash(), |known| known.hash == tag.hash())?;
                let counts = known.generation == cache.generations.at(tag.slot())
                    && (is_proven || cache.is_young(known.asked, now));
                counts.then_some(Some(known.stamp))
            })
            .collect()
    }

    /// A stamp was read that was asked for then, when the slot had this generation.
    pub(crate) fn learn(cache: &Inner, tag: &Named, stamp: u64, generation: u32, asked: u64) {
        if cache.generations.at(tag.slot()) != generation {
            return;
        }
        let mut shard = cache.flights.shard(tag);
        if shard.known.len() >= MOST_KNOWN {
            shard.known.clear();
        }
        let new = Known { hash: tag.hash(), stamp, generation, asked };
        match shard.known.entry(tag.hash(), |old| old.hash == tag.hash(), |old| old.hash) {
            // Of two that were under way at once, that of the later question.
            Entry::Occupied(mut old)
                if (old.get().generation, old.get().asked) <= (generation, asked) =>
            {
                *old.get_mut() = new;
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(new);
            }
        }
    }
}
