//! What the attributes accept as tags.

#![warn(clippy::pedantic, missing_docs, unreachable_pub)]
// A function of a test awaits nothing, and takes what the attribute is to be tested with.
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::{fmt, sync::Arc};

use larder::{Cache, KeyPart, cached, invalidates, updates};

/// A test has a cache to itself.
async fn alone<F: Future>(test: F) -> F::Output {
    Cache::memory().scope(test).await
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct User {
    name: String,
    team: u64,
}

/// What is no key part.
#[derive(Debug)]
struct Date(u32);

impl Date {
    fn day(&self) -> String {
        self.0.to_string()
    }
}

mod of_a_cached_function {
    use super::*;

    #[tokio::test]
    async fn a_placeholder_of_the_key() {
        #[cached(ttl = 60, key = "user:{id}:{team}", tags("team:{team}", "users"))]
        async fn get_user(id: u64, team: u64) -> Result<User, String> {
            Ok(User { name: id.to_string(), team })
        }
        alone(async {
            assert_eq!(get_user(1, 7).await.unwrap().team, 7);
            assert_eq!(get_user(1, 7).key(), "user:1:7");
        })
        .await;
    }

    #[tokio::test]
    async fn a_placeholder_twice() {
        #[cached(ttl = 60, key = "pair:{id}:{id}", tags("twice:{id}:{id}:{n}:{n}"), skip(n))]
        async fn pair(id: u64, n: u64) -> u64 {
            id + n
        }
        alone(async { assert_eq!(pair(1, 2).await, 3) }).await;
    }

    #[tokio::test]
    async fn a_field_and_a_skipped_argument() {
        struct Opts {
            page: (u32, u32),
        }
        #[cached(
            ttl = 60,
            key = "list:{opts.page.1}",
            tags("page:{opts.page.0}", "of:{_shard}:{opts.page.1}", "of:{_shard}"),
            skip(_shard)
        )]
        async fn list(opts: &Opts, _shard: &str) -> u32 {
            opts.page.0
        }
        alone(async { assert_eq!(list(&Opts { page: (1, 20) }, "a").await, 1) }).await;
    }

    #[tokio::test]
    async fn a_named_expression() {
        #[cached(
            ttl = 60,
            key = ("menu:{day}", day = date.day()),
            tags(("day:{day}", day = date.day().len()), ("of:{d}:{d}", d = date.day()), ("menu")),
        )]
        async fn menu(date: &Date) -> String {
            date.day()
        }
        alone(async {
            assert_eq!(menu(&Date(3)).await, "3");
        })
        .await;
    }

    #[tokio::test]
    async fn one_template_of_two_expressions() {
        #[cached(ttl = 60, tags(("label:{l}", l = one.trim()), ("label:{l}", l = other.trim())))]
        async fn labels(one: &str, other: &str) -> usize {
            one.len() + other.len()
        }
        alone(async { assert_eq!(labels("a", "b ").await, 3) }).await;
    }

    #[tokio::test]
    async fn a_hashed_argument() {
        #[cached(ttl = 60, tags("raw:{type}:{y}", "db:{db}"), skip(db))]
        async fn raw(db: u8, r#type: u8, (x, y): (u8, u8)) -> u8 {
            db + r#type + x + y
        }
        alone(async { assert_eq!(raw(1, 2, (3, 4)).await, 10) }).await;
    }

    #[tokio::test]
    async fn a_type_parameter() {
        #[cached(ttl = 60, key = "parse:{T}:{text}", tags("of:{T}", "sized:{N}:{T}"), skip(N))]
        async fn parse<T, const N: usize>(text: &str) -> Option<T>
        where
            T: std::str::FromStr,
            T: larder::Cacheable,
        {
            text.get(..N)?.parse().ok()
        }
        #[cached(ttl = 60, tags("of:{T}"))]
        async fn name<T>() -> String {
            std::any::type_name::<T>().to_owned()
        }
        alone(async {
            assert_eq!(parse::<u8, 1>("1").await, Some(1));
            assert_eq!(name::<u8>().await, "u8");
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_of_any_type() {
        #[cached(ttl = 60, key = "show:{value}", tags("of:{value}", "by:{by}"), skip(by))]
        async fn show(value: impl KeyPart + fmt::Display, by: impl KeyPart) -> String {
            let _ = by;
            value.to_string()
        }
        alone(async { assert_eq!(show(1, "me").await, "1") }).await;
    }

    #[tokio::test]
    async fn an_argument_named_as_something_of_ours() {
        #[cached(
            ttl = 60,
            key = "own:{key}:{__key}",
            tags("{{own}}:{__key}:{__call}"),
            skip(__call)
        )]
        async fn own(key: u8, __key: u8, __call: u8) -> u8 {
            key + __key + __call
        }
        alone(async { assert_eq!(own(1, 2, 3).await, 6) }).await;
    }

    #[tokio::test]
    async fn options_beside_them() {
        #[cached(ttl = 60, key = "one:{id}", tags("ones",), tags_strict, local = false)]
        async fn strict(id: u64) -> Option<u64> {
            Some(id)
        }
        #[cached(ttl = 60, remote = false, detached, key = "one:{id}", tags("ones"))]
        async fn detached(id: u64) -> Arc<str> {
            id.to_string().into()
        }
        #[cached(ttl = 60, none_ttl = 5, cache_if = |id| *id > 0, key = "if:{id}", tags("ones"))]
        async fn knobs(id: u64) -> Result<Option<u64>, String> {
            Ok(Some(id))
        }
        alone(async {
            assert_eq!(strict(1).await, Some(1));
            assert_eq!(&*detached(1).await, "1");
            assert_eq!(knobs(1).await, Ok(Some(1)));
        })
        .await;
    }

    #[tokio::test]
    async fn as_many_as_may_be() {
        #[cached(ttl = 60, tags("a", "b", "c", "d", "e", "f", "g", "h:{id}"))]
        async fn tagged(id: u64) -> u64 {
            id
        }
        alone(async { assert_eq!(tagged(1).await, 1) }).await;
    }

    #[tokio::test]
    async fn made_by_a_macro() {
        macro_rules! getter {
            ($name:ident, $arg:ident: $ty:ty, $key:literal, $tag:literal) => {
                #[cached(ttl = 60, key = $key, tags($tag, "all"))]
                async fn $name($arg: $ty) -> $ty {
                    $arg
                }

                #[invalidates(tag($tag))]
                async fn drop_it($arg: $ty) -> $ty {
                    $arg
                }
            };
        }
        getter!(get, id: u64, "get:{id}", "of:{id}");
        alone(async { assert_eq!(get(1).await, drop_it(1).await) }).await;
    }
}

mod of_a_change {
    use super::*;

    struct Repo {
        cache: Arc<Cache>,
        tenant: u32,
    }

    #[cached(ttl = 60, key = "user:{id}", tags("users"))]
    async fn get_user(id: u64) -> Result<User, String> {
        Ok(User { name: id.to_string(), team: 7 })
    }

    #[tokio::test]
    async fn arguments_are_taken_before_the_body_moves_them() {
        #[invalidates(get_user(id), tag("team:{team}"), tag("users"), tag("twice:{team}:{team}"))]
        async fn rename(id: u64, team: String) -> Result<String, String> {
            let _ = id;
            Ok(team)
        }
        alone(async { assert_eq!(rename(1, "a".to_owned()).await, Ok("a".to_owned())) }).await;
    }

    #[tokio::test]
    async fn a_named_expression() {
        #[invalidates(tag("day:{d}", d = date.day()), tag(("of:{d}", d = date.day())), tag(("all")))]
        async fn serve(date: Date) -> Date {
            date
        }
        alone(async { assert_eq!(serve(Date(3)).await.0, 3) }).await;
    }

    #[tokio::test]
    async fn the_value_names_it() {
        #[invalidates(
            |out| tag("team:{out.team}"),
            |user| tag("user:{user.name}:{id}"),
            |User { team, .. }| tag("team:{team}:{t}", t = team + 1),
            |out: &User| get_user(out.team),
        )]
        async fn add(id: u64) -> Result<User, String> {
            get_user(id).await
        }
        #[invalidates(|id| tag("user:{id}"))]
        async fn next(id: String) -> Option<u64> {
            id.parse().ok()
        }
        alone(async {
            assert_eq!(add(1).await.unwrap().team, 7);
            assert_eq!(next("1".to_owned()).await, Some(1));
        })
        .await;
    }

    #[tokio::test]
    async fn a_held_change_of_any_type() {
        #[invalidates(
            tag("of:{T}"),
            tag("value:{value}"),
            tag("n:{_n}"),
            hold = "5s",
            on = "always"
        )]
        async fn change<T: Send>(value: impl KeyPart + Send, _n: u8) -> Option<u64> {
            let _ = value;
            None
        }
        alone(async { assert_eq!(change::<u8>("a", 1).await, None) }).await;
    }

    /// A function of the user, which takes no literal.
    fn tag(id: u64) -> larder::Cached<impl Future<Output = Result<User, String>>> {
        get_user(id)
    }

    #[tokio::test]
    async fn a_function_of_that_name_is_a_call() {
        #[invalidates(tag(id), self::tag(7))]
        async fn rename(id: u64) -> u64 {
            id
        }
        alone(async {
            get_user(1).await.unwrap();
            rename(1).await;
            assert!(get_user(1).peek().await.is_none());
        })
        .await;
    }

    impl Repo {
        #[cached(
            ttl = 60,
            key = "list:{self.tenant}:{page}",
            tags("tenant:{self.tenant}", "lists:{Self}"),
            cache = self.cache,
        )]
        async fn list(&self, page: u64) -> Vec<u64> {
            vec![page]
        }

        #[invalidates(tag("tenant:{self.tenant}"), cache = self.cache, |out| tag("u:{out.name}"))]
        async fn add(&mut self, user: User) -> Result<User, String> {
            self.tenant += 1;
            Ok(user)
        }

        #[updates(get_user(id))]
        #[invalidates(tag("tenant:{self.tenant}:{id}"), cache = &*self.cache)]
        #[invalidates(tag("users"))]
        async fn both(&self, id: u64) -> Result<User, String> {
            Ok(User { name: id.to_string(), team: 1 })
        }

        #[cached(ttl = 60, key = "made:{id}", tags("made:by:{self.tenant}"), skip(self))]
        #[invalidates(tag("tenant:{self.tenant}"))]
        async fn made(&self, id: u64) -> u64 {
            id
        }
    }

    #[async_trait::async_trait]
    trait Store {
        async fn find(&self, id: u64, lang: &str) -> Option<u64>;
        async fn save(&self, id: u64) -> Result<User, String>;
    }

    #[async_trait::async_trait]
    impl Store for Repo {
        #[cached(
            ttl = 60,
            key = "find:{self.tenant}:{id}",
            tags("tenant:{self.tenant}", "lang:{lang}"),
            skip(lang)
        )]
        async fn find(&self, id: u64, lang: &str) -> Option<u64> {
            Some(id + lang.len() as u64)
        }

        #[invalidates(tag("tenant:{self.tenant}"), |out| tag("u:{out.name}:{id}"), cache = self.cache)]
        async fn save(&self, id: u64) -> Result<User, String> {
            get_user(id).await
        }
    }

    #[tokio::test]
    async fn a_method() {
        fn is_send<F: Send>(future: F) -> F {
            future
        }
        let mut repo = Repo { cache: Arc::new(Cache::memory()), tenant: 1 };
        alone(async {
            assert_eq!(is_send(repo.list(1)).await, [1]);
            let user = get_user(1).await.unwrap();
            assert_eq!(is_send(repo.add(user.clone())).await, Ok(user));
            assert_eq!(is_send(repo.both(2)).await.unwrap().team, 1);
            assert_eq!(is_send(repo.made(2)).await, 2);
            assert_eq!(is_send(repo.find(2, "en")).await, Some(4));
            // What was put was outdated by the tag, which the same change names.
            assert_eq!(is_send(repo.save(2)).await.unwrap().team, 7);
        })
        .await;
    }
}
