//! The clock of a cache that goes with the virtual time of tokio.

use std::time::Duration;

use larder::Clock;
use tokio::time::Instant;

/// Goes on only when tokio's time does.
pub(crate) struct Virtual(Instant);

impl Virtual {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Virtual {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
