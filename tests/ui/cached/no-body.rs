use larder::cached;

trait Users {
    #[cached(ttl = 60, skip(self))]
    async fn get_user(&self, id: u64) -> u64;
}

fn main() {}
