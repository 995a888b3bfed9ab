use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[u64]) -> Result<HashMap<String, u64>, String> {
    Ok(ids.iter().map(|id| (id.to_string(), *id)).collect())
}

fn main() {}
