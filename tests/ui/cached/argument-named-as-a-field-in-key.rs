use larder::cached;

struct Opts {
    id: u64,
}

#[cached(ttl = 60, key = ("user:{org}", org = opts.id))]
async fn get_user(opts: Opts, id: u64) -> u64 {
    opts.id + id
}

fn main() {}
