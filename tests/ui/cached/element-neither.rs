use std::collections::HashMap;

use larder::cached;

struct Id(u64);

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[Id]) -> HashMap<Id, u64> {
    let _ = ids;
    HashMap::new()
}

fn main() {}
