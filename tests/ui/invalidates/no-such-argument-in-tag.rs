use larder::invalidates;

#[invalidates(tag("team:{tem}"))]
async fn rename(id: u64, team: u64) -> Result<u64, String> {
    Ok(id + team)
}

fn main() {}
