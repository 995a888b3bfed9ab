use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids), tags("users"), remote = false)]
async fn load_users(ids: &[u64]) -> Option<HashMap<u64, u64>> {
    Some(ids.iter().map(|id| (*id, *id)).collect())
}

fn main() {}
