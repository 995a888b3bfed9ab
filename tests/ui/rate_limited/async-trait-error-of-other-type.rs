use larder::rate_limited;

#[async_trait::async_trait]
trait Mail {
    async fn send(&self) -> Result<u64, String>;
}

#[async_trait::async_trait]
impl Mail for u64 {
    #[rate_limited(limit = 10, per = "1m")]
    async fn send(&self) -> Result<u64, String> {
        Ok(*self)
    }
}

fn main() {}
