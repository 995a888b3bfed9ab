use larder::cached;

#[derive(serde::Serialize, serde::Deserialize)]
struct User;

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Option<User> {
    (id > 0).then_some(User)
}

fn main() {}
