use std::collections::HashMap;

use larder::cached;

#[derive(Clone)]
struct User;

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[u64]) -> Result<HashMap<u64, User>, String> {
    Ok(ids.iter().map(|id| (*id, User)).collect())
}

fn main() {}
