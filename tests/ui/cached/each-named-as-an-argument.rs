use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{db}", each(db in ids))]
async fn load_users(db: u8, ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, id + u64::from(db))).collect()
}

fn main() {}
