use std::collections::HashMap;

use larder::cached;

struct Db;

#[async_trait::async_trait]
trait Load {
    async fn load(&self, ids: &[u64]) -> HashMap<u64, u64>;
}

#[async_trait::async_trait]
impl Load for Db {
    #[cached(ttl = 60, key = "user:{idd}", each(id in ids), skip(self))]
    async fn load(&self, ids: &[u64]) -> HashMap<u64, u64> {
        ids.iter().map(|id| (*id, *id)).collect()
    }
}

fn main() {}
