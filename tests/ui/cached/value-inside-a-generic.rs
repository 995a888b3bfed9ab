use larder::cached;

#[derive(Clone)]
struct User;

#[cached(ttl = 60, key = "users:{org}")]
async fn users(org: u64) -> Vec<User> {
    vec![User; org as usize]
}

fn main() {}
