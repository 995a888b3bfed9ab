use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids.all))]
async fn load_users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
