use std::collections::HashMap;

use larder::cached;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Id(u64);

#[cached(ttl = 60, each(id in ids))]
async fn load_users(ids: &[Id]) -> HashMap<Id, u64> {
    let _ = ids;
    HashMap::new()
}

fn main() {}
