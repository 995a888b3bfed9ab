use larder::invalidates;

#[invalidates(tag("team:{team}"), cahce = larder::Cache::memory())]
async fn rename(id: u64, team: u64) -> Result<u64, String> {
    Ok(id + team)
}

fn main() {}
