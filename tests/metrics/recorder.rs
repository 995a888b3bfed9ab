//! A recorder that remembers all that it is told, and takes nothing that is not in the table.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use larder::__private::METRICS;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};

/// Copies are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// By name and labels, as Prometheus shows them.
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    times: BTreeMap<String, Vec<f64>>,
    /// Kind, unit and help, by name.
    described: BTreeMap<String, Vec<(&'static str, Unit, String)>>,
}

impl Recorder {
    /// Of `larder_cache_runs_total{function="app::answer"}`; zero if that was never said.
    pub(crate) fn counter(&self, series: &str) -> u64 {
        self.0.lock().unwrap().counters.get(series).copied().unwrap_or(0)
    }

    pub(crate) fn gauge(&self, series: &str) -> Option<f64> {
        self.0.lock().unwrap().gauges.get(series).copied()
    }

    /// What a histogram was told.
    pub(crate) fn times(&self, series: &str) -> Vec<f64> {
        self.0.lock().unwrap().times.get(series).cloned().unwrap_or_default()
    }

    pub(crate) fn described(&self) -> BTreeMap<String, Vec<(&'static str, Unit, String)>> {
        self.0.lock().unwrap().described.clone()
    }

    /// All names and labels.
    pub(crate) fn series(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        let (counters, gauges, times) =
            (seen.counters.keys(), seen.gauges.keys(), seen.times.keys());
        counters.chain(gauges).chain(times).cloned().collect()
    }

    fn describe(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>, help: &str) {
        let mut seen = self.0.lock().unwrap();
        let described = seen.described.entry(name.as_str().to_owned()).or_default();
        described.push((kind, unit.unwrap(), help.to_owned()));
    }

    fn handle(&self, kind: &str, key: &Key) -> Arc<Handle> {
        let metric = METRICS.iter().find(|metric| metric.name == key.name()).unwrap();
        assert_eq!(metric.kind.as_str(), kind, "{key}");
        let labels: Vec<_> = key.labels().map(metrics::Label::key).collect();
        assert_eq!(labels, metric.labels, "{key}");
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
        let series = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::new(Handle { series, recorder: self.clone() })
    }
}

struct Handle {
    series: String,
    recorder: Recorder,
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("counter", &name, unit, &help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("gauge", &name, unit, &help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("histogram", &name, unit, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle("counter", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle("gauge", key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle("histogram", key))
    }
}

// What only some recorders understand is not said to any.

impl CounterFn for Handle {
    fn increment(&self, more: u64) {
        let mut seen = self.recorder.0.lock().unwrap();
        *seen.counters.entry(self.series.clone()).or_default() += more;
    }

    fn absolute(&self, _: u64) {
        panic!("{} was set", self.series);
    }
}

impl GaugeFn for Handle {
    fn increment(&self, _: f64) {
        panic!("{} was not set", self.series);
    }

    fn decrement(&self, _: f64) {
        panic!("{} was not set", self.series);
    }

    fn set(&self, value: f64) {
        self.recorder.0.lock().unwrap().gauges.insert(self.series.clone(), value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        let mut seen = self.recorder.0.lock().unwrap();
        seen.times.entry(self.series.clone()).or_default().push(value);
    }
}
