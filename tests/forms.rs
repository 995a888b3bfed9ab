//! What `#[cached]` accepts of freshness and of batches. That it compiles is the test: none of it
//! runs here.

#![warn(clippy::pedantic, missing_docs, unreachable_pub)]
#![allow(dead_code)]
// A function of a test awaits nothing, and takes what the attribute is to be tested with.
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::{
    borrow::Cow,
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hash},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use larder::{Batch, Cache, Cached, KeyPart, Shared, cached, invalidates};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

struct Db {
    shard: u32,
    cache: Cache,
}

const SHORT: Duration = Duration::from_secs(5);

fn is_send(_: &impl Send) {}

mod freshness {
    use super::*;

    #[cached(ttl = 60, stale = "1h", stale_if_error = "1d", refresh_early, key = "all:{id}")]
    async fn all(id: u64) -> Result<User, String> {
        Err(id.to_string())
    }

    #[cached(ttl = 60, stale = 30, max_wait = "200ms", key = "wait:{id}")]
    async fn waits(id: u64) -> Option<User> {
        (id == 0).then(|| User { name: String::new() })
    }

    #[cached(ttl = 60, stale_if_error = "1h", max_wait = "200ms", key = "wait:{id}")]
    async fn waits_after_an_error(id: u64) -> io::Result<User> {
        Err(io::Error::other(id.to_string()))
    }

    #[cached(ttl = 60, stale_if_error = "1h", key = "borrows:{name}", skip(db))]
    async fn if_error_borrows(db: &Db, name: &str) -> Result<String, String> {
        Ok(format!("{name} {}", db.shard))
    }

    #[cached(ttl = 60, stale = 30, refresh_early, key = "borrows:{name}", skip(db))]
    async fn stale_borrows(db: &Db, name: &str) -> Result<String, String> {
        Ok(format!("{name} {}", db.shard))
    }

    #[cached(ttl = SHORT, stale = 30, cache_if = |name| !name.is_empty(), key = "knobs:{id}")]
    async fn with_knobs(id: u64) -> String {
        id.to_string()
    }

    #[cached(ttl = |name| Duration::from_secs(name.len() as u64), stale = 30, key = "knobs:{id}")]
    async fn by_the_value(id: u64) -> String {
        id.to_string()
    }

    #[cached(ttl = 60, local = 90, stale = 30, key = "local:{id}")]
    async fn as_local_as_it_is_served(id: u64) -> u64 {
        id
    }

    #[cached(ttl = 60, remote = false, stale = 30, max_wait = 1, key = "memory:{id}", tags("ids"))]
    async fn in_memory(id: u64) -> Arc<str> {
        id.to_string().into()
    }

    #[cached(ttl = 60, stale = 30, detached = false, key = "count:{id}")]
    async fn need_not_be_send(id: u64) -> u64 {
        let count = Rc::new(Cell::new(id));
        tokio::task::yield_now().await;
        count.get()
    }

    #[cached(ttl = 60, stale = 30, detached = false, key = "text:{text}")]
    async fn hides_a_lifetime(text: Cow<'_, str>) -> usize {
        text.len()
    }

    #[cached(ttl = 60, stale = 30, max_wait = 1, detached, key = "task:{id}")]
    async fn detached(id: u64) -> u64 {
        id
    }

    #[cached(ttl = 60, stale = 30, key = "show:{T}:{value}")]
    async fn generic<T: KeyPart + ToString>(value: T) -> String {
        value.to_string()
    }

    #[cached(ttl = 60, stale = 30, key = "show:{value}")]
    async fn of_any(value: impl KeyPart + ToString) -> String {
        value.to_string()
    }

    #[cached(ttl = 60, stale = 30, max_wait = 1, key = "show:{T}:{value}")]
    async fn generic_waits<T: KeyPart + ToString + Send + 'static>(value: T) -> String {
        value.to_string()
    }

    #[cached(ttl = 60, stale = 30, refresh_early, key = "fib:{n}", detached = false)]
    async fn recursive(n: u64) -> u64 {
        if n < 2 { n } else { Box::pin(recursive(n - 1)).await + Box::pin(recursive(n - 2)).await }
    }

    #[cached(ttl = 60, stale = 30, max_wait = 1, skip(by, show), key = "static:{name}:{id}")]
    async fn of_statics(
        name: &'static str,
        id: u64,
        by: fn(&str) -> &str,
        show: Box<dyn Fn(&str) -> String + Send>,
    ) -> String {
        show(by(name)) + &id.to_string()
    }

    impl Db {
        #[cached(ttl = 60, stale = 30, max_wait = 1, key = "owned:{self.shard}")]
        async fn of_an_arc(self: Arc<Self>) -> u32 {
            self.shard
        }

        #[cached(ttl = 60, stale = 30, max_wait = 1, key = "owned:{self.shard}")]
        async fn by_value(self) -> u32 {
            self.shard
        }

        #[cached(ttl = 60, stale = 30, max_wait = 1, key = "owned:{self.shard}")]
        async fn of_a_static(&'static self) -> u32 {
            self.shard
        }

        #[cached(ttl = 60, stale = 30, refresh_early, cache = self.cache, key = "of:{self.shard}")]
        async fn of_a_reference(&self) -> u32 {
            self.shard
        }
    }

    #[async_trait::async_trait]
    trait Shards: Sync {
        async fn shard(&self, of: u64) -> u32;
        async fn owned(self: Arc<Self>, of: u64) -> u32;
    }

    #[async_trait::async_trait]
    impl Shards for Db {
        #[cached(
            ttl = 60,
            stale = 30,
            stale_if_error = 90,
            refresh_early,
            key = "shard:{self.shard}:{of}"
        )]
        async fn shard(&self, of: u64) -> u32 {
            self.shard + u32::from(of > 0)
        }

        #[cached(ttl = 60, stale = 30, max_wait = 1, key = "shard:{self.shard}:{of}")]
        async fn owned(self: Arc<Self>, of: u64) -> u32 {
            self.shard + u32::from(of > 0)
        }
    }

    fn a_call_borrows_what_its_function_does(db: &Db, name: &str) {
        is_send(&stale_borrows(db, name));
        is_send(&all(1));
        let call: Cached<_> = waits(1);
        is_send(&call);
    }
}

mod elements {
    use super::*;

    type Users = HashMap<u64, User>;

    fn users(ids: &[u64]) -> Users {
        ids.iter().map(|id| (*id, User { name: id.to_string() })).collect()
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids), skip(db))]
    async fn of_a_slice(db: &Db, ids: &[u64]) -> Result<HashMap<u64, User>, String> {
        tokio::task::yield_now().await;
        if ids.is_empty() { Err(db.shard.to_string()) } else { Ok(users(ids)) }
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids,))]
    async fn of_a_lifetime<'a>(ids: &'a [u64]) -> HashMap<u64, User> {
        users(ids)
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn of_a_vec(ids: Vec<u64>) -> HashMap<u64, User> {
        ids.into_iter().map(|id| (id, User { name: id.to_string() })).collect()
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn of_a_vec_that_changes(mut ids: std::vec::Vec<u64>) -> Users {
        ids.retain(|id| *id > 0);
        users(&ids)
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn of_a_slice_that_shrinks(mut ids: &[u64]) -> Users {
        while let [first, rest @ ..] = ids {
            if *first > 0 {
                break;
            }
            ids = rest;
        }
        users(ids)
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn of_statics(ids: &'static [&'static str]) -> HashMap<&'static str, User> {
        ids.iter().map(|id| (*id, User { name: (*id).to_owned() })).collect()
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn of_references<'a>(ids: &[&'a str]) -> io::Result<HashMap<&'a str, User>> {
        Ok(ids.iter().map(|id| (*id, User { name: (*id).to_owned() })).collect())
    }

    #[cached(ttl = 60, key = "user:{name}", each(name in names))]
    async fn of_strings(names: &[String]) -> HashMap<String, User> {
        names.iter().map(|name| (name.clone(), User { name: name.clone() })).collect()
    }

    #[cached(ttl = 60, key = "cell:{at.0}:{at.1}", each(at in cells))]
    async fn of_tuples(cells: &[(u32, u32)]) -> HashMap<(u32, u32), u32> {
        cells.iter().map(|(x, y)| ((*x, *y), x * y)).collect()
    }

    #[cached(ttl = 60, key = "pair:{pair}", each(pair in pairs))]
    async fn of_whole_tuples(pairs: Vec<(u32, String)>) -> HashMap<(u32, String), u32> {
        pairs.into_iter().map(|pair| (pair.clone(), pair.0)).collect()
    }

    #[derive(Debug, Clone, PartialEq, Eq, Hash, KeyPart)]
    struct Id {
        tenant: u32,
        number: u64,
    }

    #[cached(ttl = 60, key = "user:{id.tenant}:{id.number}", each(id in ids), tags("of:{id.tenant}"))]
    async fn by_fields(ids: &[Id]) -> HashMap<Id, User> {
        ids.iter().map(|id| (id.clone(), User { name: String::new() })).collect()
    }

    #[cached(ttl = 60, each(id in ids))]
    async fn without_a_key(ids: &[Id]) -> HashMap<Id, u64> {
        ids.iter().map(|id| (id.clone(), id.number)).collect()
    }

    #[cached(ttl = 60, each(id in ids), skip(db))]
    async fn hashed_beside_others(db: &Db, lang: &str, ids: &[u64], page: u8) -> Users {
        let _ = (db.shard, lang, page);
        users(ids)
    }

    #[cached(
        ttl = 60,
        key = ("user:{day}:{id}", day = id / 86_400),
        each(id in ids),
        tags("users", "user:{id}", ("day:{day}", day = id / 86_400), "shard:{db.shard}"),
        skip(db),
    )]
    async fn by_an_expression(db: &Db, ids: &[u64]) -> Users {
        let _ = db.shard;
        users(ids)
    }

    #[cached(ttl = 60, key = "user:{type}", each(r#type in types))]
    async fn of_a_raw_name(types: &[u8]) -> HashMap<u8, u8> {
        types.iter().map(|r#type| (*r#type, *r#type)).collect()
    }

    #[cached(ttl = 60, key = "user:{T}:{id}", each(id in ids))]
    async fn generic<T>(ids: &[T]) -> HashMap<T, String>
    where
        T: KeyPart + Clone + Eq + Hash + ToString,
    {
        ids.iter().map(|id| (id.clone(), id.to_string())).collect()
    }

    #[cached(ttl = 60, key = "user:{N}:{id}", each(id in ids), skip(by, F))]
    async fn generic_beside<F, const N: usize>(ids: Vec<u64>, by: F) -> HashMap<u64, usize>
    where
        F: Fn(u64) -> usize,
    {
        ids.into_iter().map(|id| (id, by(id) + N)).collect()
    }

    type Hasher = BuildHasherDefault<DefaultHasher>;

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn by_another_hasher(ids: &[u64]) -> Result<HashMap<u64, Arc<str>, Hasher>, Shared> {
        Ok(ids.iter().map(|id| (*id, id.to_string().into())).collect())
    }

    #[cached(ttl = 60, remote = false, key = "user:{id}", each(id in ids))]
    async fn in_memory(ids: &[u64]) -> HashMap<u64, &'static str> {
        ids.iter().map(|id| (*id, "Ada")).collect()
    }

    #[cached(ttl = 60, remote = false, key = "user:{id}", each(id in ids), tags("users"))]
    async fn in_memory_with_tags(ids: &[u64]) -> HashMap<u64, Arc<Vec<u64>>> {
        ids.iter().map(|id| (*id, Arc::new(vec![*id]))).collect()
    }

    #[cached(
        ttl = |user| Duration::from_secs(user.name.len() as u64),
        jitter = "10%",
        none_ttl = 5,
        cache_if = |user| !user.name.is_empty(),
        share_error = |error| io::Error::other(error.to_string()),
        key = "user:{id}",
        each(id in ids),
        version = 2,
        local = 5,
    )]
    async fn with_all_knobs(ids: &[u64]) -> Result<Users, io::Error> {
        Ok(users(ids))
    }

    #[cached(ttl = SHORT * u32::from(lang.is_empty()), key = "user:{lang}:{id}", each(id in ids))]
    async fn by_an_expression_of_ttl(lang: &str, ids: &[u64]) -> Users {
        users(ids)
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    async fn early(ids: &[u64]) -> Result<Users, Box<dyn std::error::Error>> {
        if ids.len() > 10 {
            return Err("too many".into());
        }
        Ok(users(ids))
    }

    #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
    #[must_use]
    #[inline]
    /// Documented.
    pub(crate) async fn with_attributes(#[allow(unused_variables)] ids: &[u64]) -> Users {
        HashMap::new()
    }

    #[cached(ttl = 60, key = "one:{id}")]
    async fn one(id: u64) -> u64 {
        id
    }

    #[cached(ttl = 60, key = "seen:{id}", each(id in ids))]
    #[invalidates(one(ids[0]), tag("first:{id}", id = ids[0]), |out| one(out.len() as u64))]
    async fn with_another_of_ours(ids: &[u64]) -> Result<Users, String> {
        if ids.is_empty() { Err("none".to_owned()) } else { Ok(users(ids)) }
    }

    macro_rules! loader {
        ($name:ident, $id:ident in $ids:ident: $ids_type:ty, $key:literal -> $output:ty) => {
            #[cached(ttl = 60, key = $key, each($id in $ids))]
            async fn $name($ids: $ids_type) -> $output {
                $ids.iter().map(|id| (*id, *id)).collect()
            }
        };
    }

    loader!(by_a_macro, id in ids: &[u64], "user:{id}" -> HashMap<u64, u64>);
    loader!(of_a_vec_by_a_macro, id in ids: Vec<u64>, "user:{id}" -> HashMap<u64, u64>);

    impl Db {
        #[cached(ttl = 60, key = "user:{self.shard}:{id}", each(id in ids))]
        async fn users(&self, ids: &[u64]) -> Users {
            let _ = self.shard;
            users(ids)
        }

        #[cached(ttl = 60, cache = self.cache, key = "user:{id}", each(id in ids), skip(self))]
        async fn of_its_cache(self: Arc<Self>, ids: Vec<u64>) -> Users {
            users(&ids)
        }

        #[cached(ttl = 60, key = "user:{self.shard}:{id}", each(id in ids))]
        async fn counted(&mut self, ids: &[u64]) -> Users {
            self.shard += 1;
            users(ids)
        }

        #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
        async fn associated(ids: &[u64]) -> Users {
            users(ids)
        }
    }

    #[async_trait::async_trait]
    trait Load: Sync {
        async fn load(&self, ids: &[u64]) -> Result<Users, String>;
        async fn named<'a>(&self, names: &[&'a str]) -> HashMap<&'a str, u32>;
        async fn owned(self: Arc<Self>, ids: Vec<u64>) -> Users;

        #[cached(ttl = 60, key = "user:{id}", each(id in ids), skip(self))]
        async fn default(&self, mut ids: Vec<u64>) -> Users {
            ids.sort_unstable();
            users(&ids)
        }
    }

    #[async_trait::async_trait]
    impl Load for Db {
        #[cached(ttl = 60, stale = 30, key = "user:{self.shard}:{id}", each(id in ids))]
        async fn load(&self, ids: &[u64]) -> Result<Users, String> {
            tokio::task::yield_now().await;
            if self.shard == 0 {
                return Err("no shard".to_owned());
            }
            Ok(users(ids))
        }

        #[cached(ttl = 60, stale = 30, key = "name:{self.shard}:{name}", each(name in names))]
        async fn named<'a>(&self, names: &[&'a str]) -> HashMap<&'a str, u32> {
            names.iter().map(|name| (*name, self.shard)).collect()
        }

        #[cached(ttl = 60, stale = 30, max_wait = 1, key = "user:{self.shard}:{id}", each(id in ids))]
        async fn owned(self: Arc<Self>, ids: Vec<u64>) -> Users {
            users(&ids)
        }
    }

    trait LoadNatively {
        fn load(&self, ids: &[u64]) -> impl Future<Output = Users> + Send;
    }

    impl LoadNatively for Db {
        #[cached(ttl = 60, key = "user:{self.shard}:{id}", each(id in ids))]
        async fn load(&self, ids: &[u64]) -> Users {
            users(ids)
        }
    }

    fn a_batch_is_what_its_function_is(db: &Db, ids: &[u64]) {
        let batch: Batch<_> = of_a_slice(db, ids);
        is_send(&batch);
        is_send(&of_a_vec(ids.to_vec()));
    }
}

mod elements_that_are_old {
    use super::*;

    type Users = HashMap<u64, User>;

    #[cached(ttl = 60, stale = 30, max_wait = 1, key = "user:{id}", each(id in ids))]
    async fn leaves_its_slice(ids: &[u64]) -> Users {
        tokio::task::yield_now().await;
        let _ = ids;
        HashMap::new()
    }

    #[cached(ttl = 60, stale = 30, refresh_early, key = "user:{id}", each(id in ids), skip(db))]
    async fn leaves_with_its_arguments(db: Arc<Db>, ids: Vec<String>) -> HashMap<String, User> {
        let _ = (db.shard, ids);
        HashMap::new()
    }

    #[cached(ttl = 60, stale = 30, stale_if_error = "1h", key = "user:{id}", each(id in ids), skip(db))]
    async fn borrows<'a>(db: &Db, ids: &[&'a str]) -> Result<HashMap<&'a str, User>, String> {
        Err(format!("{} {}", db.shard, ids.len()))
    }

    #[cached(ttl = 60, stale = 30, detached = false, key = "user:{id}", each(id in ids))]
    async fn need_not_be_send(ids: &[u64]) -> Users {
        let count = Rc::new(Cell::new(ids.len()));
        tokio::task::yield_now().await;
        let _ = count.get();
        HashMap::new()
    }

    #[cached(ttl = 60, stale = 30, key = "user:{T}:{id}", each(id in ids))]
    async fn generic<T: KeyPart + Clone + Eq + Hash>(ids: &[T]) -> HashMap<T, User> {
        let _ = ids;
        HashMap::new()
    }
}
