use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How long it may take until something is so that will be. That it took longer than it should, on a busy machine,
/// fails no test.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again.
pub(crate) async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "it is never so: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
