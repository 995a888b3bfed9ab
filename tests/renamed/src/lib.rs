//! A user who has given the crate another name.

#[cfg(test)]
mod tests {
    use pantry::{cached, Cache, KeyPart};

    #[derive(KeyPart)]
    #[key_part(crate = ::pantry)]
    struct UserId(u64);

    #[derive(KeyPart)]
    #[key_part(crate = ::pantry)]
    enum Sort {
        ByName,
    }

    #[cached(ttl = 60, key = "user:{id}:{sort}", crate = ::pantry)]
    async fn get_user(id: UserId, sort: Sort) -> Option<u64> {
        let Sort::ByName = sort;
        Some(id.0)
    }

    #[cached(ttl = 60, none_ttl = 5, cache_if = |id| *id > 0, crate = ::pantry)]
    async fn hashed(id: UserId) -> Option<u64> {
        Some(id.0)
    }

    #[tokio::test]
    async fn the_attribute_finds_the_crate() {
        let run = async {
            assert_eq!(get_user(UserId(7), Sort::ByName).await, Some(7));
            assert_eq!(get_user(UserId(7), Sort::ByName).key(), "user:7:ByName");
            assert_eq!(hashed(UserId(7)).await, Some(7));
        };
        Cache::memory().scope(run).await;
    }
}
