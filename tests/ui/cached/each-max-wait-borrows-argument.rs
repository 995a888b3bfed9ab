use std::collections::HashMap;

use larder::cached;

#[cached(ttl = 60, key = "user:{name}:{of}", each(name in names), stale = 30, max_wait = 1)]
async fn load_users<'a>(of: &str, names: &[&'a str]) -> HashMap<&'a str, usize> {
    names.iter().map(|name| (*name, of.len())).collect()
}

fn main() {}
