use larder::invalidates;

struct User {
    team: u64,
}

#[invalidates(tag("team:{out.team}"))]
async fn add(team: u64) -> Result<User, String> {
    Ok(User { team })
}

fn main() {}
