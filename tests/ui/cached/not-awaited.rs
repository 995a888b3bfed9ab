#![deny(unused_must_use)]
use larder::cached;

#[cached(ttl = 60)]
async fn answer() -> u64 {
    42
}

fn main() {
    answer();
}
