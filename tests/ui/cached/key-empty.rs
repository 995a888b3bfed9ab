use larder::cached;

#[cached(ttl = 60, key = "")]
async fn answer() -> u64 {
    42
}

fn main() {}
