//! Calls to be counted under callgrind. It runs twice with different scales: the difference between
//! the two is calls alone, and needs no mark in the program.

use std::hint::black_box;

use crate::contestants::{Calls, Contestant};
use crate::values::{Bounded, Shared, Value};

/// Calls at scale 1.
pub const CALLS: f64 = 20_000.0;

pub async fn hits<C: Contestant + Calls<V>, V: Value>(scale: f64) -> Vec<f64> {
    const KEYS: u64 = 64;
    C::set_up(V::CAPACITY);
    for id in 0..KEYS {
        <C as Calls<V>>::call(id).await;
    }
    for id in 0..(CALLS * scale) as u64 {
        black_box(<C as Calls<V>>::call(id % KEYS).await);
    }
    Vec::new()
}

pub async fn misses<C: Contestant>(scale: f64) -> Vec<f64> {
    C::set_up(Shared::CAPACITY);
    for id in 0..(CALLS * scale) as u64 {
        black_box(<C as Calls<Shared>>::call(id).await);
    }
    Vec::new()
}
