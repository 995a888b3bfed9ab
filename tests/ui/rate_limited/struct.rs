use larder::{rate_limited};

#[rate_limited(limit = 10, per = "1m")]
struct Send;

fn main() {}
