//! What a cache has counted, and the table that it prints as.

use std::{fmt, time::Duration};

/// What a cache has counted, a row per function, limit and lock. `Display` prints a table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// In the order of the functions' names.
    pub functions: Vec<FunctionStats>,
    /// In the order of their names.
    pub limits: Vec<LimitStats>,
    /// In the order of their names.
    pub locks: Vec<LockStats>,
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
    /// Whether it is left alone at this moment.
    pub breaker_open: bool,
    /// How long it is that this process was last sure to hear what others invalidate; until it first is,
    /// since Redis was first needed. `None` before that.
    pub backplane_age: Option<Duration>,
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

/// What one limit has decided in one cache, since the cache was built. A call counts once, whatever it costs
/// and however long it waits.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LimitStats {
    /// What `key` of `#[rate_limited]` says, without names: `login:{}`; the path of the function if it says
    /// nothing; and the name of a `Limiter`. Never what a call is limited by.
    pub limit: &'static str,
    /// Calls that Redis allowed.
    pub allowed_redis: u64,
    /// Calls that were allowed without asking Redis, or while it was away.
    pub allowed_memory: u64,
    /// Calls that Redis denied.
    pub denied_redis: u64,
    /// Calls that were denied without asking Redis, also because it had denied the same before, or while it
    /// was away.
    pub denied_memory: u64,
}

/// What became of those who asked for one lock in one cache, since the cache was built.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LockStats {
    /// What `key` of `#[locked]` says, without names: `report:{}`; and where [`Lock::new`](crate::Lock::new)
    /// was called: `src/report.rs:7`. Never the name of the lock.
    pub lock: &'static str,
    /// Callers that got it.
    pub acquired: u64,
    /// Callers that gave up, because others had it.
    pub timed_out: u64,
    /// Callers that Redis did not answer.
    pub unavailable: u64,
    /// How often it was lost by one who had it, or was over when he heard that he has it.
    pub lost: u64,
    /// Callers that ask for it at this moment.
    pub waiters: u64,
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
        print_limits(f, &self.limits)?;
        print_locks(f, &self.locks)?;
        if self.redis != RedisStats::default() {
            let RedisStats { commands, timeouts, connections, breaker_openings, .. } = self.redis;
            write!(
                f,
                "redis: {commands} commands, {timeouts} timeouts, {connections} connections"
            )?;
            write!(f, ", left alone {breaker_openings} times")?;
            writeln!(f, "{}", if self.redis.breaker_open { ", and at this moment" } else { "" })?;
        }
        Ok(())
    }
}

fn print_limits(f: &mut fmt::Formatter<'_>, limits: &[LimitStats]) -> fmt::Result {
    if limits.is_empty() {
        return Ok(());
    }
    let width = limits.iter().map(|row| row.limit.len()).max().unwrap_or(0).max(8);
    write!(f, "{:width$}  {:>9}  {:>9}", "limit", "allowed", "denied")?;
    writeln!(f, "  {:>9}  {:>9}", "by redis", "by memory")?;
    for row in limits {
        let (allowed, denied) =
            (row.allowed_redis + row.allowed_memory, row.denied_redis + row.denied_memory);
        let (redis, memory) =
            (row.allowed_redis + row.denied_redis, row.allowed_memory + row.denied_memory);
        write!(f, "{:width$}  {allowed:>9}  {denied:>9}", row.limit)?;
        writeln!(f, "  {redis:>9}  {memory:>9}")?;
    }
    Ok(())
}

fn print_locks(f: &mut fmt::Formatter<'_>, locks: &[LockStats]) -> fmt::Result {
    if locks.is_empty() {
        return Ok(());
    }
    let width = locks.iter().map(|row| row.lock.len()).max().unwrap_or(0).max(8);
    write!(f, "{:width$}  {:>9}  {:>9}", "lock", "acquired", "timed out")?;
    writeln!(f, "  {:>11}  {:>9}  {:>9}", "unavailable", "lost", "waiters")?;
    for row in locks {
        let LockStats { lock, acquired, timed_out, unavailable, lost, waiters } = row;
        write!(f, "{lock:width$}  {acquired:>9}  {timed_out:>9}")?;
        writeln!(f, "  {unavailable:>11}  {lost:>9}  {waiters:>9}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_locks_have_tables_where_there_are_any() {
        let redis = RedisStats {
            commands: 9,
            breaker_openings: 1,
            breaker_open: true,
            ..RedisStats::default()
        };
        let limit = LimitStats {
            limit: "login:{}",
            allowed_redis: 5,
            allowed_memory: 1,
            denied_redis: 2,
            denied_memory: 30,
        };
        let lock = LockStats {
            lock: "report:{}",
            acquired: 4,
            timed_out: 3,
            waiters: 2,
            ..LockStats::default()
        };
        let stats = Stats { limits: vec![limit], locks: vec![lock], redis, ..Stats::default() };
        let printed = stats.to_string();
        let lines: Vec<_> = printed.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "limit       allowed     denied   by redis  by memory",
                "login:{}          6         32          7         31",
                "lock        acquired  timed out  unavailable       lost    waiters",
                "report:{}          4          3            0          0          2",
                "redis: 9 commands, 0 timeouts, 0 connections, left alone 1 times, and at this moment",
            ]
        );
        assert_eq!(Stats::default().to_string().lines().count(), 1);
    }
}
