//! What a cache has counted, and the table that it prints as.

use std::{fmt, time::Duration};

/// What a cache has counted, a row per function. `Display` prints a table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// In the order of the functions' names.
    pub functions: Vec<FunctionStats>,
    /// Of the tier in Redis; all zero without one.
    pub redis: RedisStats,
}

/// What the tier in Redis has counted, since the cache was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Commands that were sent for calls.
    pub commands: u64,
    /// Commands that had no answer when their budget ended.
    pub timeouts: u64,
    /// Connections that were made.
    pub connections: u64,
    /// How often it was left alone for a while, because it did not answer.
    pub breaker_openings: u64,
    /// Commands that were not sent because too many were under way.
    pub rejected: u64,
    /// Leases that were granted to callers who had gone, and were given back.
    pub late_grants: u64,
    /// Invalidations that have not landed at this moment.
    pub pending_repairs: u64,
    /// Holds that were asked for and not had, because Redis did not answer or refused: the change took
    /// place without, or, where the hold was required, it did not.
    pub unheld: u64,
}

/// What one function has counted in one cache, since the cache was built.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FunctionStats {
    /// Its path: `app::users::get_user`.
    pub function: &'static str,
    /// Calls answered from the memory of the process.
    pub cache_hits_memory: u64,
    /// Calls answered from Redis.
    pub cache_hits_redis: u64,
    /// Calls answered by no tier: they ran the function, or waited for a run.
    pub cache_misses: u64,
    /// Calls answered with a value past its life, from memory or Redis.
    pub stale_served: u64,
    /// Runs of the function under the cache.
    pub runs: u64,
    /// Refreshes that went on without the call that began them. Not all of them came to a run: another
    /// process may have been faster.
    pub background_runs: u64,
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
    /// The share of calls that memory or Redis answered, also with stale values, from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio is shown with three digits")]
    pub fn hit_rate(&self) -> f64 {
        let hits = self.cache_hits_memory + self.cache_hits_redis + self.stale_served;
        let calls = hits + self.cache_misses;
        if calls == 0 { 0.0 } else { hits as f64 / calls as f64 }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.functions.iter().map(|row| row.function.len()).max().unwrap_or(0).max(8);
        write!(f, "{:width$}  {:>9}  {:>9}  {:>9}", "function", "memory", "redis", "misses")?;
        write!(f, "  {:>6}  {:>9}  {:>9}", "hit %", "stale", "runs")?;
        writeln!(f, "  {:>7}  {:>7}  {:>7}  {:>10}", "errors", "refused", "evicted", "run time")?;
        for row in &self.functions {
            let FunctionStats { function, cache_misses, runs, .. } = row;
            let (memory, redis) = (row.cache_hits_memory, row.cache_hits_redis);
            let (rate, stale) = (100.0 * row.hit_rate(), row.stale_served);
            write!(f, "{function:width$}  {memory:>9}  {redis:>9}  {cache_misses:>9}")?;
            write!(f, "  {rate:>6.1}  {stale:>9}  {runs:>9}")?;
            write!(f, "  {:>7}  {:>7}", row.errors, row.fills_refused)?;
            writeln!(f, "  {:>7}  {:>10}", row.evictions, format!("{:.1?}", row.run_time))?;
        }
        if self.redis != RedisStats::default() {
            let RedisStats { commands, timeouts, connections, breaker_openings, .. } = self.redis;
            write!(
                f,
                "redis: {commands} commands, {timeouts} timeouts, {connections} connections"
            )?;
            writeln!(f, ", left alone {breaker_openings} times")?;
        }
        Ok(())
    }
}
