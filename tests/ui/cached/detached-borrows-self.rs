use larder::cached;

struct Repo;

impl Repo {
    #[cached(ttl = 60, key = "user:{id}", skip(self), detached)]
    async fn get_user(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
