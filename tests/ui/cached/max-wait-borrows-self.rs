use larder::cached;

struct Repo;

impl Repo {
    #[cached(ttl = 60, key = "user:{id}", skip(self), stale_if_error = 30, max_wait = "200ms")]
    async fn get_user(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
