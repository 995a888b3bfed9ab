use larder::cached;
use std::collections::HashMap;

#[cached(ttl = 60)]
async fn search(filters: HashMap<String, String>) -> usize {
    filters.len()
}

fn main() {}
