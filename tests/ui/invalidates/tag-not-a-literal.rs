use larder::invalidates;

const TEAM: &str = "team:{team}";

#[invalidates(tag(TEAM))]
async fn rename(id: u64, team: u64) -> Result<u64, String> {
    Ok(id + team)
}

fn main() {}
