//! Counters per function, always on, and the table that they print as.

use std::{
    cell::Cell,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::key::function;

/// What a cache has counted, a row per function. `Display` prints a table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// In the order of the functions' names.
    pub functions: Vec<FunctionStats>,
}

/// What one function has counted in one cache, since the cache was built.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FunctionStats {
    /// Its path: `app::users::get_user`.
    pub function: &'static str,
    /// Calls answered from the memory of the process.
    pub cache_hits_memory: u64,
    /// Calls answered by no tier: they ran the function, or waited for a run.
    pub cache_misses: u64,
    /// Runs of the function under the cache.
    pub runs: u64,
    /// Entries that were pushed out because the store was full.
    pub evictions: u64,
    /// Runs under way at this moment.
    pub inflight_requests: u64,
    /// Calls that wait for another's run at this moment.
    pub waiters: u64,
    /// Results that were not stored because an invalidation or a newer value had come between.
    pub fills_refused: u64,
    /// Runs that returned `Err`.
    pub errors: u64,
    /// The time of all finished runs together.
    pub run_time: Duration,
}

impl Stats {
    /// The row of a function, by its path or by the end of it: `get_user`, `users::get_user`.
    #[must_use]
    pub fn function(&self, path: &str) -> Option<&FunctionStats> {
        self.functions.iter().find(|row| {
            row.function
                .strip_suffix(path)
                .is_some_and(|head| head.is_empty() || head.ends_with("::"))
        })
    }
}

impl FunctionStats {
    /// The share of calls that memory answered, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio is shown with three digits")]
    pub fn hit_rate(&self) -> f64 {
        let calls = self.cache_hits_memory + self.cache_misses;
        if calls == 0 { 0.0 } else { self.cache_hits_memory as f64 / calls as f64 }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.functions.iter().map(|row| row.function.len()).max().unwrap_or(0).max(8);
        write!(
            f,
            "{:width$}  {:>9}  {:>9}  {:>6}  {:>9}",
            "function", "hits", "misses", "hit %", "runs"
        )?;
        writeln!(f, "  {:>7}  {:>7}  {:>7}  {:>10}", "errors", "refused", "evicted", "run time")?;
        for row in &self.functions {
            let FunctionStats { function, cache_hits_memory, cache_misses, runs, .. } = row;
            write!(f, "{function:width$}  {cache_hits_memory:>9}  {cache_misses:>9}")?;
            write!(f, "  {:>6.1}  {runs:>9}", 100.0 * row.hit_rate())?;
            write!(f, "  {:>7}  {:>7}", row.errors, row.fills_refused)?;
            writeln!(f, "  {:>7}  {:>10}", row.evictions, format!("{:.1?}", row.run_time))?;
        }
        Ok(())
    }
}

/// The counters of all functions of one cache, by the number of the site. Grows without moving,
/// so that a hit finds its counter with a load and no lock.
pub(crate) struct Functions {
    chunks: Box<[OnceLock<Box<[Counters; CHUNK]>>; CHUNKS]>,
}

const CHUNK: usize = 32;
/// For 16,384 functions; what is above that shares the last counters.
const CHUNKS: usize = 512;

impl Functions {
    pub(crate) fn new() -> Self {
        Self { chunks: Box::new([const { OnceLock::new() }; CHUNKS]) }
    }

    #[inline]
    pub(crate) fn of(&self, number: u32) -> &Counters {
        let number = (number as usize).min(CHUNK * CHUNKS - 1);
        let chunk = &self.chunks[number / CHUNK];
        let chunk = chunk.get().map_or_else(|| Self::fill(chunk), |chunk| &**chunk);
        &chunk[number % CHUNK]
    }

    #[cold]
    fn fill(chunk: &OnceLock<Box<[Counters; CHUNK]>>) -> &[Counters; CHUNK] {
        chunk.get_or_init(|| Box::new(std::array::from_fn(|_| Counters::default())))
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut functions: Vec<_> = (0..)
            .zip(&*self.chunks)
            .filter_map(|(at, chunk)| Some((at * CHUNK as u32, chunk.get()?)))
            .flat_map(|(first, chunk)| (first..).zip(&**chunk))
            .filter_map(|(number, counters)| counters.read(number))
            .collect();
        functions.sort_by_key(|row| row.function);
        Stats { functions }
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

/// The counters of one function. Hits are striped: one shared counter costs a hit on two threads
/// more than the look-up does.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: [Stripe; STRIPES],
    pub(crate) misses: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) inflight: AtomicU64,
    pub(crate) waiters: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) run_nanos: AtomicU64,
}

/// A power of two.
const STRIPES: usize = 16;

/// A line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

impl Counters {
    #[inline]
    pub(crate) fn hit(&self) {
        self.hits[stripe() % STRIPES].0.fetch_add(1, Relaxed);
    }

    /// `None` for a function that was never called in this cache.
    fn read(&self, number: u32) -> Option<FunctionStats> {
        let cache_hits_memory = self.hits.iter().map(|stripe| stripe.0.load(Relaxed)).sum();
        let cache_misses = self.misses.load(Relaxed);
        if cache_hits_memory + cache_misses == 0 {
            return None;
        }
        Some(FunctionStats {
            function: function(number),
            cache_hits_memory,
            cache_misses,
            runs: self.runs.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            inflight_requests: self.inflight.load(Relaxed),
            waiters: self.waiters.load(Relaxed),
            fills_refused: self.refused.load(Relaxed),
            errors: self.errors.load(Relaxed),
            run_time: Duration::from_nanos(self.run_nanos.load(Relaxed)),
        })
    }
}

/// A number per thread, in turn.
#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Relaxed) & (usize::MAX >> 1));
        }
        mine.get()
    })
}
