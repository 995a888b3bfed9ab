use larder::invalidates;

struct Opts;

#[invalidates(|out| tag("page:{out}"))]
async fn change() -> Opts {
    Opts
}

fn main() {}
