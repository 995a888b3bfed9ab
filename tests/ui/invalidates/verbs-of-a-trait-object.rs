use larder::invalidates;

#[async_trait::async_trait]
trait Users {
    async fn get(&self, id: u64) -> u64;
}

#[invalidates(users.get(id))]
async fn rename(users: &dyn Users, id: u64) -> u64 {
    id
}

fn main() {}
