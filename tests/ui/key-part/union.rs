use larder::KeyPart;

#[derive(KeyPart)]
union Bits {
    float: f32,
    int: u32,
}

fn main() {}
