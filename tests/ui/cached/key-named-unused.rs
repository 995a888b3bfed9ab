use larder::cached;

#[cached(ttl = 60, key = ("menu:{day}", day = date.to_string(), year = date))]
async fn menu(date: u16) -> u16 {
    date
}

fn main() {}
