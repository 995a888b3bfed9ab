//! Counters per function, always on: a hit pays one addition that no other thread sees.

use std::{
    cell::Cell,
    fmt,
    sync::{
        OnceLock,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Duration,
};

use crate::{key::function, stats::FunctionStats};

/// The counters of all functions of one cache, by the number of the site. Grows without moving,
/// so that a hit finds its counter with a load and no lock.
pub(crate) struct Functions {
    chunks: Box<[OnceLock<Box<Chunk>>; CHUNKS]>,
}

type Chunk = [Counters; CHUNK];

const CHUNK: usize = 16;
/// For 16,384 functions; what is above that shares the counters of others.
const CHUNKS: usize = 1024;

impl Functions {
    pub(crate) fn new() -> Self {
        let chunks: Box<[_]> = (0..CHUNKS).map(|_| OnceLock::new()).collect();
        Self { chunks: chunks.try_into().unwrap_or_else(|_| unreachable!()) }
    }

    #[inline]
    pub(crate) fn of(&self, number: u32) -> &Counters {
        let number = number as usize;
        let chunk = &self.chunks[number / CHUNK % CHUNKS];
        let counters = match chunk.get() {
            Some(counters) => counters,
            None => fill(chunk),
        };
        &counters[number % CHUNK]
    }

    /// A row for each function that was called.
    pub(crate) fn stats(&self) -> Vec<FunctionStats> {
        let mut functions: Vec<_> = (0..)
            .zip(self.chunks.iter())
            .filter_map(|(at, chunk)| Some((at * CHUNK as u32, chunk.get()?)))
            .flat_map(|(first, chunk)| (first..).zip(chunk.iter()))
            .filter_map(|(number, counters)| counters.read(number))
            .collect();
        functions.sort_by_key(|row| row.function);
        functions
    }
}

#[cold]
fn fill(chunk: &OnceLock<Box<Chunk>>) -> &Chunk {
    // By way of a list: an array would be made on the stack first.
    let counters = || (0..CHUNK).map(|_| Counters::default()).collect::<Box<[_]>>();
    chunk.get_or_init(|| counters().try_into().unwrap_or_else(|_| unreachable!()))
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stats()).finish()
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Hits,
    RedisHits,
    Misses,
    /// Runs that began.
    Runs,
    /// Runs that ended, in whatever way.
    Ended,
    Errors,
    Refused,
    RunNanos,
}

/// The counters of one function.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: Striped,
    /// Goes down too, so one for all.
    pub(crate) waiters: AtomicU64,
    /// Under a lock of the store, and no room is left in a stripe.
    pub(crate) evictions: AtomicU64,
    /// As these, seldom.
    pub(crate) stale: AtomicU64,
    pub(crate) background: AtomicU64,
}

/// Eight counters, a stripe per thread.
#[derive(Debug, Default)]
pub(crate) struct Striped {
    stripes: [Stripe; STRIPES],
}

const STRIPES: usize = 32;

/// Those that belong to one thread each.
const OWNED: usize = STRIPES - 1;

/// The stripe of the threads that have none of their own.
const SHARED: u32 = OWNED as u32;

/// A line of its own: an atomic addition to a line that another thread has costs more than the
/// look-up of a hit does.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe([AtomicU64; COUNTS]);

/// As many as a line has room for.
const COUNTS: usize = 8;

impl Counters {
    #[inline]
    pub(crate) fn add(&self, count: Count, more: u64) {
        self.counts.add(count as usize, more);
    }

    /// Takes back one that was counted a moment ago, on this thread.
    pub(crate) fn subtract(&self, count: Count) {
        self.add(count, u64::MAX);
    }

    fn sum(&self, count: Count) -> u64 {
        self.counts.sum(count as usize)
    }

    /// `None` for a function that was never called in this cache.
    fn read(&self, number: u32) -> Option<FunctionStats> {
        let (cache_hits_memory, cache_misses) = (self.sum(Count::Hits), self.sum(Count::Misses));
        let cache_hits_redis = self.sum(Count::RedisHits);
        let stale_served = self.stale.load(Relaxed);
        // In this order, so that a run that ends meanwhile is not missing from those that began.
        let ended = self.sum(Count::Ended);
        let runs = self.sum(Count::Runs);
        if cache_hits_memory + cache_hits_redis + cache_misses + stale_served + runs == 0 {
            return None;
        }
        Some(FunctionStats {
            function: function(number),
            cache_hits_memory,
            cache_hits_redis,
            cache_misses,
            runs,
            evictions: self.evictions.load(Relaxed),
            inflight_requests: runs.saturating_sub(ended),
            waiters: self.waiters.load(Relaxed),
            stale_served,
            background_runs: self.background.load(Relaxed),
            fills_refused: self.sum(Count::Refused),
            errors: self.sum(Count::Errors),
            run_time: Duration::from_nanos(self.sum(Count::RunNanos)),
        })
    }
}

impl Striped {
    #[inline]
    pub(crate) fn add(&self, at: usize, more: u64) {
        let mine = MINE.get() as usize;
        if mine < OWNED {
            // Nobody else writes here, so it need not be one step.
            let counter = &self.stripes[mine].0[at % COUNTS];
            counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
        } else {
            self.add_seldom(at, more);
        }
    }

    /// The first count of a thread, or one of a thread that has no stripe.
    #[cold]
    fn add_seldom(&self, at: usize, more: u64) {
        let stripe = stripe();
        // In one step, for the shared one.
        self.stripes[stripe as usize % STRIPES].0[at % COUNTS].fetch_add(more, Relaxed);
    }

    pub(crate) fn sum(&self, at: usize) -> u64 {
        let stripes = self.stripes.iter().map(|stripe| stripe.0[at % COUNTS].load(Relaxed));
        let sum = stripes.fold(0, u64::wrapping_add);
        // What was counted on one thread and taken back on another may have been read half.
        u64::try_from(sum.cast_signed()).unwrap_or(0)
    }
}

/// The stripe of this thread, in every cache and function.
fn stripe() -> u32 {
    match MINE.get() {
        UNKNOWN => take(),
        stripe => stripe,
    }
}

const UNKNOWN: u32 = u32::MAX;

thread_local! {
    // Apart from what gives it back, so that to read it is one load.
    static MINE: Cell<u32> = const { Cell::new(UNKNOWN) };
    static GIVING_BACK: GivingBack = const { GivingBack };
}

/// The stripes that a thread has, one bit each; the shared one is nobody's.
static TAKEN: AtomicU32 = AtomicU32::new(1 << SHARED);

#[cold]
fn take() -> u32 {
    // A thread that is ending already gives nothing back any more, so it takes nothing.
    let stripe = match GIVING_BACK.try_with(|_| ()) {
        Err(_) => SHARED,
        // Acquire, as giving back releases: this thread goes on from where the last one stopped.
        Ok(()) => TAKEN
            .fetch_update(AcqRel, Relaxed, |taken| {
                let free = taken.trailing_ones();
                (free < SHARED).then(|| taken | 1 << free)
            })
            .map_or(SHARED, u32::trailing_ones),
    };
    MINE.set(stripe);
    stripe
}

/// Gives the stripe back when the thread ends.
struct GivingBack;

impl Drop for GivingBack {
    fn drop(&mut self) {
        // What is counted after this is counted with the others'.
        let stripe = MINE.replace(SHARED);
        if stripe < SHARED {
            TAKEN.fetch_and(!(1 << stripe), AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn no_count_is_lost_with_more_threads_than_stripes() {
        let counters = Counters::default();
        for _ in 0..3 {
            thread::scope(|scope| {
                for _ in 0..2 * STRIPES {
                    scope.spawn(|| (0..1000).for_each(|_| counters.add(Count::Hits, 1)));
                }
            });
        }
        assert_eq!(counters.sum(Count::Hits), 3 * 2 * STRIPES as u64 * 1000);
    }

    #[test]
    fn two_threads_never_have_one_stripe_but_the_shared() {
        let mine = stripe();
        let other = thread::scope(|scope| scope.spawn(stripe).join().unwrap());
        assert!(mine != other || other == SHARED);
    }
}
