use larder::cached;

#[async_trait::async_trait]
trait Users {
    #[cached(ttl = 60, key = "user:{id}", skip(self))]
    async fn get_user(&self, id: u64) -> Option<u64> {
        Ok(id)
    }
}

fn main() {}
