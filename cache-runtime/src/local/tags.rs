//! Tags of entries: which a load has, what was known of them when it began, and their stamps in the
//! remote tier as far as this process knows them.
//!
//! A tag has a slot of the generations, and what bumps it outdates its entries: a value in memory has a
//! label with it, with the sum of the generations of its tags' slots from before its load. Slots are
//! shared, and a flight is not to be left for the sake of another tag: so bumps are also remembered
//! one by one, for a while.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64 as Number,
            Ordering::{AcqRel, Acquire},
        },
    },
};

use hashbrown::hash_table::Entry;

use super::flight::{Flights, Named};
use crate::{
    cache::Inner,
    call::Call,
    key::{KeyText, MOST_TAGS, Slots},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
        lock,
    },
};

/// The tags of a call, at most eight.
#[derive(Debug, Clone)]
pub(crate) struct Tags {
    /// Tells them from others without their names.
    id: u64,
    names: Arc<[Named]>,
}

impl Tags {
    pub(crate) fn of(flights: &Flights, id: u64, texts: impl Iterator<Item = KeyText>) -> Self {
        Self { id, names: texts.map(|text| flights.name_tag(text)).collect() }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Named> {
        self.names.iter()
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
    /// When it began.
    began: u64,
    /// What the load finds may be from this moment, by the stamps that it goes by.
    as_of: AtomicU64,
}

impl Tagged {
    pub(crate) fn begin(cache: &Inner, tags: Tags) -> Self {
        let tagged = Self {
            slots: tags.slots(),
            tags,
            sum: AtomicU32::new(0),
            bumps: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            began: cache.time.now(),
            as_of: AtomicU64::new(u64::MAX),
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

    /// Their generations when the load began.
    pub(crate) fn sum(&self) -> u32 {
        self.sum.load(Relaxed)
    }

    /// Whether one of them was pending then: the load reads and stores nothing.
    pub(crate) fn was_pending(&self) -> bool {
        self.pending.load(Relaxed)
    }

    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// The load goes by stamps that were read then, until it says otherwise: what they let through may
    /// be outdated since. `u64::MAX` if they are read with what they are compared with.
    pub(crate) fn goes_by(&self, as_of: u64) {
        self.as_of.store(as_of, Relaxed);
    }

    pub(super) fn as_of(&self) -> u64 {
        self.as_of.load(Relaxed)
    }

    /// Whether the slot of one of them has moved since, for whatever tag.
    pub(super) fn have_moved(&self, cache: &Inner) -> bool {
        cache.generations.sum(&self.slots) != self.sum()
    }

    /// Whether one of them was bumped since.
    pub(super) fn are_bumped(&self, cache: &Inner) -> bool {
        self.have_moved(cache)
            && cache.flights.bumps.any_since(self.bumps.load(Relaxed), &self.tags)
    }

    pub(super) fn is_of(&self, tags: &Tags) -> bool {
        self.tags.id == tags.id
    }
}

/// How many tags were bumped, in all caches of the process.
///
/// One number for all, so that a hit compares its entry with it in a few instructions, whatever the number
/// of tags. Who finds it moved looks at the slots, and notes that it did.
static BUMPED: Number = Number::new(0);

/// A tag was bumped. After its slot has moved: who sees this sees that.
pub(super) fn note_bump() {
    BUMPED.fetch_add(1, AcqRel);
}

/// A value in memory whose entry has tags.
#[derive(Debug)]
pub(crate) struct Labelled<V> {
    pub(crate) label: Label,
    pub(crate) value: V,
}

impl<V> Labelled<V> {
    pub(crate) fn of(value: V) -> Self {
        let label = Label { seen: Number::new(u64::MAX), tags: OnceLock::new() };
        Self { label, value }
    }
}

/// Where the tags of an entry are.
#[derive(Debug)]
pub(crate) struct Label {
    /// How many tags had been bumped when none of these was last found to be.
    seen: Number,
    /// Their slots, and the generations of these when the load began.
    tags: OnceLock<(Slots, u32)>,
}

impl Label {
    pub(super) fn write(&self, tags: &Tagged) {
        // Of a value that is landed once.
        let _ = self.tags.set((tags.slots, tags.sum()));
    }

    /// Whether no tag of the process was bumped since it was last noted that none of these was.
    #[inline]
    pub(crate) fn is_noted(&self) -> bool {
        self.seen.load(Relaxed) == BUMPED.load(Acquire)
    }

    /// Whether no tag was bumped since the load began.
    pub(crate) fn is_current(&self, call: &Call) -> bool {
        // Before the slots: what is bumped later is not noted.
        let bumped = BUMPED.load(Acquire);
        let is_current =
            self.tags.get().is_some_and(|(slots, sum)| call.cache().generations.sum(slots) == *sum);
        if is_current {
            self.seen.store(bumped, Relaxed);
        }
        is_current
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

/// Stamps in the remote tier of the tags of some entries, as they were read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Which tags.
    id: u64,
    stamps: [u64; MOST_TAGS],
    slots: Slots,
    /// The generations of their slots, before they were asked for.
    sum: u32,
    /// When that was.
    asked: u64,
}

impl Known {
    /// When they were asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    pub(crate) fn stamps(&self) -> &[u64] {
        self.stamps.get(..self.slots.as_slice().len()).unwrap_or(&self.stamps)
    }
}

/// Stamps that were asked for at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    sum: u32,
    now: u64,
}

impl Moment {
    pub(crate) fn of(cache: &Inner, tags: &Tags) -> Self {
        Self { sum: cache.generations.sum_alone(&tags.slots()), now: cache.time.now() }
    }
}

/// So many are known in one shard. When there are more they are read again.
const MOST_KNOWN: usize = 256;

impl Flights {
    /// The stamps of these tags, if they are known and count.
    ///
    /// They count while nobody has bumped one of the tags, as far as this process was told: under the
    /// rules by which memory may be served.
    pub(crate) fn known(cache: &Inner, id: u64, now: u64) -> Option<Known> {
        let known = *cache.flights.shard_of(id).known.find(id, |known| known.id == id)?;
        let counts = known.sum == cache.generations.sum_alone(&known.slots)
            && (cache.trust.lasts(now) || cache.is_young(known.asked, now));
        counts.then_some(known)
    }

    /// These stamps were read, which were asked for at that moment. Whose slot has moved since may be
    /// another by now.
    pub(crate) fn learn(cache: &Inner, tags: &Tags, stamps: &[u64], moment: Moment) {
        let slots = tags.slots();
        if cache.generations.sum_alone(&slots) != moment.sum {
            return;
        }
        let mut known = Known {
            id: tags.id,
            stamps: [0; MOST_TAGS],
            slots,
            sum: moment.sum,
            asked: moment.now,
        };
        for (place, stamp) in known.stamps.iter_mut().zip(stamps) {
            *place = *stamp;
        }
        let mut shard = cache.flights.shard_of(tags.id);
        if shard.known.len() >= MOST_KNOWN {
            shard.known.clear();
        }
        match shard.known.entry(known.id, |old| old.id == known.id, |old| old.id) {
            // Of two that were under way at once, that of the later question.
            Entry::Occupied(mut old) if !old.get().is_after(&known) => *old.get_mut() = known,
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(known);
            }
        }
    }
}

impl Known {
    fn is_after(&self, other: &Self) -> bool {
        self.sum == other.sum && self.asked > other.asked
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash as _;

    use super::*;
    use crate::{cache::Cache, local::Named};

    fn tags(cache: &Inner, texts: &[&str]) -> Tags {
        let id = cache.flights.id_of(|hash| texts.hash(hash));
        Tags::of(&cache.flights, id, texts.iter().map(|text| KeyText::literal(text)))
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
        Flights::outdate(&cache, &neighbour(&cache, &team.names[0]), None);
        assert_ne!(cache.generations.sum(&tagged.slots), before, "an entry is outdated");
        assert!(!tagged.are_bumped(&cache), "and no flight is left");
        Flights::outdate(&cache, &team.names[0], None);
        assert!(tagged.are_bumped(&cache));
        tagged.begin_anew(&cache);
        assert!(!tagged.are_bumped(&cache));
    }

    #[test]
    fn no_invalidation_of_a_key_outdates_what_has_a_tag() {
        let cache = Cache::memory();
        let tags = tags(&cache, &["team:7", "members"]);
        Flights::outdate(&cache, &tags.names[0], None);
        let before = cache.generations.sum(&tags.slots());
        for number in 0..1_000_000 {
            Flights::outdate(
                &cache,
                &cache.flights.name(KeyText::literal(&number.to_string())),
                None,
            );
        }
        assert_eq!(cache.generations.sum(&tags.slots()), before);
    }

    #[test]
    fn of_many_bumps_each_counts_and_those_that_are_forgotten_count_for_every_tag() {
        let cache = Cache::memory();
        let team = tags(&cache, &["team:7"]);
        let other = neighbour(&cache, &team.names[0]);
        let tagged = Tagged::begin(&cache, team.clone());
        for _ in 0..REMEMBERED {
            Flights::outdate(&cache, &other, None);
        }
        assert!(!tagged.are_bumped(&cache));
        Flights::outdate(&cache, &other, None);
        assert!(tagged.are_bumped(&cache));
        tagged.begin_anew(&cache);
        Flights::outdate(&cache, &team.names[0], None);
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
        let number = Flights::suspend(&cache, &both.names[1], None);
        assert!(Tagged::begin(&cache, both.clone()).was_pending());
        assert!(!Tagged::begin(&cache, tags(&cache, &["team:7"])).was_pending());
        Flights::confirm(&cache, &both.names[1], number);
        assert!(!Tagged::begin(&cache, both.clone()).was_pending());
        Flights::hold(&cache, &both.names[0], None);
        assert!(Tagged::begin(&cache, both).was_pending());
    }

    #[test]
    fn stamps_are_known_until_a_slot_moves() {
        let cache = Cache::memory();
        let both = tags(&cache, &["team:7", "members"]);
        let known = |now| Flights::known(&cache, both.id, now).map(|known| known.stamps().to_vec());
        let asked = |now| Moment { now, ..Moment::of(&cache, &both) };
        assert_eq!(known(0), None);
        Flights::learn(&cache, &both, &[5, 6], asked(1));
        assert_eq!(known(2), Some(vec![5, 6]));
        // What was asked for later counts, whichever answer comes first.
        let (second, third) = (asked(2), asked(3));
        Flights::learn(&cache, &both, &[8, 6], third);
        Flights::learn(&cache, &both, &[7, 6], second);
        assert_eq!(known(4), Some(vec![8, 6]));
        let before = asked(5);
        Flights::hear(&cache, &both.names[1]);
        assert_eq!(known(6), None);
        // Asked for before the message.
        Flights::learn(&cache, &both, &[8, 6], before);
        assert_eq!(known(6), None);
        Flights::learn(&cache, &both, &[8, 9], asked(7));
        assert_eq!(known(8), Some(vec![8, 9]));
        let before = asked(9);
        Flights::forget(&cache);
        assert_eq!(known(10), None);
        Flights::learn(&cache, &both, &[8, 9], before);
        assert_eq!(known(10), None);
        let other = tags(&cache, &["team:7"]);
        assert!(Flights::known(&cache, other.id, 8).is_none());
    }

    #[test]
    fn so_many_stamps_are_known_at_most() {
        let cache = Cache::memory();
        for number in 0..64 * MOST_KNOWN + 10_000 {
            let tags = tags(&cache, &[&number.to_string()]);
            Flights::learn(&cache, &tags, &[1], Moment::of(&cache, &tags));
            assert!(cache.flights.shard_of(tags.id).known.len() <= MOST_KNOWN);
        }
    }
}
