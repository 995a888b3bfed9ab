//! Counters of what has a name of its own: limits and locks. As with functions, the name has a number in
//! the process, and what counts under it is found by that in each cache, without a lock.

use std::{
    collections::BTreeMap,
    fmt,
    panic::Location,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

#[cfg(feature = "limit")]
use crate::stats::LimitStats;
#[cfg(feature = "tracing")]
use crate::watch::events;
use crate::{
    counters::Striped,
    stats::LockStats,
    watch::{Since, Times},
};

/// Names of one kind, each with a number. They live as long as the process.
pub(crate) struct Names {
    numbers: RwLock<BTreeMap<&'static str, u32>>,
    /// The same of those that are the place of a call.
    places: RwLock<BTreeMap<(&'static str, u32), u32>>,
}

/// So many names, and one more for all others: a name that is made of what changes with every call is no
/// reason to grow for ever.
const NAMES: usize = 1023;

/// What all names are called that are too many.
const OTHERS: &str = "(others)";

/// What counts under each name in one cache. Made when it is asked for.
pub(crate) struct Tallies<T>(OnceLock<Slots<T>>);

/// One for each name, and one for all others.
type Slots<T> = Box<[OnceLock<Arc<T>>]>;

/// What counts, for the cache that it is in.
pub(crate) trait Tally {
    type Row;

    fn new(name: &'static str) -> Self;

    fn names() -> &'static Names;

    /// `None` if nothing was counted.
    fn read(&self, name: &'static str) -> Option<Self::Row>;
}

impl Names {
    const fn new() -> Self {
        Self { numbers: RwLock::new(BTreeMap::new()), places: RwLock::new(BTreeMap::new()) }
    }

    /// The number of that name.
    pub(crate) fn number_of(&self, name: &str) -> u32 {
        let known = self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        known.unwrap_or_else(|| self.learn(name))
    }

    /// The number of a place in a program: `src/report.rs:7`.
    pub(crate) fn number_of_place(&self, place: &'static Location<'static>) -> u32 {
        let place = (place.file(), place.line());
        let known = self.places.read().unwrap_or_else(PoisonError::into_inner).get(&place).copied();
        known.unwrap_or_else(|| {
            let number = self.number_of(&format!("{}:{}", place.0, place.1));
            self.places.write().unwrap_or_else(PoisonError::into_inner).insert(place, number);
            number
        })
    }

    fn learn(&self, name: &str) -> u32 {
        let mut names = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = names.get(name) {
            return *number;
        }
        let number = names.len();
        if number < NAMES {
            names.insert(Box::leak(name.into()), number as u32);
        }
        number as u32
    }

    /// In the order of the names.
    fn all(&self) -> Vec<(&'static str, u32)> {
        let names = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        let known = names.iter().map(|(name, number)| (*name, *number));
        known.chain([(OTHERS, NAMES as u32)]).collect()
    }

    fn name(&self, number: u32) -> &'static str {
        let names = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        let known = names.iter().find(|(_, known)| **known == number);
        known.map_or(OTHERS, |(name, _)| name)
    }
}

impl<T: Tally> Tallies<T> {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    #[inline]
    pub(crate) fn of(&self, number: u32) -> &Arc<T> {
        let slots = self.0.get_or_init(|| (0..=NAMES).map(|_| OnceLock::new()).collect());
        let slot = &slots[(number as usize).min(NAMES)];
        slot.get_or_init(|| Arc::new(T::new(T::names().name(number))))
    }

    /// A row for each name that something was counted under.
    pub(crate) fn stats(&self) -> Vec<T::Row> {
        let Some(slots) = self.0.get() else {
            return Vec::new();
        };
        let names = T::names().all().into_iter();
        names.filter_map(|(name, number)| slots[number as usize].get()?.read(name)).collect()
    }
}

impl<T: Tally> fmt::Debug for Tallies<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tallies").finish_non_exhaustive()
    }
}

/// What a limit has decided.
#[cfg(feature = "limit")]
#[derive(Debug)]
pub(crate) struct LimitCounts {
    #[cfg(feature = "tracing")]
    name: &'static str,
    counts: Striped,
    pub(crate) waits: Times,
}

#[cfg(feature = "limit")]
pub(crate) static LIMIT_NAMES: Names = Names::new();

#[cfg(feature = "limit")]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    AllowedByRedis,
    AllowedByMemory,
    DeniedByRedis,
    DeniedByMemory,
}

#[cfg(feature = "limit")]
impl LimitCounts {
    #[inline]
    pub(crate) fn add(&self, decision: Decision) {
        self.counts.add(decision as usize, 1);
        #[cfg(feature = "tracing")]
        match decision {
            Decision::AllowedByRedis | Decision::AllowedByMemory => {}
            Decision::DeniedByRedis => events::limit_denied(self.name, "redis"),
            Decision::DeniedByMemory => events::limit_denied(self.name, "memory"),
        }
    }
}

#[cfg(feature = "limit")]
impl Tally for LimitCounts {
    type Row = LimitStats;

    fn new(name: &'static str) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            name,
            counts: Striped::default(),
            waits: Times::of_limit(name),
        }
    }

    fn names() -> &'static Names {
        &LIMIT_NAMES
    }

    fn read(&self, limit: &'static str) -> Option<LimitStats> {
        let sum = |decision| self.counts.sum(decision as usize);
        let row = LimitStats {
            limit,
            allowed_redis: sum(Decision::AllowedByRedis),
            allowed_memory: sum(Decision::AllowedByMemory),
            denied_redis: sum(Decision::DeniedByRedis),
            denied_memory: sum(Decision::DeniedByMemory),
        };
        let all = [row.allowed_redis, row.allowed_memory, row.denied_redis, row.denied_memory];
        all.iter().any(|count| *count > 0).then_some(row)
    }
}

/// What became of those who asked for a lock.
#[derive(Debug)]
pub(crate) struct LockCounts {
    #[cfg(feature = "tracing")]
    name: &'static str,
    counts: Striped,
    waiters: AtomicU64,
    waits: Times,
}

pub(crate) static LOCK_NAMES: Names = Names::new();

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Acquired,
    TimedOut,
    Unavailable,
    Lost,
}

impl LockCounts {
    pub(crate) fn add(&self, fate: Fate) {
        self.counts.add(fate as usize, 1);
        #[cfg(feature = "tracing")]
        if let Fate::Lost = fate {
            events::lock_lost(self.name);
        }
    }

    /// Somebody asks, until this is dropped.
    pub(crate) fn ask(&self) -> Asks<'_> {
        self.waiters.fetch_add(1, Relaxed);
        Asks { counts: self, since: Since::now() }
    }
}

/// One who asks for a lock.
pub(crate) struct Asks<'a> {
    counts: &'a LockCounts,
    since: Since,
}

impl Asks<'_> {
    /// He has come to that.
    pub(crate) fn end(self, fate: Fate) {
        self.counts.add(fate);
        if let Fate::Acquired = fate {
            self.since.record(&self.counts.waits);
        }
    }
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        self.counts.waiters.fetch_sub(1, Relaxed);
    }
}

impl Tally for LockCounts {
    type Row = LockStats;

    fn new(name: &'static str) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            name,
            counts: Striped::default(),
            waiters: AtomicU64::new(0),
            waits: Times::of_lock(name),
        }
    }

    fn names() -> &'static Names {
        &LOCK_NAMES
    }

    fn read(&self, lock: &'static str) -> Option<LockStats> {
        let sum = |fate| self.counts.sum(fate as usize);
        Some(LockStats {
            lock,
            acquired: sum(Fate::Acquired),
            timed_out: sum(Fate::TimedOut),
            unavailable: sum(Fate::Unavailable),
            lost: sum(Fate::Lost),
            waiters: self.waiters.load(Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_many_counts_as_one() {
        let names = Names::new();
        let numbers: Vec<_> = (0..3000).map(|at| names.number_of(&format!("job {at}"))).collect();
        assert_eq!(numbers[..3], [0, 1, 2]);
        assert!(numbers[NAMES..].iter().all(|number| *number as usize == NAMES));
        assert_eq!(names.number_of("job 7"), 7);
        assert_eq!((names.name(7), names.name(NAMES as u32)), ("job 7", OTHERS));
        assert_eq!(names.all().len(), NAMES + 1);
    }
}
