//! The caller whose run everybody waits for goes away.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};

use crate::contestants::{Calls, Contestant};
use crate::values::{self, Bounded, Shared};

const WAITERS: usize = 100;

/// A waiter that has nothing after this long will never have.
const HUNG: Duration = Duration::from_secs(2);

pub async fn cancelled<C: Contestant>() -> Vec<f64> {
    C::set_up(Shared::CAPACITY);
    values::set_delay(Duration::from_millis(200));
    let call = || tokio::spawn(<C as Calls<Shared>>::call(0));

    let leader = call();
    sleep(Duration::from_millis(30)).await;
    let waiters: Vec<_> = (0..WAITERS).map(|_| call()).collect();
    sleep(Duration::from_millis(70)).await;
    leader.abort();
    let aborted = Instant::now();

    let mut ok = 0;
    let mut last = Duration::ZERO;
    for waiter in waiters {
        if timeout_at((aborted + HUNG).into(), waiter).await.is_ok_and(|done| done.is_ok()) {
            ok += 1;
            last = aborted.elapsed();
        }
    }
    let last_ms = if ok == WAITERS { last.as_micros() as f64 / 1e3 } else { f64::NAN };
    vec![values::runs() as f64, ok as f64, (WAITERS - ok) as f64, last_ms]
}
