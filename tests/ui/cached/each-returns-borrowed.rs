use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[u64]) -> Result<HashMap<u64, &'static str>, String> {
    Ok(ids.iter().map(|id| (*id, "Ada")).collect())
}

fn main() {}
