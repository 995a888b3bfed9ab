use larder::cached;

#[cached(ttl = 60, key = "user:{id}:{team}", tags(("team:{team}", lang = team)))]
async fn get_user(id: u64, team: u64) -> u64 {
    id + team
}

fn main() {}
