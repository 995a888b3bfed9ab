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
            row.function.strip_suffix(path).is_some_and(|head| head.is_empty() || head.ends_with("::"))
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
        write!(f, "{:width$}  {:>9}  {:>9}  {:>6}  {:>9}", "function", "hits", "misses", "hit %", "runs")?;
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
/// so that a hit finds its counter with two loads and no lock.
pub(crate) struct Functions {
    /// Chunk `n` holds `FIRST << n` functions.
    chunks: [OnceLock<Box<[Counters]>>; CHUNKS],
    stripes: usize,
}

const FIRST: u32 = 32;
/// Enough for every number there is.
const CHUNKS: usize = (u32::BITS - FIRST.ilog2()) as usize;

impl Functions {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(8, usize::from);
        Self { chunks: [const { OnceLock::new() }; CHUNKS], stripes: threads.next_power_of_two().min(64) }
    }

    #[inline]
    pub(crate) fn of(&self, number: u32) -> &Counters {
        let position = u64::from(number) + u64::from(FIRST);
        let chunk = (position.ilog2() - FIRST.ilog2()) as usize;
        let length = u64::from(FIRST) << chunk;
        let counters = self.chunks[chunk].get_or_init(|| self.chunk(length));
        &counters[(position - length) as usize]
    }

    #[cold]
    fn chunk(&self, length: u64) -> Box<[Counters]> {
        (0..length).map(|_| Counters::new(self.stripes)).collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = self.chunks.iter().filter_map(OnceLock::get).flatten();
        let mut functions: Vec<_> = counters.filter_map(Counters::read).collect();
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
#[derive(Debug)]
pub(crate) struct Counters {
    function: OnceLock<&'static str>,
    hits: OnceLock<Box<[Stripe]>>,
    stripes: usize,
    pub(crate) misses: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) inflight: AtomicU64,
    pub(crate) waiters: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) run_nanos: AtomicU64,
}

/// Two lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Counters {
    fn new(stripes: usize) -> Self {
        Self {
            function: OnceLock::new(),
            hits: OnceLock::new(),
            stripes,
            misses: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            inflight: AtomicU64::new(0),
            waiters: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            run_nanos: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn hit(&self, function: &'static str) {
        let stripes = self.hits.get_or_init(|| self.first_hit(function));
        // The length is a power of two.
        let stripe = stripe() & (stripes.len() - 1);
        stripes[stripe].0.fetch_add(1, Relaxed);
    }

    #[cold]
    fn first_hit(&self, function: &'static str) -> Box<[Stripe]> {
        self.function.get_or_init(|| function);
        (0..self.stripes).map(|_| Stripe::default()).collect()
    }

    pub(crate) fn miss(&self, function: &'static str) {
        self.function.get_or_init(|| function);
        self.misses.fetch_add(1, Relaxed);
    }

    /// `None` for a function that was never called in this cache.
    fn read(&self) -> Option<FunctionStats> {
        Some(FunctionStats {
            function: self.function.get()?,
            cache_hits_memory: self.hits.get().map_or(0, |stripes| {
                stripes.iter().map(|stripe| stripe.0.load(Relaxed)).sum()
            }),
            cache_misses: self.misses.load(Relaxed),
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
