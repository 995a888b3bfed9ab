//! What a cache has counted, and the table that it prints as.

use std::{fmt, time::Duration};

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
