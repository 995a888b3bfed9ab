use larder::cached;

#[cached(ttl = 60, key = "times:{factor}")]
async fn times<const N: u64>(factor: u64) -> u64 {
    N * factor
}

fn main() {}
