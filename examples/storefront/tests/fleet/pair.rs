use std::time::Duration;

use crate::common::{Backends, Service, Shop, wait_until};

/// How far memory may be behind what another instance has written: larder's `max_staleness`.
pub(super) const PROMISE: Duration = Duration::from_secs(1);

/// What a machine that is busy with other things may take on top of it.
pub(super) const ROOM: Duration = Duration::from_secs(10);

/// Two instances.
pub(super) struct Pair {
    // In this order: both end before what they stand on.
    pub(super) other: Service,
    pub(super) one: Shop,
}

impl Pair {
    /// Both of which have their memory in use.
    pub(super) async fn open() -> Self {
        let one = Shop::open(Backends::servers().await).await;
        let pair = Self { other: one.second(), one };
        pair.hear_each_other().await;
        pair
    }

    pub(super) fn both(&self) -> [&Service; 2] {
        [&self.one.service, &self.other]
    }

    /// Until Redis is used, and each hears what the other invalidates.
    pub(super) async fn hear_each_other(&self) {
        for service in self.both() {
            wait_until("Redis is used", async || {
                // What has it connect.
                service.read("/customers/250").await;
                let redis = &service.read("/live").await["redis"];
                let age = redis["backplane_age_ms"].as_f64();
                redis["breaker_is_open"] == false
                    && redis["pending_repairs"] == 0
                    && age.is_some_and(|age| age < 1_000.0)
            })
            .await;
        }
    }
}
