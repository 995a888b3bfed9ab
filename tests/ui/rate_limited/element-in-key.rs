use std::collections::HashMap;

use larder::{RateLimited, cached, rate_limited};

#[rate_limited(limit = 10, per = "1m", key = "load:{id}")]
#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load(ids: &[u64]) -> Result<HashMap<u64, u64>, RateLimited> {
    Ok(ids.iter().map(|id| (*id, *id)).collect())
}

fn main() {}
