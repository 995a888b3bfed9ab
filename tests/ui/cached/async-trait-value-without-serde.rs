use larder::cached;

struct User;

#[async_trait::async_trait]
trait Users {
    #[cached(ttl = 60, key = "user:{id}", skip(self))]
    async fn get_user(&self, id: u64) -> Option<User> {
        (id > 0).then_some(User)
    }
}

fn main() {}
