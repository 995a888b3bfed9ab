//! The table in the code: how it is told, and what README says of it.

use larder::{__private::METRICS, Cache};
use metrics::{Unit, with_local_recorder};

use crate::recorder::Recorder;

#[test]
fn every_metric_is_described_once_to_each_recorder() {
    let cache = Cache::memory();
    for recorder in &[Recorder::default(), Recorder::default()] {
        with_local_recorder(recorder, || {
            cache.record_metrics();
            cache.record_metrics();
        });
        let described = recorder.described();
        assert_eq!(described.len(), METRICS.len());
        for metric in METRICS {
            let told = (metric.kind.as_str(), metric.unit, metric.help.to_owned());
            assert_eq!(described[metric.name], [told]);
        }
    }
}

#[test]
fn names_are_as_prometheus_has_them() {
    for metric in METRICS {
        let name = metric.name;
        assert!(name.starts_with("larder_"), "{name}");
        assert!(name.chars().all(|char| char.is_ascii_lowercase() || char == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind.as_str() == "counter", "{name}");
        assert_eq!(name.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
        assert!(!metric.labels.is_empty() && metric.help.ends_with('.'), "{name}");
        assert_eq!(METRICS.iter().filter(|other| other.name == name).count(), 1, "{name}");
    }
}

#[test]
fn readme_has_every_metric() {
    let rows: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join(", "));
            format!("| `{name}` | {kind} | {labels} | {} |", metric.help)
        })
        .collect();
    let told: Vec<_> = include_str!("../../README.md")
        .lines()
        .filter(|line| line.starts_with("| `larder_"))
        .collect();
    assert_eq!(told, rows, "README.md has to say:\n{}", rows.join("\n"));
}
