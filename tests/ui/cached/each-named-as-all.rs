use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{ids}", each(ids in ids))]
async fn load_users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
