//! What an entry costs beyond what was put in.

use crate::contestants::{Calls, Contestant};
use crate::meter;
use crate::values::Value;

const ENTRIES: u64 = 100_000;

pub async fn memory<C: Contestant + Calls<V>, V: Value>() -> Vec<f64> {
    meter::count_allocations();
    let value = V::new(0);
    let given = size_of::<u64>() + size_of_val(&value) + meter::live_bytes() as usize;
    drop(value);
    C::set_up(V::CAPACITY);
    for id in 0..ENTRIES {
        <C as Calls<V>>::call(id).await;
    }
    vec![meter::live_bytes() as f64 / ENTRIES as f64 - given as f64]
}
