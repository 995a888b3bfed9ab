//! All that is published: the one place where a metric has its name.

use metrics::Unit;

/// One metric. Its name and labels stay as they are within a major version.
#[derive(Debug)]
pub struct Metric {
    /// As Prometheus has it.
    pub name: &'static str,
    /// What can be done with it.
    pub kind: Kind,
    /// The names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// What it is counted in.
    pub unit: Unit,
    /// A sentence or two.
    pub help: &'static str,
}

/// What a metric is, and what several caches of a process make of it that have the same labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but with the process. They add up.
    Counter,
    /// How it is at this moment. They add up.
    Gauge,
    /// The same, of which the greatest counts.
    Greatest,
    /// How long something took.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Greatest => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($id:ident = $kind:ident($unit:ident) $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            unit: Unit::$unit,
            help: $help,
        };)*

        /// Every metric, in the order of the documentation.
        pub static METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    HITS = Counter(Count) "larder_cache_hits_total" ["function", "tier"]
        "Calls answered by a tier: `memory` or `redis`.";
    MISSES = Counter(Count) "larder_cache_misses_total" ["function"]
        "Calls answered by no tier: they ran the function, or waited for a run.";
    STALE_SERVED = Counter(Count) "larder_cache_stale_served_total" ["function"]
        "Calls answered with a value past its life.";
    RUNS = Counter(Count) "larder_cache_runs_total" ["function"]
        "Runs of the function under the cache.";
    BACKGROUND_RUNS = Counter(Count) "larder_cache_background_runs_total" ["function"]
        "Refreshes that went on without the call that began them.";
    ERRORS = Counter(Count) "larder_cache_errors_total" ["function"]
        "Runs that returned an error.";
    FILLS_REFUSED = Counter(Count) "larder_cache_fills_refused_total" ["function"]
        "Results that were not stored because an invalidation or a newer value had come between.";
    EVICTIONS = Counter(Count) "larder_cache_evictions_total" ["function"]
        "Entries that were pushed out because the store was full.";
    INFLIGHT_REQUESTS = Gauge(Count) "larder_cache_inflight_requests" ["function"]
        "Runs under way.";
    WAITERS = Gauge(Count) "larder_cache_waiters" ["function"]
        "Calls that wait for another's run.";
    RUN_SECONDS = Histogram(Seconds) "larder_cache_run_seconds" ["function"]
        "How long a run took.";
    REDIS_COMMANDS = Counter(Count) "larder_redis_commands_total" ["service"]
        "Commands that were sent to Redis; a pipeline is one.";
    REDIS_TIMEOUTS = Counter(Count) "larder_redis_timeouts_total" ["service"]
        "Commands that had no answer when their budget ended.";
    REDIS_CONNECTIONS = Counter(Count) "larder_redis_connections_total" ["service"]
        "Connections for commands that were made.";
    REDIS_BREAKER_OPENINGS = Counter(Count) "larder_redis_breaker_openings_total" ["service"]
        "How often Redis was left alone for a while, because it did not answer.";
    REDIS_REJECTED = Counter(Count) "larder_redis_rejected_total" ["service"]
        "Commands that were not sent because too many were under way.";
    REDIS_LATE_GRANTS = Counter(Count) "larder_redis_late_grants_total" ["service"]
        "Leases and locks that were granted to callers who had gone, and were given back.";
    REDIS_UNHELD = Counter(Count) "larder_redis_unheld_total" ["service"]
        "Holds that were asked for and not had.";
    REDIS_BREAKER_OPEN = Greatest(Count) "larder_redis_breaker_open" ["service"]
        "1 while Redis is left alone, else 0.";
    REDIS_BACKPLANE_AGE = Greatest(Seconds) "larder_redis_backplane_age_seconds" ["service"]
        "How long it is that this process was last sure to hear what others invalidate.";
    REDIS_PENDING_REPAIRS = Gauge(Count) "larder_redis_pending_repairs" ["service"]
        "Invalidations that have not landed in Redis.";
    REDIS_COMMAND_SECONDS = Histogram(Seconds) "larder_redis_command_seconds" ["service"]
        "From a command to its answer, or to the end of its budget.";
    LIMIT_DECISIONS = Counter(Count) "larder_limit_decisions_total" ["limit", "decision", "by"]
        "Calls that were `allowed` or `denied`, by `redis` or by the `memory` of the process.";
    LIMIT_WAIT_SECONDS = Histogram(Seconds) "larder_limit_wait_seconds" ["limit"]
        "How long a call stood in line that a limit did not admit at once.";
    LOCK_ACQUISITIONS = Counter(Count) "larder_lock_acquisitions_total" ["lock", "outcome"]
        "What came of asking for a lock: `acquired`, `timed_out`, `unavailable`; and `lost` of those that were granted.";
    LOCK_WAIT_SECONDS = Histogram(Seconds) "larder_lock_wait_seconds" ["lock"]
        "From asking for a lock to having it.";
    LOCK_WAITERS = Gauge(Count) "larder_lock_waiters" ["lock"]
        "Calls that ask for a lock and do not have it yet.";
}
