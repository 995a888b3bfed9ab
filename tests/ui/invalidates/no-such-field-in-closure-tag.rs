use larder::invalidates;

struct User {
    team: u64,
}

#[invalidates(|out| tag("team:{out.group}"))]
async fn add(team: u64) -> Result<User, String> {
    Ok(User { team })
}

fn main() {}
