use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids), stale = 30)]
async fn load_users(ids: &[u64]) -> HashMap<u64, u64> {
    let ids = std::rc::Rc::new(ids);
    std::future::ready(()).await;
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {}
