use larder::cached;

const TAG: &str = "team:{team}";

#[cached(ttl = 60, key = "user:{id}:{team}", tags("users", TAG))]
async fn get_user(id: u64, team: u64) -> u64 {
    id + team
}

fn main() {}
