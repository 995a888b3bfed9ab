use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids), skip(lang))]
async fn load_users((ids, lang): (&[u64], u64)) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, lang)).collect()
}

fn main() {}
