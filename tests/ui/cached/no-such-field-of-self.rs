use larder::cached;

struct Repo {
    db: (),
}

impl Repo {
    #[cached(ttl = 60, key = "user:{self.db}:{id}:{self.tenent}")]
    async fn get_user(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
