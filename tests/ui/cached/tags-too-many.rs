use larder::cached;

#[cached(ttl = 60, tags("a", "b", "c", "d", "e", "f", "g", "h", "i", "j"))]
async fn get_user(id: u64, team: u64) -> u64 {
    id + team
}

fn main() {}
