use larder::KeyPart;

#[derive(KeyPart)]
enum Area {
    Everywhere,
    Near { lat: f64, lon: f64 },
}

fn main() {}
