use larder::cached;

#[cached(ttl = |_| tenant.ttl, key = "user:{tenant.id}")]
async fn get_user(tenant: Tenant) -> u64 {
    tenant.id
}

struct Tenant {
    id: u64,
    ttl: std::time::Duration,
}

fn main() {}
