use std::collections::HashMap;

use larder::cached;

struct Hasher;

impl std::hash::BuildHasher for Hasher {
    type Hasher = std::hash::DefaultHasher;
    fn build_hasher(&self) -> Self::Hasher {
        Self::Hasher::new()
    }
}

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[u64]) -> HashMap<u64, u64, Hasher> {
    let mut users = HashMap::with_hasher(Hasher);
    users.extend(ids.iter().map(|id| (*id, *id)));
    users
}

fn main() {}
