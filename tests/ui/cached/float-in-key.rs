use larder::cached;

#[cached(ttl = 60, key = "near:{lat}")]
async fn near(lat: f64) -> u64 {
    lat as u64
}

fn main() {}
