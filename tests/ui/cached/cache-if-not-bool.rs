use larder::cached;

#[cached(ttl = 60, key = "user:{id}", cache_if = |user| user.len())]
async fn get_user(id: u64) -> String {
    id.to_string()
}

fn main() {}
