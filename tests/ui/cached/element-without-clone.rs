use std::collections::HashMap;

use larder::{KeyPart, cached};

#[derive(Hash, PartialEq, Eq, KeyPart)]
struct Id(u64);

#[cached(ttl = 60, key = "user:{id}", each(id in ids))]
async fn load_users(ids: &[Id]) -> HashMap<Id, u64> {
    HashMap::from_iter(ids.iter().map(|id| (Id(id.0), id.0)))
}

fn main() {}
