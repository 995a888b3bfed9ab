use larder::cached;

#[cached(ttl = 60, key = "name:{name}")]
async fn trimmed(name: &str) -> &str {
    name.trim()
}

fn main() {}
