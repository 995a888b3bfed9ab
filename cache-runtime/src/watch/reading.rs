//! What a cache has counted, by metric and labels.

use std::{collections::BTreeMap, sync::Arc};

use metrics::{Key, Label, SharedString};

use super::table::{self, Metric};
use crate::stats::{FunctionStats, LimitStats, LockStats, RedisStats, Stats};

/// A metric with its labels.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) metric: &'static Metric,
    values: Vec<SharedString>,
}

/// All of it at one moment.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) counters: BTreeMap<Series, u64>,
    pub(super) gauges: BTreeMap<Series, f64>,
}

impl Series {
    pub(super) fn key(&self) -> Key {
        let labels = self.metric.labels.iter().zip(&self.values);
        let labels: Vec<_> =
            labels.map(|(label, value)| Label::new(*label, SharedString::clone(value))).collect();
        Key::from_parts(self.metric.name, labels)
    }
}

impl Reading {
    /// `service` is that of a cache with a remote tier.
    pub(super) fn of(stats: &Stats, service: Option<&Arc<str>>) -> Self {
        let mut reading = Self::default();
        for row in &stats.functions {
            reading.function(row);
        }
        for row in &stats.limits {
            reading.limit(row);
        }
        for row in &stats.locks {
            reading.lock(row);
        }
        if let Some(service) = service {
            reading.redis(&stats.redis, service);
        }
        reading
    }

    fn function(&mut self, row: &FunctionStats) {
        let function = row.function;
        self.counter(&table::HITS, [function, "memory"], row.cache_hits_memory);
        self.counter(&table::HITS, [function, "redis"], row.cache_hits_redis);
        for (metric, count) in [
            (&table::MISSES, row.cache_misses),
            (&table::STALE_SERVED, row.stale_served),
            (&table::RUNS, row.runs),
            (&table::BACKGROUND_RUNS, row.background_runs),
            (&table::ERRORS, row.errors),
            (&table::FILLS_REFUSED, row.fills_refused),
            (&table::EVICTIONS, row.evictions),
        ] {
            self.counter(metric, [function], count);
        }
        self.gauge(&table::INFLIGHT_REQUESTS, [function], number(row.inflight_requests));
        self.gauge(&table::WAITERS, [function], number(row.waiters));
    }

    fn limit(&mut self, row: &LimitStats) {
        for (decision, by, count) in [
            ("allowed", "redis", row.allowed_redis),
            ("allowed", "memory", row.allowed_memory),
            ("denied", "redis", row.denied_redis),
            ("denied", "memory", row.denied_memory),
        ] {
            self.counter(&table::LIMIT_DECISIONS, [row.limit, decision, by], count);
        }
    }

    fn lock(&mut self, row: &LockStats) {
        for (outcome, count) in [
            ("acquired", row.acquired),
            ("timed_out", row.timed_out),
            ("unavailable", row.unavailable),
            ("lost", row.lost),
        ] {
            self.counter(&table::LOCK_ACQUISITIONS, [row.lock, outcome], count);
        }
        self.gauge(&table::LOCK_WAITERS, [row.lock], number(row.waiters));
    }

    fn redis(&mut self, redis: &RedisStats, service: &Arc<str>) {
        for (metric, count) in [
            (&table::REDIS_COMMANDS, redis.commands),
            (&table::REDIS_TIMEOUTS, redis.timeouts),
            (&table::REDIS_CONNECTIONS, redis.connections),
            (&table::REDIS_BREAKER_OPENINGS, redis.breaker_openings),
            (&table::REDIS_REJECTED, redis.rejected),
            (&table::REDIS_LATE_GRANTS, redis.late_grants),
            (&table::REDIS_UNHELD, redis.unheld),
        ] {
            self.counter(metric, [Arc::clone(service)], count);
        }
        let is_open = f64::from(u8::from(redis.breaker_open));
        self.gauge(&table::REDIS_BREAKER_OPEN, [Arc::clone(service)], is_open);
        if let Some(age) = redis.backplane_age {
            self.gauge(&table::REDIS_BACKPLANE_AGE, [Arc::clone(service)], age.as_secs_f64());
        }
        let pending = number(redis.pending_repairs);
        self.gauge(&table::REDIS_PENDING_REPAIRS, [Arc::clone(service)], pending);
    }

    /// Functions, and locks, of one name are one.
    fn counter<const N: usize>(
        &mut self,
        metric: &'static Metric,
        values: [impl Into<SharedString>; N],
        count: u64,
    ) {
        *self.counters.entry(Series::new(metric, values)).or_default() += count;
    }

    fn gauge<const N: usize>(
        &mut self,
        metric: &'static Metric,
        values: [impl Into<SharedString>; N],
        value: f64,
    ) {
        *self.gauges.entry(Series::new(metric, values)).or_default() += value;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn number(count: u64) -> f64 {
    count as f64
}

impl Series {
    fn new<const N: usize>(metric: &'static Metric, values: [impl Into<SharedString>; N]) -> Self {
        Self { metric, values: values.into_iter().map(Into::into).collect() }
    }

    fn parts(&self) -> (&'static str, &[SharedString]) {
        (self.metric.name, &self.values)
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Series {}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}
