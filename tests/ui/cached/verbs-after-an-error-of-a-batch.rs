use std::collections::HashMap;

use larder::{Batch, cached};

#[cached(ttl = 60, key = "users", each(id in ids))]
async fn load_users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn show<F: Future<Output = HashMap<u64, u64>>>(_: Batch<F>) {}

fn test() {
    show(load_users(&[1]));
}

fn main() {}
