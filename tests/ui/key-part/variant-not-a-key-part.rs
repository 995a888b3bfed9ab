use larder::KeyPart;

#[derive(KeyPart)]
enum Area {
    Everywhere,
    Near { lat: f64, name: String },
}

fn main() {}
