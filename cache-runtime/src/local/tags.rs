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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Cache, local::Named};

    fn tags(cache: &Inner, texts: &[&str]) -> Tags {
        Tags::of(&cache.flights, texts.iter().map(|text| KeyText::literal(text)))
    }

    /// Another tag of the same slot.
    fn neighbour(cache: &Inner, tag: &Named) -> Named {
        (0..10_000_000)
            .map(|number| cache.flights.name_tag(KeyText::literal(&format!("other:{number}"))))
            .find(|other| other.slot() == tag.slot())
            .unwrap()
    }

    #[test]
    fn a_bump_of_a_tag_that_shares_the_slot_is_none_of_this_one() {
        let cache = Cache::memory();
        let team = tags(&cache, &["team:7"]);
        let tagged = Tagged::begin(&cache, team.clone());
        let before = tagged.sum();
        Flights::outdate(&cache, &neighbour(&cache, &team.0[0]), None);
        assert_ne!(cache.generations.sum(&tagged.slots()), before, "an entry is outdated");
        assert!(!tagged.are_bumped(&cache), "and no flight is left");
        Flights::outdate(&cache, &team.0[0], None);
        assert!(tagged.are_bumped(&cache));
        tagged.begin_anew(&cache);
        assert!(!tagged.are_bumped(&cache));
    }

    #[test]
    fn of_many_bumps_each_counts_and_those_that_are_forgotten_count_for_every_tag() {
        let cache = Cache::memory();
        let team = tags(&cache, &["team:7"]);
        let other = neighbour(&cache, &team.0[0]);
        let tagged = Tagged::begin(&cache, team.clone());
        for _ in 0..REMEMBERED {
            Flights::outdate(&cache, &other, None);
        }
        assert!(!tagged.are_bumped(&cache));
        Flights::outdate(&cache, &other, None);
        assert!(tagged.are_bumped(&cache));
        tagged.begin_anew(&cache);
        Flights::outdate(&cache, &team.0[0], None);
        for _ in 1..REMEMBERED {
            Flights::outdate(&cache, &other, None);
        }
        assert!(tagged.are_bumped(&cache));
    }

    #[test]
    fn a_load_knows_which_of_its_tags_are_pending() {
        let cache = Cache::memory();
        let both = tags(&cache, &["team:7", "members"]);
        assert!(!Tagged::begin(&cache, both.clone()).was_pending());
        let number = Flights::suspend(&cache, &both.0[1], None);
        assert!(Tagged::begin(&cache, both.clone()).was_pending());
        assert!(!Tagged::begin(&cache, tags(&cache, &["team:7"])).was_pending());
        Flights::confirm(&cache, &both.0[1], number);
        assert!(!Tagged::begin(&cache, both.clone()).was_pending());
        Flights::hold(&cache, &both.0[0], None);
        assert!(Tagged::begin(&cache, both).was_pending());
    }

    #[test]
    fn stamps_are_known_together_and_until_a_slot_moves() {
        let cache = Cache::memory();
        let both = tags(&cache, &["team:7", "members"]);
        let at = |tag: &Named| cache.generations.at(tag.slot());
        let learn = |tag, stamp, asked| Flights::learn(&cache, tag, stamp, at(tag), asked);
        learn(&both.0[0], 5, 1);
        assert_eq!(Flights::known(&cache, &both, 2), None);
        learn(&both.0[1], 6, 1);
        assert_eq!(Flights::known(&cache, &both, 2), Some(vec![Some(5), Some(6)]));
        // What was asked for later counts, whichever answer comes first.
        learn(&both.0[0], 8, 3);
        learn(&both.0[0], 7, 2);
        assert_eq!(Flights::known(&cache, &both, 4), Some(vec![Some(8), Some(6)]));
        let before = at(&both.0[0]);
        Flights::hear(&cache, &both.0[0]);
        assert_eq!(Flights::known(&cache, &both, 4), None);
        // Asked for before the message.
        Flights::learn(&cache, &both.0[0], 8, before, 9);
        assert_eq!(Flights::known(&cache, &both, 9), None);
        learn(&both.0[0], 9, 9);
        assert_eq!(Flights::known(&cache, &both, 9), Some(vec![Some(9), Some(6)]));
    }

    #[test]
    fn so_many_stamps_are_known_at_most() {
        let cache = Cache::memory();
        let most = 64 * MOST_KNOWN as u64;
        for number in 0..most + 10_000 {
            let tag = cache.flights.name_tag(KeyText::literal(&number.to_string()));
            Flights::learn(&cache, &tag, number, cache.generations.at(tag.slot()), 1);
            assert!(cache.flights.shard(&tag).known.len() <= MOST_KNOWN);
        }
    }
}
