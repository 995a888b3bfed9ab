use larder::{RateLimited, rate_limited};

trait Mail {
    #[rate_limited(limit = 10, per = "1m")]
    async fn send(&self) -> Result<u64, RateLimited>;
}

fn main() {}
