use larder::KeyPart;

#[derive(KeyPart)]
#[key_part(skip)]
struct UserId(u64);

fn main() {}
