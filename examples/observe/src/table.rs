//! What the caches have counted, as a table for a terminal: of counters, what they count in a second.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use larder::{FunctionStats, Stats};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// What came between two looks.
pub(crate) struct Table<'a> {
    pub(crate) before: &'a Stats,
    pub(crate) now: &'a Stats,
    pub(crate) passed: Duration,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.functions(f)?;
        if self.now.redis.connections > 0 || self.now.redis.breaker_open {
            self.redis(f)?;
        }
        self.limits(f)?;
        self.locks(f)
    }
}

impl Table<'_> {
    fn functions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BOLD}{:16} {:>8} {:>7}", "function", "calls/s", "hit %")?;
        write!(f, " {:>8} {:>8} {:>8} {:>8}", "memory", "redis", "stale", "misses")?;
        write!(f, " {:>8} {:>9} {:>7}", "runs", "mean run", "running")?;
        writeln!(f, " {:>7} {:>7} {:>7}{PLAIN}", "waiting", "refused", "errors")?;
        let nothing = FunctionStats::default();
        for row in &self.now.functions {
            let old = self.before.functions.iter().find(|old| old.function == row.function);
            let old = old.unwrap_or(&nothing);
            let memory = row.cache_hits_memory - old.cache_hits_memory;
            let redis = row.cache_hits_redis - old.cache_hits_redis;
            let stale = row.stale_served - old.stale_served;
            // A call that turns out to be a hit was counted as a miss until then.
            let misses = row.cache_misses.saturating_sub(old.cache_misses);
            let runs = row.runs - old.runs;
            let calls = memory + redis + stale + misses;
            let run_time = row.run_time.saturating_sub(old.run_time);
            let mean = run_time.checked_div(runs as u32).unwrap_or_default();
            write!(f, "{:16} {:>8.0}", last_of(row.function), self.each_second(calls))?;
            write!(f, " {:>7.1}", 100.0 * share(calls - misses, calls))?;
            for count in [memory, redis, stale, misses, runs] {
                write!(f, " {:>8.0}", self.each_second(count))?;
            }
            write!(f, " {:>9} {:>7}", format!("{mean:.1?}"), row.inflight_requests)?;
            write!(f, " {}", alarming(row.waiters, 7, row.waiters > 100))?;
            let refused = row.fills_refused - old.fills_refused;
            let errors = row.errors - old.errors;
            writeln!(f, " {:>7.0} {:>7.0}", self.each_second(refused), self.each_second(errors))?;
        }
        Ok(())
    }

    fn redis(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (redis, old) = (&self.now.redis, &self.before.redis);
        let breaker = if redis.breaker_open { "open" } else { "closed" };
        write!(f, "\n{BOLD}redis{PLAIN}  ")?;
        write!(f, "{:.0} commands/s, ", self.each_second(redis.commands - old.commands))?;
        write!(f, "{} timeouts, ", redis.timeouts)?;
        write!(f, "breaker {}, ", alarming(breaker, 0, redis.breaker_open))?;
        if let Some(age) = redis.backplane_age {
            write!(f, "backplane heard {age:.1?} ago, ")?;
        }
        let pending = redis.pending_repairs;
        writeln!(f, "{} repairs pending", alarming(pending, 0, pending > 0))
    }

    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{BOLD}{:16} {:>10} {:>10}{PLAIN}", "limit", "allowed/s", "denied/s")?;
        writeln!(f, "{BOLD} {:>10}{PLAIN}", "by redis")?;
        for row in &self.now.limits {
            let old = self.before.limits.iter().find(|old| old.limit == row.limit);
            let old = old.cloned().unwrap_or_default();
            let allowed = row.allowed_redis + row.allowed_memory;
            let denied = row.denied_redis + row.denied_memory;
            let redis = row.allowed_redis + row.denied_redis;
            write!(f, "{:16}", row.limit)?;
            for (now, old) in [
                (allowed, old.allowed_redis + old.allowed_memory),
                (denied, old.denied_redis + old.denied_memory),
                (redis, old.allowed_redis + old.denied_redis),
            ] {
                write!(f, " {:>10.0}", self.each_second(now - old))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn locks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{BOLD}{:16} {:>10} {:>10}", "lock", "acquired/s", "waiting")?;
        writeln!(f, " {:>10} {:>11} {:>5}{PLAIN}", "timed out", "unavailable", "lost")?;
        for row in &self.now.locks {
            let old = self.before.locks.iter().find(|old| old.lock == row.lock);
            let acquired = row.acquired - old.map_or(0, |old| old.acquired);
            write!(f, "{:16} {:>10.0}", row.lock, self.each_second(acquired))?;
            write!(f, " {:>10} {:>10}", row.waiters, row.timed_out)?;
            writeln!(f, " {:>11} {:>5}", row.unavailable, row.lost)?;
        }
        Ok(())
    }

    fn each_second(&self, count: u64) -> f64 {
        share(count, 1) / self.passed.as_secs_f64()
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

/// `app::users::get_user` without the path.
fn last_of(function: &str) -> &str {
    function.rsplit("::").next().unwrap_or(function)
}

/// In red if it is.
fn alarming(value: impl fmt::Display, width: usize, is: bool) -> String {
    let mut text = String::new();
    let (before, after) = if is { (RED, PLAIN) } else { ("", "") };
    let _ = write!(text, "{before}{value:>width$}{after}");
    text
}
