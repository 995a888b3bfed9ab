use larder::cached;

#[cached(ttl = 60, key = "name:{id}")]
async fn name(id: u64) -> &'static str {
    if id == 0 { "none" } else { "some" }
}

fn main() {}
