//! A repository that caches another: reads are cached, writes invalidate, and whoever uses it does
//! not know. Its tests are at the end of the file.
//!
//! ```sh
//! cargo run --example repository
//! cargo test --example repository
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, cached};
use serde::{Deserialize, Serialize};

/// Callers that wait for one read get its error as text, for this type can be made of one. See
/// "How errors are shared" in the README.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// What the application asks for; it is generic over this.
trait Users {
    async fn find(&self, id: u64) -> Result<Option<User>, Error>;
    async fn count(&self) -> Result<usize, Error>;
    async fn add(&self, user: User) -> Result<(), Error>;
    async fn rename(&self, id: u64, name: &str) -> Result<(), Error>;
}

/// Any `Users`, with a cache before it.
struct CachedUsers<R> {
    inner: R,
}

impl<R: Users> Users for CachedUsers<R> {
    // `self` is not part of the key: there is one `CachedUsers` in an application. Were there one
    // per tenant, the key would be `user:{self.tenant}:{id}`. The attribute asks for a decision:
    // without `skip(self)` it does not compile.
    //
    // The cache is the current one: that of the scope in a test, the installed one otherwise. To
    // hold one in the struct, write `cache = self.cache`.
    #[cached(ttl = 60, jitter = 10, none_ttl = 5, key = "user:{id}", skip(self))]
    async fn find(&self, id: u64) -> Result<Option<User>, Error> {
        self.inner.find(id).await
    }

    #[cached(ttl = 10, key = "users:count", skip(self))]
    async fn count(&self) -> Result<usize, Error> {
        self.inner.count().await
    }

    // First the write, then the invalidation. A read that is under way meanwhile may have seen
    // what was there before: it is given to those who wait for it, and not stored.
    async fn add(&self, user: User) -> Result<(), Error> {
        let id = user.id;
        self.inner.add(user).await?;
        // A `None` may be stored for it.
        self.find(id).invalidate().await?;
        self.count().invalidate().await?;
        Ok(())
    }

    async fn rename(&self, id: u64, name: &str) -> Result<(), Error> {
        self.inner.rename(id, name).await?;
        self.find(id).invalidate().await?;
        Ok(())
    }
}

/// Stands for the database: slow, and counts its reads.
#[derive(Default)]
struct SlowUsers {
    users: Mutex<BTreeMap<u64, User>>,
    reads: AtomicU32,
}

impl SlowUsers {
    async fn read(&self) {
        self.reads.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Users for SlowUsers {
    async fn find(&self, id: u64) -> Result<Option<User>, Error> {
        self.read().await;
        Ok(self.users.lock().unwrap().get(&id).cloned())
    }

    async fn count(&self) -> Result<usize, Error> {
        self.read().await;
        Ok(self.users.lock().unwrap().len())
    }

    async fn add(&self, user: User) -> Result<(), Error> {
        self.users.lock().unwrap().insert(user.id, user);
        Ok(())
    }

    async fn rename(&self, id: u64, name: &str) -> Result<(), Error> {
        let mut users = self.users.lock().unwrap();
        let user = users.get_mut(&id).ok_or_else(|| format!("there is no user {id}"))?;
        name.clone_into(&mut user.name);
        Ok(())
    }
}

/// Knows nothing of a cache.
async fn greet(users: &impl Users, id: u64) -> Result<String, Error> {
    Ok(match users.find(id).await? {
        Some(user) => format!("Hello {}, one of {}!", user.name, users.count().await?),
        None => format!("Who is {id}?"),
    })
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let cache = Cache::builder("repository").build()?;
    cache.clone().install()?;
    let users = CachedUsers { inner: SlowUsers::default() };
    let show = async |what: &str| {
        let greeting = greet(&users, 1).await?;
        println!("{what:28}  {greeting:24}  reads so far: {}", users.inner.reads.load(Relaxed));
        Ok::<_, Error>(())
    };

    show("nobody is there yet").await?;
    show("and that is remembered").await?;
    users.add(User { id: 1, name: "Ada".to_owned() }).await?;
    show("one was added").await?;
    show("from memory").await?;
    users.rename(1, "Grace").await?;
    show("renamed").await?;
    show("from memory").await?;

    println!("\n{}", cache.stats());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each test in a cache of its own, however many run in this process at once.
    async fn with_ada(test: impl AsyncFnOnce(&CachedUsers<SlowUsers>)) {
        let users = CachedUsers { inner: SlowUsers::default() };
        let ada = User { id: 1, name: "Ada".to_owned() };
        Cache::memory()
            .scope(async {
                users.add(ada).await.unwrap();
                test(&users).await;
            })
            .await;
    }

    #[tokio::test]
    async fn the_second_read_is_a_hit() {
        with_ada(async |users| {
            let first = users.find(1).await.unwrap();
            assert_eq!(users.find(1).await.unwrap(), first);
            assert_eq!(users.inner.reads.load(Relaxed), 1);
        })
        .await;
    }

    #[tokio::test]
    async fn callers_at_one_time_are_one_read() {
        with_ada(async |users| {
            let (first, second) = tokio::join!(users.find(1), users.find(1));
            assert_eq!(first.unwrap(), second.unwrap());
            assert_eq!(users.inner.reads.load(Relaxed), 1);
        })
        .await;
    }

    #[tokio::test]
    async fn a_rename_shows_at_once() {
        with_ada(async |users| {
            users.find(1).await.unwrap();
            users.rename(1, "Grace").await.unwrap();
            assert_eq!(users.find(1).await.unwrap().unwrap().name, "Grace");
        })
        .await;
    }

    #[tokio::test]
    async fn a_rename_that_fails_leaves_the_entry() {
        with_ada(async |users| {
            assert_eq!(users.find(2).await.unwrap(), None);
            users.rename(2, "Grace").await.unwrap_err();
            assert!(users.find(2).peek().await.is_some());
        })
        .await;
    }

    #[tokio::test]
    async fn a_read_that_a_rename_overtakes_stores_nothing() {
        with_ada(async |users| {
            let (read, renamed) = tokio::join!(users.find(1), users.rename(1, "Grace"));
            read.unwrap();
            renamed.unwrap();
            assert!(users.find(1).peek().await.is_none());
        })
        .await;
    }

    #[tokio::test]
    async fn one_who_is_added_is_found_and_counted() {
        with_ada(async |users| {
            assert_eq!(users.find(2).await.unwrap(), None);
            assert_eq!(users.count().await.unwrap(), 1);
            users.add(User { id: 2, name: "Grace".to_owned() }).await.unwrap();
            assert!(users.find(2).await.unwrap().is_some());
            assert_eq!(users.count().await.unwrap(), 2);
        })
        .await;
    }
}
