use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(lang: &str, ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, lang.len() as u64)).collect()
}

fn main() {}
