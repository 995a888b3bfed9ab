use larder::invalidates;

struct Opts;

#[invalidates(tag("page:{team}:{opts}"))]
async fn change(team: u64, opts: Opts) -> u64 {
    let Opts = opts;
    team
}

fn main() {}
