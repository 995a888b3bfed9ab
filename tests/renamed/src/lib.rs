//! A user who has given the crate another name.

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use pantry::{cached, invalidates, locked, rate_limited, updates, Cache, KeyPart};

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

    #[invalidates(hashed(UserId(id)), |out| hashed(UserId(*out)), crate = ::pantry)]
    async fn remove(id: u64) -> Result<u64, pantry::Error> {
        Ok(id + 1)
    }

    /// One of them says it for all.
    #[invalidates(hashed(UserId(id)), hold = 5, hold_required)]
    #[updates(get_user(UserId(id), Sort::ByName), crate = ::pantry)]
    async fn put(id: u64) -> Result<u64, pantry::Error> {
        Ok(id + 1)
    }

    #[cached(ttl = 60, key = "next:{id}", crate = ::pantry)]
    #[updates(hashed(UserId(id)))]
    async fn next(id: u64) -> u64 {
        id + 1
    }

    #[cached(ttl = 60, tags("user:{id}", ("of:{n}", n = id.0 + 1)), tags_strict, crate = ::pantry)]
    async fn tagged(id: UserId) -> u64 {
        id.0
    }

    #[invalidates(
        tag("user:{id}"),
        |out| tag("user:{out}:{id}"),
        cache = Cache::current(),
        crate = ::pantry,
    )]
    async fn drop_tagged(id: u64) -> Result<u64, pantry::Error> {
        Ok(id)
    }

    #[cached(ttl = 60, stale = 30, refresh_early, none_ttl = 5, each(id in ids), crate = ::pantry)]
    async fn loaded(ids: &[u64]) -> HashMap<u64, u64> {
        ids.iter().map(|id| (*id, id + 1)).collect()
    }

    #[rate_limited(
        limit = 1,
        per = "1h",
        key = "send:{to}",
        algorithm = "gcra",
        when_down = "allow",
        cache = Cache::current(),
        crate = ::pantry,
    )]
    async fn send(to: UserId) -> Result<u64, pantry::RateLimited> {
        Ok(to.0)
    }

    #[locked(key = "job:{id}", cache = Cache::current(), crate = ::pantry)]
    async fn job(id: UserId) -> Result<u64, pantry::LockError> {
        Ok(id.0)
    }

    /// One of them says it for all.
    #[rate_limited(limit = 1, per = "1h")]
    #[cached(ttl = 60, key = "sent:{to}")]
    #[rate_limited(limit = 1, per = "1h", key = "sent", crate = ::pantry)]
    async fn sent(to: UserId) -> Result<u64, pantry::RateLimited> {
        Ok(to.0)
    }

    #[tokio::test]
    async fn the_attributes_that_guard_find_the_crate() {
        let run = async {
            assert_eq!(send(UserId(1)).await, Ok(1));
            assert!(send(UserId(1)).await.is_err());
            assert_eq!(job(UserId(1)).await.unwrap(), 1);
            assert_eq!(sent(UserId(1)).await, Ok(1));
            assert_eq!(sent(UserId(1)).peek().await, Some(Ok(1)));
            assert!(sent(UserId(1)).await.is_err());
        };
        Cache::memory().scope(run).await;
    }

    #[tokio::test]
    async fn the_attribute_of_a_batch_finds_the_crate() {
        let run = async { assert_eq!(loaded(&[1]).await, HashMap::from([(1, 2)])) };
        Cache::memory().scope(run).await;
    }

    #[tokio::test]
    async fn the_attributes_with_tags_find_the_crate() {
        let run = async {
            assert_eq!(tagged(UserId(1)).await, 1);
            assert_eq!(drop_tagged(1).await.unwrap(), 1);
        };
        Cache::memory().scope(run).await;
    }

    #[tokio::test]
    async fn the_attributes_that_change_find_the_crate() {
        let run = async {
            hashed(UserId(1)).await;
            hashed(UserId(2)).await;
            remove(1).await.unwrap();
            assert_eq!(hashed(UserId(1)).peek().await, None);
            assert_eq!(hashed(UserId(2)).peek().await, None);
            put(1).await.unwrap();
            assert_eq!(get_user(UserId(1), Sort::ByName).peek().await, Some(Some(2)));
            next(1).await;
            assert_eq!(hashed(UserId(1)).peek().await, Some(Some(2)));
        };
        Cache::memory().scope(run).await;
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
