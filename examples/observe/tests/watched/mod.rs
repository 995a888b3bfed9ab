//! The example, and a real Prometheus that watches it.

mod example;
mod prometheus;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use example::Example;
use prometheus::Prometheus;

/// How long it may take until something is so that will be. That it took longer than it should, on a busy
/// machine, fails no test.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Watched {
    pub(crate) example: Example,
    prometheus: Prometheus,
}

impl Watched {
    /// With a tier in the Redis of this URL.
    pub(crate) fn start(redis: Option<&str>) -> Self {
        let example = Example::start(redis);
        let prometheus = Prometheus::start(example.port);
        let watched = Self { example, prometheus };
        // From then on the hit rate is known, and what it was before.
        watched.wait_for_data(r#"larder:cache_hit_ratio:avg6h{function=~".+user"} > 0.5"#);
        watched
    }

    pub(crate) fn wait_until_firing(&self, alert: &str) {
        wait(&format!("{alert} does not fire"), || self.prometheus.state(alert) == "firing");
    }

    /// Also not about to fire.
    pub(crate) fn wait_until_silent(&self, alert: &str) {
        wait(&format!("{alert} is not silent"), || self.prometheus.state(alert) == "inactive");
    }

    /// Until the query finds something.
    pub(crate) fn wait_for_data(&self, query: &str) {
        wait(&format!("nothing is found by {query}"), || self.prometheus.finds(query));
    }
}

fn wait(or: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{or}");
        sleep(Duration::from_millis(100));
    }
}
