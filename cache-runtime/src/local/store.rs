use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU32,
            Ordering::{self, Relaxed},
        },
    },
};

use quick_cache::{Lifecycle, Weighter, sync::Cache};
use smallvec::SmallVec;

use super::fresh::{Remembered, Weight, Window};
use crate::{
    call::Call,
    clock::{MILLI, Time},
    counters::{Count, Functions},
    hash::RandomState,
    key::{Lookup, Slots, StoredKey},
    local::{Label, Labelled, Named, Tagged},
};

/// An entry in memory: a value, and what decides whether it may be served.
///
/// The header lies in the store, and not beside the value: a hit looks at it before it follows a
/// pointer, and an `Arc<T>` that a function returned is kept as itself.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) header: Header,
    pub(crate) value: AnyValue,
}

/// A value of any type.
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// When its life in memory ends, by the clock of the cache.
    pub(crate) expires: u64,
    /// From the beginning of the run that it comes from until then, in milliseconds, rounded up: 8
    /// bytes less in each entry than the moment itself.
    pub(crate) span: u32,
    /// The generation of the slot before the load.
    pub(crate) generation: u32,
    pub(crate) slot: u16,
    /// The number of the site that stored it.
    pub(crate) function: u16,
    /// In units of the store's bound.
    pub(crate) weight: Weight,
    /// How much longer the value is fresh than this, and what it cost.
    pub(crate) window: Window,
}

impl Header {
    /// When the run began that it comes from: what it knows is at least this old.
    pub(crate) fn loaded(&self) -> u64 {
        self.expires.saturating_sub(u64::from(self.span) * MILLI)
    }

    /// When the value's life ends, as far as memory knows.
    pub(crate) fn fresh_until(&self) -> u64 {
        self.expires + self.window.length()
    }

    /// With another end of its life.
    pub(crate) fn living_until(self, expires: u64) -> Self {
        let span = expires.saturating_sub(self.loaded()).div_ceil(MILLI);
        Self { expires, span: u32::try_from(span).unwrap_or(u32::MAX), ..self }
    }
}

/// What is kept for a `None`.
struct Negative;

impl Kept {
    /// `is_labelled` of an entry that has tags.
    pub(crate) fn negative(header: Header, is_labelled: bool) -> Self {
        let value: AnyValue =
            if is_labelled { Arc::new(Labelled::of(Negative)) } else { Arc::new(Negative) };
        Self { header, value }
    }

    pub(crate) fn is_negative(&self) -> bool {
        is_negative(&self.value)
    }

    /// Says of an entry that has tags what they were when its load began.
    pub(crate) fn label(&self, call: &Call, tags: Option<&Tagged>) {
        if let (Some(tags), Some(label)) = (tags, call.label(&self.value)) {
            label.write(tags);
        }
    }

    /// Whether no tag was bumped since.
    pub(crate) fn has_current_tags(&self, call: &Call) -> bool {
        !call.is_tagged() || call.label(&self.value).is_some_and(|label| label.is_current(call))
    }
}

/// Whether this stands for a `None`.
pub(crate) fn is_negative(value: &AnyValue) -> bool {
    value.is::<Negative>() || value.is::<Labelled<Negative>>()
}

/// The label of what stands for a `None`.
pub(crate) fn negative_label(value: &AnyValue) -> Option<&Label> {
    value.downcast_ref::<Labelled<Negative>>().map(|labelled| &labelled.label)
}

impl fmt::Debug for Kept {
    // Never the value: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Counters that say which entries are valid: an entry carries the number it found before its
/// load, and is outdated once its slot has moved. An array, so that an invalidation by text
/// finds the slot without knowing which entries there are.
pub(crate) struct Generations {
    keys: Box<Slotted>,
    /// Apart, for many entries have one tag, and an invalidation of a key that happened to share its
    /// slot would outdate all of them. Made when the first one is bumped.
    tags: OnceLock<Box<Slotted>>,
    /// How often everything was outdated.
    all: AtomicU32,
}

type Slotted = [AtomicU32; SLOTS];

/// Unrelated keys share a slot; with as many as these it costs one load in 65,536. A model has few
/// keys, and thousands of caches.
const SLOTS: usize = if cfg!(shuttle) { 1 << 8 } else { 1 << 16 };

impl Generations {
    pub(crate) fn new() -> Self {
        Self { keys: slotted(), tags: OnceLock::new(), all: AtomicU32::new(0) }
    }

    pub(crate) fn slot(hash: u64) -> u16 {
        ((hash >> 32) % SLOTS as u64) as u16
    }

    /// Of a key's slot.
    #[inline]
    pub(crate) fn at(&self, slot: u16) -> u32 {
        at(&self.keys, slot)
    }

    /// Whether an entry's slot has not moved since its load began.
    pub(crate) fn is_at(&self, header: &Header) -> bool {
        self.at(header.slot) == header.generation
    }

    /// Of the slots of tags together. They only grow, so the sum is as it was if each of them is.
    #[inline]
    pub(crate) fn sum(&self, slots: &Slots) -> u32 {
        let Some(tags) = self.tags.get() else {
            return 0;
        };
        match slots.as_slice() {
            [one] => at(tags, *one),
            all => all.iter().fold(0, |sum, slot| sum.wrapping_add(at(tags, *slot))),
        }
    }

    /// The same of what belongs to no key, and so has no slot of one that moves with everything.
    pub(crate) fn sum_alone(&self, slots: &Slots) -> u32 {
        self.sum(slots).wrapping_add(self.all.load(Ordering::Acquire))
    }

    /// Outdates every entry of the slot.
    pub(crate) fn bump(&self, name: &Named) {
        let slots = if name.is_tag { self.tags.get_or_init(slotted) } else { &self.keys };
        slots[name.slot() as usize % SLOTS].fetch_add(1, Ordering::AcqRel);
    }

    /// Outdates everything.
    pub(crate) fn bump_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
        for slot in self.keys.iter() {
            slot.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn slotted() -> Box<Slotted> {
    let slots: Box<[AtomicU32]> = (0..SLOTS).map(|_| AtomicU32::new(0)).collect();
    slots.try_into().unwrap_or_else(|_| unreachable!())
}

#[inline]
fn at(slots: &Slotted, slot: u16) -> u32 {
    // Acquire, as a bump releases: who sees the bump sees what was done before it.
    slots[slot as usize % SLOTS].load(Ordering::Acquire)
}

/// The entries, by the canonical bytes of their keys.
///
/// Everything that leaves the store is handed out, so that no value is dropped, and no code of a
/// user runs, under one of its locks.
pub(crate) struct Store {
    entries: Entries,
    bound: Bound,
}

/// How large the store may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) entries: usize,
    pub(crate) bytes: Option<u64>,
}

/// What an insertion pushed out; to be dropped after the locks.
#[derive(Default)]
pub(crate) struct Evicted {
    /// What is pushed out under the same key is replaced, and that is no eviction.
    inserted: Option<StoredKey>,
    entries: SmallVec<[Kept; 1]>,
}

impl Store {
    pub(crate) fn new(bound: Bound, functions: &Arc<Functions>) -> Self {
        let entries = Cache::with(
            bound.entries,
            bound.bytes.unwrap_or(bound.entries as u64),
            Weigh,
            RandomState::default(),
            Evictions(Arc::clone(functions)),
        );
        Self { entries, bound }
    }

    pub(crate) fn get(&self, call: &Call) -> Option<Kept> {
        let mut entry = self.entries.get(&call.lookup())?;
        if !entry.has_current_tags(call) {
            // Dead.
            entry.header.expires = 0;
        }
        Some(entry)
    }

    /// What memory has for a call, if it may be served; counted as a hit.
    #[inline]
    pub(crate) fn hit(call: &Call) -> Option<AnyValue> {
        Entries::hit(call)
    }

    /// What there is, whatever has become of it; does not count as a use of the entry.
    pub(crate) fn recall(&self, call: &Call) -> Option<Remembered> {
        self.entries.peek(&call.lookup()).map(Kept::remembered)
    }

    #[must_use = "dropped after the locks"]
    pub(crate) fn insert(&self, call: &Call, entry: Kept) -> Evicted {
        let key = call.lookup().to_stored();
        let mut evicted = Evicted { inserted: Some(key.clone()), entries: SmallVec::new() };
        self.entries.insert_with_lifecycle(key, entry, &mut evicted);
        evicted
    }

    #[must_use = "dropped after the locks"]
    pub(crate) fn remove(&self, call: &Call) -> Option<Kept> {
        self.entries.remove(&call.lookup()).map(|(_, entry)| entry)
    }

    pub(crate) fn clear(&self) {
        self.entries.drain().for_each(drop);
    }

    /// The weight of an entry, in units of the bound; `measure` says its bytes.
    pub(crate) fn weigh(&self, call: &Call, measure: impl FnOnce() -> u64) -> Weight {
        let Some(most) = self.bound.bytes else {
            return Weight::ONE;
        };
        let tags = if call.is_tagged() { OVERHEAD_OF_TAGS } else { 0 };
        let bytes = measure() + call.lookup().length() + OVERHEAD + tags;
        // At least its share, so that there are never more entries than `capacity`, either.
        let share = most.div_ceil(self.bound.entries as u64);
        Weight::of(bytes.max(share))
    }
}

type Entries = Cache<StoredKey, Kept, Weigh, RandomState, Evictions>;

/// Implemented for the entries themselves: so the compiler has it in one unit with their `get`, and
/// makes that a part of it. It knows nothing of the types of values, so it is compiled once.
trait Hits {
    fn hit(call: &Call) -> Option<AnyValue>;
}

impl Hits for Entries {
    /// As `Call::hit`, for what most hits are: a short key, in a cache with nothing unusual. The
    /// only place that looks up a `ShortKey` by itself, or the look-up would be a call again.
    #[inline(never)]
    fn hit(call: &Call) -> Option<AnyValue> {
        let Lookup::Short(short) = call.lookup() else {
            return Some(call.hit()?.value);
        };
        let (cache, counters) = call.cache().with_counters(call.instance);
        let now = Time::Kernel.now();
        if !cache.trust.allows_hits(now) {
            return Some(call.hit()?.value);
        }
        let Kept { header, value } = cache.store.entries.get(&short)?;
        if !cache.is_current(&header, now) {
            return None;
        }
        counters.add(Count::Hits, 1);
        Some(value)
    }
}

/// What the store needs for an entry beside its key and value, as `scripts/bench memory` has it.
const OVERHEAD: u64 = 128;

/// And for its tags.
const OVERHEAD_OF_TAGS: u64 = 64;

#[derive(Debug, Clone)]
struct Weigh;

impl Weighter<StoredKey, Kept> for Weigh {
    fn weight(&self, _: &StoredKey, entry: &Kept) -> u64 {
        entry.header.weight.get()
    }
}

/// Counts what the store pushes out, for the function that had stored it.
#[derive(Clone)]
struct Evictions(Arc<Functions>);

impl Lifecycle<StoredKey, Kept> for Evictions {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: StoredKey, entry: Kept) {
        if evicted.inserted.as_ref() != Some(&key) {
            self.0.of(u32::from(entry.header.function)).evictions.fetch_add(1, Relaxed);
        }
        evicted.entries.push(entry);
    }
}
