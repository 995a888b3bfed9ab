//! Everybody wants the same cold key.

use std::time::Duration;

use super::{MIB, Stopwatch};
use crate::contestants::{Calls, Contestant};
use crate::meter;
use crate::values::{self, Bounded, Shared};

/// How long the function takes.
pub const RUN: Duration = Duration::from_millis(50);

const TASKS: usize = 10_000;

pub async fn time<C: Contestant>() -> Vec<f64> {
    C::set_up(Shared::CAPACITY);
    let watch = Stopwatch::start();
    stampede::<C>().await;
    vec![
        values::runs() as f64,
        watch.wall().as_micros() as f64 / 1e3,
        watch.cpu().as_micros() as f64 / 1e3,
        meter::peak_resident() as f64 / MIB,
    ]
}

pub async fn heap<C: Contestant>() -> Vec<f64> {
    meter::count_allocations();
    C::set_up(Shared::CAPACITY);
    stampede::<C>().await;
    vec![meter::allocations() as f64 / TASKS as f64, meter::peak_bytes() as f64 / MIB]
}

async fn stampede<C: Contestant>() {
    values::set_delay(RUN);
    let mut tasks = Vec::with_capacity(TASKS);
    for _ in 0..TASKS {
        tasks.push(tokio::spawn(<C as Calls<Shared>>::call(0)));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().id, 0);
    }
}
