use larder::KeyPart;

struct Opts;

#[derive(KeyPart)]
struct Page {
    slug: String,
    opts: Opts,
}

fn main() {}
