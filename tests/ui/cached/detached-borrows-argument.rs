use larder::cached;

#[cached(ttl = 60, key = "user:{name}:{id}", detached)]
async fn get_user(name: &str, id: u64) -> String {
    format!("{name} {id}")
}

fn main() {}
