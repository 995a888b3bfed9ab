use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{T}:{id}", each(id in T))]
async fn load_users<T>(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
