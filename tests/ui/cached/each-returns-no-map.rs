use larder::cached;

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[u64]) -> Result<Vec<u64>, String> {
    Ok(ids.to_vec())
}

fn main() {}
