//! How long something takes, recorded when it is over.

#[cfg(feature = "metrics")]
pub(crate) use on::{Since, Times, record_run};

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Since, Times};

#[cfg(feature = "metrics")]
mod on {
    use metrics::{Key, Label, SharedString, with_recorder};
    use tokio::time::Instant;

    use crate::{
        key::function,
        watch::{
            publisher::METADATA,
            table::{self, Metric},
        },
    };

    /// Where the times of something go.
    #[derive(Debug, Clone)]
    pub(crate) struct Times(Key);

    /// Since when something takes.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Since(Instant);

    impl Times {
        #[cfg(feature = "redis")]
        pub(crate) fn of_redis(service: &str) -> Self {
            Self::new(&table::REDIS_COMMAND_SECONDS, service.to_owned())
        }

        #[cfg(feature = "limit")]
        pub(crate) fn of_limit(name: &'static str) -> Self {
            Self::new(&table::LIMIT_WAIT_SECONDS, name)
        }

        pub(crate) fn of_lock(name: &'static str) -> Self {
            Self::new(&table::LOCK_WAIT_SECONDS, name)
        }

        fn new(metric: &'static Metric, value: impl Into<SharedString>) -> Self {
            let labels: Vec<_> =
                metric.labels.first().map(|label| Label::new(*label, value)).into_iter().collect();
            Self(Key::from_parts(metric.name, labels))
        }

        fn record(&self, seconds: f64) {
            with_recorder(|recorder| {
                recorder.register_histogram(&self.0, &METADATA).record(seconds);
            });
        }
    }

    impl Since {
        pub(crate) fn now() -> Self {
            Self(Instant::now())
        }

        /// It is over.
        pub(crate) fn record(self, times: &Times) {
            times.record(self.0.elapsed().as_secs_f64());
        }
    }

    /// A run of the function with that number is over, after so many microseconds.
    #[expect(clippy::cast_precision_loss, reason = "nobody waits for 285 years")]
    pub(crate) fn record_run(number: u32, micros: u64) {
        Times::new(&table::RUN_SECONDS, function(number)).record(micros as f64 / 1e6);
    }
}

/// Without the feature `metrics` nobody asks.
#[cfg(not(feature = "metrics"))]
mod off {
    #[derive(Debug, Clone)]
    pub(crate) struct Times;

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Since;

    impl Times {
        #[cfg(feature = "redis")]
        pub(crate) fn of_redis(_service: &str) -> Self {
            Self
        }

        #[cfg(feature = "limit")]
        pub(crate) fn of_limit(_name: &'static str) -> Self {
            Self
        }

        pub(crate) fn of_lock(_name: &'static str) -> Self {
            Self
        }
    }

    impl Since {
        pub(crate) fn now() -> Self {
            Self
        }

        #[allow(clippy::unused_self, reason = "as with the feature")]
        pub(crate) fn record(self, _times: &Times) {}
    }
}
