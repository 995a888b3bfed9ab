use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids), cache = caches[*id], skip(caches))]
async fn load_users(caches: &[larder::Cache], ids: &[usize]) -> HashMap<usize, u64> {
    ids.iter().map(|id| (*id, caches.len() as u64)).collect()
}

fn main() {}
