//! What `#[cached]` accepts, and what it then does.

#![warn(clippy::pedantic, missing_docs, unreachable_pub)]
// A function of a test awaits nothing, and takes what the attribute is to be tested with.
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::{
    cell::Cell,
    convert::Infallible,
    error::Error as StdError,
    fmt, io,
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::{Cache, Cached, KeyPart, ManualClock, Source, cached};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

fn ada() -> User {
    User { name: "Ada".to_owned() }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A cache whose time stands still, and whose jitter is all that it may be.
fn cache_of_test() -> Cache {
    let builder = Cache::builder("test").clock(ManualClock::new()).random(|| u64::MAX);
    builder.build().unwrap()
}

/// A test has a cache to itself.
async fn alone<F: Future>(test: F) -> F::Output {
    cache_of_test().scope(test).await
}

async fn is_hit<F: Future>(call: Cached<F>) -> bool {
    matches!(call.with_source().await, (_, Source::Memory { .. }))
}

mod ttl {
    use super::*;

    const SHORT: Duration = secs(5);

    #[tokio::test]
    async fn a_number_is_seconds() {
        #[cached(ttl = 60)]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(60)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_string_has_units() {
        #[cached(ttl = "1h30m")]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(5400)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_constant_is_a_duration() {
        #[cached(ttl = SHORT)]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(5)));
        })
        .await;
    }

    #[tokio::test]
    async fn an_expression_is_over_the_arguments() {
        #[cached(ttl = secs(minutes * 60), key = "answer:{minutes}")]
        async fn answer(minutes: u64) -> u64 {
            minutes
        }
        alone(async {
            answer(2).await;
            assert_eq!(answer(2).expires_in().await, Some(secs(120)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_closure_gets_the_value() {
        #[cached(ttl = |user| secs(user.name.len() as u64), key = "user:{id}")]
        async fn get_user(id: u64) -> Result<User, String> {
            if id == 0 { Err("no such user".to_owned()) } else { Ok(ada()) }
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(get_user(1).expires_in().await, Some(secs(3)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_moving_closure_captures_what_can_be_copied() {
        #[cached(ttl = move |_| secs(id), key = "user:{id}")]
        async fn get_user(id: u64) -> Option<User> {
            (id > 0).then(ada)
        }
        alone(async {
            get_user(7).await;
            assert_eq!(get_user(7).expires_in().await, Some(secs(7)));
        })
        .await;
    }

    #[tokio::test]
    async fn an_entry_is_gone_when_its_time_is_over() {
        #[cached(ttl = "250ms")]
        async fn answer() -> u32 {
            42
        }
        let clock = ManualClock::new();
        let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
        cache
            .scope(async {
                answer().await;
                clock.advance(Duration::from_millis(249));
                assert!(is_hit(answer()).await);
                clock.advance(Duration::from_millis(1));
                assert!(!is_hit(answer()).await);
            })
            .await;
    }
}

mod jitter {
    use super::*;

    #[tokio::test]
    async fn a_time_is_added_at_most() {
        #[cached(ttl = 60, jitter = 10)]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(70)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_percentage_is_of_the_life() {
        #[cached(ttl = |_| secs(200), jitter = "10%")]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(220)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_percentage_is_of_the_life_of_none_too() {
        #[cached(ttl = 60, none_ttl = 20, jitter = "10%")]
        async fn answer() -> Option<u32> {
            None
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(22)));
        })
        .await;
    }
}

mod key {
    use super::*;

    #[tokio::test]
    async fn a_template_names_arguments() {
        #[cached(ttl = 60, key = "user:{id}:{lang}")]
        async fn get_user(id: u64, lang: &str) -> String {
            format!("{id} {lang}")
        }
        alone(async { assert_eq!(get_user(42, "en").key(), "user:42:en") }).await;
    }

    #[tokio::test]
    async fn a_template_names_fields() {
        struct Opts {
            page: (u32, u32),
        }
        #[cached(ttl = 60, key = "list:{opts.page.1}:{opts.page}")]
        async fn list(opts: &Opts) -> u32 {
            opts.page.0
        }
        alone(async { assert_eq!(list(&Opts { page: (1, 20) }).key(), "list:20:(1,20)") }).await;
    }

    #[tokio::test]
    async fn a_template_names_expressions() {
        #[cached(ttl = 60, key = ("user:{name}:{of}", name = name.to_lowercase(), of = org + 1))]
        async fn find(name: &str, org: u64) -> String {
            format!("{name} {org}")
        }
        alone(async { assert_eq!(find("Ada", 1).key(), "user:ada:2") }).await;
    }

    #[tokio::test]
    async fn an_expression_may_be_named_as_an_argument() {
        #[cached(ttl = 60, key = ("user:{name}", name = name.trim()))]
        async fn find(name: &str) -> String {
            name.to_owned()
        }
        alone(async { assert_eq!(find(" Ada ").key(), "user:Ada") }).await;
    }

    #[tokio::test]
    async fn a_template_has_braces_of_its_own() {
        #[cached(ttl = 60, key = "set:{{{id}}}")]
        async fn set(id: u64) -> u64 {
            id
        }
        alone(async { assert_eq!(set(1).key(), "set:{1}") }).await;
    }

    #[tokio::test]
    async fn a_raw_string_is_a_template() {
        #[cached(ttl = 60, key = r#"user:{id}"#)]
        #[allow(clippy::needless_raw_string_hashes)]
        async fn get_user(id: u64) -> u64 {
            id
        }
        alone(async { assert_eq!(get_user(1).key(), "user:1") }).await;
    }

    #[tokio::test]
    async fn a_template_without_placeholders_is_one_entry() {
        #[cached(ttl = 60, key = "config")]
        async fn config() -> u32 {
            1
        }
        alone(async {
            config().await;
            assert_eq!(config().key(), "config");
            assert!(is_hit(config()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn two_functions_share_a_template() {
        #[cached(ttl = 60, key = "user:{id}")]
        async fn get_user(id: u64) -> Result<User, String> {
            Err(id.to_string())
        }
        #[cached(ttl = 60, key = "user:{user_id}")]
        async fn find_user(user_id: u64) -> Option<User> {
            (user_id > 0).then(ada)
        }
        alone(async {
            find_user(1).await;
            assert_eq!(get_user(1).await, Ok(ada()));
        })
        .await;
    }

    #[tokio::test]
    async fn without_a_template_the_arguments_are_hashed() {
        #[cached(ttl = 60)]
        async fn sum(left: u64, right: u64) -> u64 {
            left + right
        }
        alone(async {
            sum(1, 2).await;
            assert!(is_hit(sum(1, 2)).await);
            assert!(!is_hit(sum(2, 1)).await);
            assert!(sum(1, 2).key().contains("sum:"));
        })
        .await;
    }

    #[tokio::test]
    async fn without_a_template_functions_are_apart() {
        #[cached(ttl = 60)]
        async fn one(id: u64) -> u64 {
            id
        }
        #[cached(ttl = 60)]
        async fn other(id: u64) -> u64 {
            id + 1
        }
        alone(async { assert_eq!((one(1).await, other(1).await), (1, 2)) }).await;
    }

    #[tokio::test]
    async fn a_derived_key_part_is_one() {
        #[derive(KeyPart)]
        struct UserId(u64);

        #[derive(KeyPart)]
        struct Page<T> {
            of: T,
            number: u32,
        }

        #[derive(KeyPart)]
        enum Sort {
            Newest,
            By { column: &'static str },
        }

        #[cached(ttl = 60, key = "orders:{user}:{page}:{sort}")]
        async fn orders(user: UserId, page: Page<&str>, sort: Sort) -> u32 {
            let _ = (user, page, sort);
            1
        }
        let page = |number| Page { of: "shop", number };
        alone(async {
            assert_eq!(orders(UserId(7), page(2), Sort::Newest).key(), "orders:7:(shop,2):Newest");
            assert_eq!(
                orders(UserId(7), page(2), Sort::By { column: "sum" }).key(),
                "orders:7:(shop,2):(By,sum)",
            );
        })
        .await;
    }
}

mod skip {
    use super::*;

    struct Db;

    #[tokio::test]
    async fn an_argument_is_left_out() {
        #[cached(ttl = 60, key = "user:{id}", skip(db))]
        async fn get_user(db: &Db, id: u64) -> u64 {
            let Db = db;
            id
        }
        alone(async { assert_eq!(get_user(&Db, 1).key(), "user:1") }).await;
    }

    #[tokio::test]
    async fn an_argument_is_left_out_of_the_hash() {
        #[cached(ttl = 60, skip(attempt))]
        async fn get_user(id: u64, attempt: u32) -> u64 {
            id + u64::from(attempt)
        }
        alone(async {
            get_user(1, 0).await;
            assert!(is_hit(get_user(1, 1)).await);
        })
        .await;
    }

    impl Db {
        #[cached(ttl = 60, skip(self))]
        async fn get_user(&self, id: u64) -> u64 {
            id
        }
    }

    #[tokio::test]
    async fn the_receiver_is_left_out() {
        alone(async {
            Db.get_user(1).await;
            assert!(is_hit(Db.get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_type_parameter_is_left_out() {
        #[cached(ttl = 60, key = "user:{id}", skip(store, S))]
        async fn get_user<S: Sync>(store: &S, id: u64) -> u64 {
            let _ = store;
            id
        }
        alone(async {
            get_user(&"one", 1).await;
            assert!(is_hit(get_user(&2, 1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_pattern_without_names_is_left_out_of_itself() {
        #[cached(ttl = 60, key = "user:{id}")]
        async fn get_user(_: &Db, id: u64) -> u64 {
            id
        }
        alone(async { assert_eq!(get_user(&Db, 1).key(), "user:1") }).await;
    }
}

mod arguments {
    use super::*;

    #[tokio::test]
    async fn a_tuple_is_taken_apart() {
        #[cached(ttl = 60, key = "point:{x}:{y}")]
        async fn point((x, y): (u32, u32)) -> u32 {
            x + y
        }
        alone(async {
            assert_eq!(point((1, 2)).key(), "point:1:2");
            assert_eq!(point((1, 2)).await, 3);
        })
        .await;
    }

    #[tokio::test]
    async fn a_struct_is_taken_apart() {
        struct Page {
            number: u32,
            size: u32,
        }
        #[cached(ttl = 60)]
        async fn page(Page { number, size: length }: Page, [first, ..]: [u8; 2]) -> u32 {
            number * length + u32::from(first)
        }
        alone(async {
            assert_eq!(page(Page { number: 2, size: 10 }, [1, 2]).await, 21);
            assert!(is_hit(page(Page { number: 2, size: 10 }, [1, 3])).await);
            assert!(!is_hit(page(Page { number: 2, size: 9 }, [1, 2])).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_mutable() {
        #[cached(ttl = 60, key = "next:{id}")]
        async fn next(mut id: u64) -> u64 {
            id += 1;
            id
        }
        alone(async { assert_eq!(next(1).await, 2) }).await;
    }

    #[tokio::test]
    async fn an_argument_is_named_as_something_of_ours() {
        #[cached(ttl = 60, key = "own:{key}:{call}:{__private}:{site}:{__call}:{SITE}")]
        #[allow(non_snake_case)]
        async fn own(key: u8, call: u8, __private: u8, site: u8, __call: u8, SITE: u8) -> u8 {
            key + call + __private + site + __call + SITE
        }
        alone(async {
            assert_eq!(own(1, 2, 3, 4, 5, 6).key(), "own:1:2:3:4:5:6");
            assert_eq!(own(1, 2, 3, 4, 5, 6).await, 21);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_named_as_something_of_ours_and_hashed() {
        #[cached(ttl = secs(u64::from(__call)), cache = cache, skip(cache))]
        async fn own(cache: &Cache, __call: u8, __output: u8) -> u8 {
            __call + __output
        }
        let cache = cache_of_test();
        assert_eq!(own(&cache, 1, 2).await, 3);
        assert_eq!(own(&cache, 1, 2).expires_in().await, Some(secs(1)));
    }

    #[tokio::test]
    async fn an_argument_is_named_as_a_keyword() {
        #[cached(ttl = 60)]
        async fn raw(r#type: u8) -> u8 {
            r#type
        }
        alone(async {
            raw(1).await;
            assert!(is_hit(raw(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_named_as_a_keyword_in_the_template() {
        #[cached(ttl = 60, key = ("raw:{type}:{in}:{move.0}", r#in = skipped + 1), skip(r#fn))]
        async fn raw(r#type: u8, r#move: (u8,), r#fn: u8, skipped: u8) -> u8 {
            r#type + r#move.0 + r#fn + skipped
        }
        alone(async { assert_eq!(raw(1, (2,), 3, 4).key(), "raw:1:5:2") }).await;
    }

    #[tokio::test]
    async fn an_argument_is_only_for_the_key() {
        #[cached(ttl = 60)]
        async fn hashed(_id: u8) -> u8 {
            1
        }
        #[cached(ttl = 60, key = "named:{_id}")]
        async fn named(_id: u8) -> u8 {
            1
        }
        alone(async {
            hashed(1).await;
            assert!(!is_hit(hashed(2)).await);
            assert_eq!(named(1).key(), "named:1");
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_borrowed() {
        #[cached(ttl = 60, key = "sum:{numbers}:{name}")]
        async fn sum(numbers: &[u64], name: &str) -> u64 {
            numbers.iter().sum::<u64>() + name.len() as u64
        }
        alone(async {
            let numbers = vec![1, 2];
            assert_eq!(sum(&numbers, "ab").await, 5);
            assert_eq!(sum(&numbers, "ab").key(), "sum:[1,2]:ab");
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_of_any_type_that_is_a_key_part() {
        #[cached(ttl = 60, key = "show:{value}")]
        async fn show(value: impl KeyPart + fmt::Display) -> String {
            value.to_string()
        }
        alone(async {
            assert_eq!(show(1).await, "1");
            assert_eq!(show("1").await, "1");
            // Its type is in the key unasked.
            assert_ne!(show(1).key(), show("1").key());
        })
        .await;
    }

    #[tokio::test]
    async fn a_lifetime_has_a_name() {
        #[cached(ttl = 60, key = "longest:{left}:{right}")]
        async fn longest<'a, 'b: 'a>(left: &'a str, right: &'b str) -> Option<String> {
            let longest: &'a str = if left.len() > right.len() { left } else { right };
            (!longest.is_empty()).then(|| longest.to_owned())
        }
        alone(async { assert_eq!(longest("a", "bc").await, Some("bc".to_owned())) }).await;
    }

    #[tokio::test]
    async fn an_argument_is_dropped_on_a_hit() {
        #[cached(ttl = 60, key = "count", skip(of))]
        async fn count(of: Arc<()>) -> usize {
            Arc::strong_count(&of)
        }
        alone(async {
            let of = Arc::new(());
            count(Arc::clone(&of)).await;
            count(Arc::clone(&of)).await;
            assert_eq!(Arc::strong_count(&of), 1);
        })
        .await;
    }
}

mod functions {
    use super::*;

    /// One that other crates could call.
    #[cached(ttl = 60, key = "documented:{id}")]
    #[must_use]
    pub(crate) async fn documented(id: u64) -> u64 {
        id
    }

    #[tokio::test]
    async fn a_function_is_public_and_documented() {
        alone(async { assert_eq!(super::functions::documented(1).await, 1) }).await;
    }

    #[tokio::test]
    async fn a_function_is_generic() {
        #[cached(ttl = 60, key = "parse:{T}:{N}:{text}")]
        async fn parse<T, const N: usize>(text: &str) -> Option<Vec<T>>
        where
            T: std::str::FromStr,
            Vec<T>: larder::Cacheable,
        {
            (0..N).map(|_| text.parse().ok()).collect()
        }
        alone(async {
            assert_eq!(parse::<u8, 2>("1").await, Some(vec![1u8, 1]));
            assert_eq!(parse::<u64, 2>("1").await, Some(vec![1u64, 1]));
            assert_eq!(parse::<u8, 1>("1").await, Some(vec![1u8]));
            assert_eq!(parse::<u8, 1>("1").key(), "parse:u8:1:1");
        })
        .await;
    }

    #[tokio::test]
    async fn a_generic_function_without_a_template_is_apart_per_type() {
        #[cached(ttl = 60)]
        async fn name<T>(id: u64) -> String {
            format!("{} {id}", std::any::type_name::<T>())
        }
        alone(async {
            assert_eq!(name::<u8>(1).await, "u8 1");
            assert_eq!(name::<u16>(1).await, "u16 1");
        })
        .await;
    }

    #[tokio::test]
    async fn a_bare_type_parameter_is_a_plain_value() {
        #[cached(ttl = 60, key = "echo:{T}:{value}")]
        async fn echo<T: KeyPart + larder::Cacheable>(value: T) -> T {
            value
        }
        alone(async {
            assert_eq!(echo(1).await, 1);
            assert_eq!(echo(1).peek().await, Some(1));
        })
        .await;
    }

    #[tokio::test]
    async fn a_function_is_recursive() {
        #[cached(ttl = 60, key = "fib:{n}")]
        async fn fib(n: u64) -> u64 {
            if n < 2 { n } else { Box::pin(fib(n - 1)).await + Box::pin(fib(n - 2)).await }
        }
        alone(async {
            assert_eq!(fib(50).await, 12_586_269_025);
            assert_eq!(fib(49).peek().await, Some(7_778_742_049));
        })
        .await;
    }

    #[tokio::test]
    async fn a_function_is_made_by_a_macro() {
        macro_rules! getter {
            ($name:ident, $arg:ident: $ty:ty, $key:literal, $ttl:expr) => {
                #[cached(ttl = $ttl, key = $key)]
                async fn $name($arg: $ty) -> $ty {
                    let value = $arg;
                    value + 1
                }
            };
        }
        getter!(next, id: u64, "next:{id}", secs(5));
        alone(async {
            assert_eq!(next(1).await, 2);
            assert_eq!(next(1).key(), "next:1");
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_named_by_a_macro() {
        macro_rules! hashed {
            ($name:ident) => {
                #[cached(ttl = 60)]
                async fn $name(id: u64) -> u64 {
                    id
                }
            };
        }
        hashed!(echo);
        alone(async { assert_eq!(echo(1).await, 1) }).await;
    }

    #[tokio::test]
    async fn inert_attributes_stand_below() {
        #[cached(ttl = 60, key = "old:{id}")]
        /// Documented.
        #[cfg(not(windows))]
        #[deprecated]
        #[must_use]
        #[inline]
        #[allow(clippy::unused_async)]
        #[rustfmt::skip]
        async fn old(id: u64) -> u64 { id }

        #[cached(ttl = 60, key = "old:{id}")]
        #[cfg(windows)]
        async fn old(id: u64) -> Missing {}

        #[allow(deprecated)]
        let call = alone(async { old(1).await });
        assert_eq!(call.await, 1);
    }

    #[tokio::test]
    async fn a_call_is_send_where_its_body_is() {
        #[cached(ttl = 60, key = "user:{id}")]
        async fn get_user(id: u64) -> u64 {
            tokio::task::yield_now().await;
            id
        }
        alone(async { assert_eq!(tokio::spawn(get_user(1)).await.unwrap(), 1) }).await;
    }

    #[tokio::test]
    async fn a_body_need_not_be_send() {
        #[cached(ttl = 60, detached = false)]
        async fn count(id: u64) -> u64 {
            let count = Rc::new(Cell::new(id));
            tokio::task::yield_now().await;
            count.set(count.get() + 1);
            count.get()
        }
        alone(async { assert_eq!(count(1).await, 2) }).await;
    }
}

mod methods {
    use super::*;

    struct Repo<T> {
        tenant: u32,
        of: PhantomData<T>,
    }

    impl<T> Repo<T> {
        fn of(tenant: u32) -> Self {
            Self { tenant, of: PhantomData }
        }

        #[cached(ttl = 60, key = "list:{Self}:{self.tenant}:{page}")]
        async fn list(&self, page: u32) -> String {
            format!("{} {} {page}", std::any::type_name::<T>(), self.tenant)
        }

        #[cached(ttl = 60, key = "next:{self.tenant}")]
        async fn next(&mut self) -> u32 {
            self.tenant += 1;
            self.tenant
        }

        #[cached(ttl = 60, key = "owned:{self.tenant}:{page}")]
        async fn owned(self: Arc<Self>, page: u32) -> u32 {
            self.tenant + page
        }

        #[cached(ttl = 60, key = "into:{self.tenant}")]
        async fn into_tenant(self) -> u32 {
            self.tenant
        }

        #[cached(ttl = 60)]
        async fn name(id: u64) -> String {
            format!("{} {id}", std::any::type_name::<T>())
        }

        #[cached(ttl = 60, skip(self))]
        async fn skipped(&self) -> String
        where
            Self: Sized,
        {
            std::any::type_name::<T>().to_owned()
        }
    }

    #[tokio::test]
    async fn a_method_of_a_generic_impl_has_its_type_in_the_key() {
        alone(async {
            assert_eq!(Repo::<u8>::of(1).list(2).await, "u8 1 2");
            assert_eq!(Repo::<u16>::of(1).list(2).await, "u16 1 2");
        })
        .await;
    }

    #[tokio::test]
    async fn a_method_mutates_its_receiver_on_a_miss() {
        alone(async {
            let mut repo = Repo::<u8>::of(1);
            assert_eq!(repo.next().await, 2);
            assert_eq!(repo.tenant, 2);
        })
        .await;
    }

    #[tokio::test]
    async fn a_method_takes_an_arc_of_its_receiver() {
        alone(async { assert_eq!(Arc::new(Repo::<u8>::of(1)).owned(2).await, 3) }).await;
    }

    #[tokio::test]
    async fn a_method_takes_its_receiver() {
        alone(async { assert_eq!(Repo::<u8>::of(1).into_tenant().await, 1) }).await;
    }

    #[tokio::test]
    async fn an_associated_function_of_a_generic_impl_is_apart_per_type() {
        alone(async {
            assert_eq!(Repo::<u8>::name(1).await, "u8 1");
            assert_eq!(Repo::<u16>::name(1).await, "u16 1");
        })
        .await;
    }

    #[tokio::test]
    async fn a_method_of_a_generic_impl_is_apart_per_type_by_its_path() {
        alone(async {
            assert_eq!(Repo::<u8>::of(1).skipped().await, "u8");
            assert_eq!(Repo::<u16>::of(1).skipped().await, "u16");
        })
        .await;
    }

    trait Users {
        async fn get_user(&self, id: u64) -> u64;

        #[cached(ttl = 60, key = "users:{Self}:count", skip(self))]
        async fn count(&self) -> usize {
            std::any::type_name::<Self>().len()
        }
    }

    impl Users for Repo<u8> {
        #[cached(ttl = 60, key = "user:{self.tenant}:{id}")]
        async fn get_user(&self, id: u64) -> u64 {
            id + u64::from(self.tenant)
        }
    }

    #[tokio::test]
    async fn a_method_implements_a_trait() {
        alone(async {
            assert_eq!(Repo::of(1).get_user(2).await, 3);
            assert_eq!(Repo::of(1).get_user(2).peek().await, Some(3));
        })
        .await;
    }

    #[tokio::test]
    async fn a_method_is_the_default_of_a_trait() {
        alone(async {
            let repo = Repo::<u8>::of(1);
            repo.count().await;
            assert!(is_hit(repo.count()).await);
        })
        .await;
    }

    #[async_trait::async_trait]
    trait Boxed: Sync {
        async fn get_user(&self, id: u64, name: &str) -> Result<User, String>;
    }

    #[async_trait::async_trait]
    impl Boxed for AtomicU32 {
        #[cached(ttl = 60, key = "user:{id}:{name}", skip(self))]
        async fn get_user(&self, id: u64, name: &str) -> Result<User, String> {
            self.fetch_add(1, Relaxed);
            if id == 0 {
                Err("no such user".to_owned())
            } else {
                Ok(User { name: name.to_owned() })
            }
        }
    }

    #[tokio::test]
    async fn a_method_of_an_async_trait_is_cached() {
        let runs = AtomicU32::new(0);
        alone(async {
            let users: &dyn Boxed = &runs;
            assert_eq!(users.get_user(1, "Ada").await, Ok(ada()));
            assert_eq!(users.get_user(1, "Ada").await, Ok(ada()));
        })
        .await;
        assert_eq!(runs.into_inner(), 1);
    }

    #[async_trait::async_trait(?Send)]
    trait BoxedHere {
        async fn next(&self, id: u64) -> u64;
    }

    #[async_trait::async_trait(?Send)]
    impl BoxedHere for Cell<u64> {
        #[cached(ttl = 60, key = "next:{id}", skip(self))]
        async fn next(&self, id: u64) -> u64 {
            tokio::task::yield_now().await;
            self.set(self.get() + id);
            self.get()
        }
    }

    #[async_trait::async_trait]
    trait BoxedDefault: Sync {
        #[cached(ttl = 60, skip(self))]
        async fn sum(&self, (left, right): (u64, u64), mut twice: u64) -> u64 {
            twice *= 2;
            left + right + twice
        }
    }

    impl BoxedDefault for AtomicU32 {}

    #[tokio::test]
    async fn a_method_is_the_default_of_an_async_trait() {
        alone(async { assert_eq!(AtomicU32::new(0).sum((1, 2), 3).await, 9) }).await;
    }

    #[tokio::test]
    async fn a_method_of_an_async_trait_need_not_be_send() {
        let next = Cell::new(1);
        alone(async {
            assert_eq!(next.next(1).await, 2);
            assert_eq!(next.next(1).await, 2);
        })
        .await;
    }
}

mod outputs {
    use super::*;

    #[tokio::test]
    async fn an_ok_is_stored_and_an_error_is_not() {
        #[cached(ttl = 60, key = "half:{of}")]
        async fn half(of: u64) -> Result<u64, String> {
            if of.is_multiple_of(2) { Ok(of / 2) } else { Err("odd".to_owned()) }
        }
        alone(async {
            half(2).await.unwrap();
            half(3).await.unwrap_err();
            assert_eq!(half(2).peek().await, Some(Ok(1)));
            assert_eq!(half(3).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_some_is_stored_and_a_none_is_not() {
        #[cached(ttl = 60, key = "half:{of}")]
        async fn half(of: u64) -> Option<u64> {
            of.is_multiple_of(2).then_some(of / 2)
        }
        alone(async {
            half(2).await;
            half(3).await;
            assert_eq!(half(2).peek().await, Some(Some(1)));
            assert_eq!(half(3).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_none_is_stored_for_its_own_time() {
        #[cached(ttl = 60, none_ttl = 5, key = "half:{of}")]
        async fn half(of: u64) -> Result<Option<u64>, String> {
            Ok(of.is_multiple_of(2).then_some(of / 2))
        }
        alone(async {
            half(2).await.unwrap();
            half(3).await.unwrap();
            assert_eq!(half(2).expires_in().await, Some(secs(60)));
            assert_eq!(half(3).expires_in().await, Some(secs(5)));
            assert_eq!(half(3).peek().await, Some(Ok(None)));
        })
        .await;
    }

    #[tokio::test]
    async fn an_alias_of_a_result_is_one() {
        #[cached(ttl = 60, key = "read:{name}")]
        async fn read(name: &str) -> io::Result<String> {
            if name.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(name.to_owned()) }
        }
        alone(async {
            read("").await.unwrap_err();
            assert!(read("").peek().await.is_none());
            read("a").await.unwrap();
            assert_eq!(read("a").peek().await.unwrap().unwrap(), "a");
        })
        .await;
    }

    #[tokio::test]
    async fn an_alias_with_a_question_mark_inside_is_one() {
        #[cached(ttl = 60, key = "parse:{text}")]
        async fn parse(text: &str) -> anyhow::Result<u64> {
            let number: u64 = text.parse()?;
            anyhow::ensure!(number > 0, "zero");
            Ok(number)
        }
        alone(async {
            assert_eq!(parse("1").await.unwrap(), 1);
            assert_eq!(parse("0").await.unwrap_err().to_string(), "zero");
            parse("x").await.unwrap_err();
        })
        .await;
    }

    #[tokio::test]
    async fn an_error_is_boxed() {
        #[cached(ttl = 60, key = "parse:{text}")]
        async fn parse(text: &str) -> Result<u64, Box<dyn StdError + Send + Sync>> {
            if text.is_empty() {
                return Err("empty".into());
            }
            if text == "never" {
                return Err(Box::new(fmt::Error));
            }
            Ok(text.parse()?)
        }
        alone(async {
            assert_eq!(parse("1").await.unwrap(), 1);
            parse("").await.unwrap_err();
            parse("x").await.unwrap_err();
        })
        .await;
    }

    #[tokio::test]
    async fn an_error_is_neither_send_nor_clone() {
        #[derive(Debug)]
        struct Odd(#[allow(dead_code)] Rc<str>);

        #[cached(ttl = 60, key = "half:{of}")]
        async fn half(of: u64) -> Result<u64, Odd> {
            if of.is_multiple_of(2) { Ok(of / 2) } else { Err(Odd("odd".into())) }
        }
        alone(async {
            half(2).await.unwrap();
            half(3).await.unwrap_err();
        })
        .await;
    }

    #[tokio::test]
    async fn a_unit_is_a_value() {
        #[cached(ttl = 60, skip(runs))]
        async fn run(runs: &Cell<u32>) {
            runs.set(runs.get() + 1);
        }
        alone(async {
            let runs = Cell::new(0);
            run(&runs).await;
            run(&runs).await;
            assert_eq!(runs.get(), 1);
        })
        .await;
    }

    #[tokio::test]
    async fn a_result_that_never_fails_is_one() {
        #[cached(ttl = 60)]
        async fn answer() -> Result<u32, Infallible> {
            Ok(42)
        }
        alone(async {
            let Ok(answer) = answer().await;
            assert_eq!(answer, 42);
        })
        .await;
    }

    #[tokio::test]
    async fn a_value_is_shared_by_arc() {
        #[cached(ttl = 60, key = "user:{id}")]
        async fn get_user(id: u64) -> Result<Arc<User>, String> {
            if id == 0 { Err("no such user".to_owned()) } else { Ok(Arc::new(ada())) }
        }
        alone(async {
            let user = get_user(1).await.unwrap();
            assert!(Arc::ptr_eq(&user, &get_user(1).await.unwrap()));
        })
        .await;
    }

    #[tokio::test]
    async fn memory_adds_nothing_to_an_arc_but_a_reference() {
        async fn references(run: impl Future<Output = Arc<User>>) -> usize {
            Arc::strong_count(&run.await)
        }
        #[cached(ttl = 60, key = "plain:{id}")]
        async fn plain(id: u64) -> Arc<User> {
            Arc::new(User { name: format!("user {id}") })
        }
        #[cached(ttl = 60, key = "optional:{id}")]
        async fn optional(id: u64) -> Option<Arc<User>> {
            Some(plain(id).uncached().await)
        }
        #[cached(ttl = 60, none_ttl = 5, key = "both:{id}")]
        async fn both(id: u64) -> Result<Option<Arc<User>>, String> {
            if id == 0 { Ok(None) } else { Ok(Some(plain(id).uncached().await)) }
        }
        alone(async {
            // The caller's, and that of the entry.
            assert_eq!(references(plain(1)).await, 2);
            assert_eq!(references(async { optional(1).await.unwrap() }).await, 2);
            assert_eq!(references(async { both(1).await.unwrap().unwrap() }).await, 2);
            assert_eq!(references(async { both(1).await.unwrap().unwrap() }).await, 2);
            assert_eq!(both(0).await, Ok(None));
            assert_eq!(both(0).peek().await, Some(Ok(None)));
        })
        .await;
    }

    #[tokio::test]
    async fn an_arc_of_what_has_no_size_is_a_value_like_any_other() {
        #[cached(ttl = 60, key = "name:{id}")]
        async fn name(id: u64) -> Arc<str> {
            format!("user {id}").into()
        }
        alone(async {
            let first = name(1).await;
            assert!(Arc::ptr_eq(&first, &name(1).await));
        })
        .await;
    }

    #[tokio::test]
    async fn an_arc_that_stays_in_memory_needs_no_serde() {
        struct Compiled;

        #[cached(ttl = 60, key = "compiled:{id}", remote = false)]
        async fn compiled(id: u64) -> Result<Arc<Compiled>, String> {
            if id == 0 { Err("none".to_owned()) } else { Ok(Arc::new(Compiled)) }
        }
        alone(async {
            let first = compiled(1).await.unwrap();
            assert!(Arc::ptr_eq(&first, &compiled(1).await.unwrap()));
        })
        .await;
    }

    #[tokio::test]
    async fn the_last_expression_is_coerced() {
        type Names = Box<[String]>;

        #[cached(ttl = 60)]
        async fn names() -> Option<Names> {
            Some(Box::new(["Ada".to_owned()]))
        }
        alone(async { assert_eq!(names().await.unwrap().len(), 1) }).await;
    }
}

mod options {
    use super::*;

    #[tokio::test]
    async fn an_age_is_that_of_the_run_for_any_life() {
        for days in [1, 40, 4_000] {
            let ttl = Duration::from_secs(days * 24 * 60 * 60);
            let clock = ManualClock::new();
            let cache = Cache::builder("test").clock(clock.clone()).build().unwrap();
            #[cached(ttl = ttl, key = "age:{days}", skip(ttl))]
            async fn age(days: u64, ttl: Duration) -> u64 {
                days + ttl.as_secs()
            }
            cache
                .scope(async {
                    age(days, ttl).await;
                    clock.advance(Duration::from_secs(3_600));
                    let (_, source) = age(days, ttl).with_source().await;
                    assert_eq!(source, Source::Memory { age: Duration::from_secs(3_600) });
                })
                .await;
        }
    }

    #[tokio::test]
    async fn a_value_that_cache_if_rejects_is_not_stored() {
        #[cached(ttl = 60, cache_if = |found| !found.is_empty(), key = "search:{words}")]
        async fn search(words: &str) -> Result<Vec<String>, String> {
            Ok(words.split_whitespace().map(str::to_owned).collect())
        }
        alone(async {
            search("").await.unwrap();
            search("a b").await.unwrap();
            assert!(search("").peek().await.is_none());
            assert_eq!(search("a b").peek().await.unwrap().unwrap().len(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn share_error_makes_the_copies() {
        #[derive(Debug, PartialEq)]
        enum DbError {
            Lost,
            Copy(u32),
        }
        #[cached(ttl = 60, share_error = |error| DbError::Copy(u32::from(*error == DbError::Lost)))]
        async fn load() -> Result<u32, DbError> {
            tokio::time::sleep(secs(1)).await;
            Err(DbError::Lost)
        }
        alone(async {
            let (leader, follower) = tokio::join!(load(), load());
            assert_eq!(leader, Err(DbError::Lost));
            assert_eq!(follower, Err(DbError::Copy(1)));
        })
        .await;
    }

    #[tokio::test]
    async fn local_bounds_the_life_in_memory() {
        #[cached(ttl = 60, local = "5s")]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().expires_in().await, Some(secs(5)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_value_is_kept_out_of_memory() {
        #[cached(ttl = 60, local = false)]
        async fn answer() -> u32 {
            42
        }
        alone(async {
            answer().await;
            assert_eq!(answer().peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_value_in_memory_needs_no_serde() {
        #[derive(Clone)]
        struct Compiled(fn(u32) -> u32);

        #[cached(ttl = 60, remote = false, key = "double:{by}")]
        async fn compiled(by: u32) -> Option<Compiled> {
            (by == 2).then_some(Compiled(|number| number * 2))
        }
        alone(async {
            compiled(2).await;
            let compiled = compiled(2).peek().await.unwrap().unwrap();
            assert_eq!((compiled.0)(4), 8);
        })
        .await;
    }

    #[tokio::test]
    async fn a_static_reference_stays_in_memory() {
        #[cached(ttl = 60, remote = false)]
        async fn name() -> Result<&'static str, &'static str> {
            Ok("Ada")
        }
        alone(async {
            name().await.unwrap();
            assert_eq!(name().peek().await, Some(Ok("Ada")));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_detached_run_survives_its_caller() {
        #[cached(ttl = 60, detached, key = "slow:{id}")]
        async fn slow(id: u64) -> u64 {
            tokio::time::sleep(secs(10)).await;
            id
        }
        alone(async {
            tokio::time::timeout(secs(1), slow(1)).await.unwrap_err();
            assert_eq!(slow(1).peek().await, None);
            tokio::time::sleep(secs(10)).await;
            assert_eq!(slow(1).peek().await, Some(1));
        })
        .await;
    }

    #[tokio::test]
    async fn a_detached_method_owns_its_receiver() {
        struct Repo;

        impl Repo {
            #[cached(ttl = 60, detached, skip(self))]
            async fn get(self: Arc<Self>, name: &'static str) -> usize
            where
                Self: Send + Sync,
            {
                name.len()
            }
        }
        alone(async { assert_eq!(Arc::new(Repo).get("Ada").await, 3) }).await;
    }

    #[tokio::test]
    async fn a_version_makes_old_values_misses() {
        mod old {
            #[larder::cached(ttl = 60, key = "total:{cart}")]
            pub(super) async fn total(cart: u64) -> u64 {
                cart
            }
        }
        mod new {
            #[larder::cached(ttl = 60, key = "total:{cart}", version = 2)]
            pub(super) async fn total(cart: u64) -> u64 {
                cart * 2
            }
        }
        alone(async {
            old::total(1).await;
            assert_eq!(new::total(1).await, 2);
        })
        .await;
    }
}

mod caches {
    use super::*;

    struct Users {
        cache: Cache,
        shared: Arc<Cache>,
    }

    impl Users {
        fn new() -> Self {
            Self { cache: cache_of_test(), shared: Arc::new(cache_of_test()) }
        }

        fn made(&self) -> Cache {
            self.cache.clone()
        }

        #[cached(ttl = 60, cache = self.cache, skip(self))]
        async fn by_field(&self) -> u32 {
            1
        }

        #[cached(ttl = 60, cache = &self.cache, skip(self))]
        async fn by_reference(&self) -> u32 {
            1
        }

        #[cached(ttl = 60, cache = self.shared, skip(self))]
        async fn by_arc(&self) -> u32 {
            1
        }

        #[cached(ttl = 60, cache = self.made(), skip(self))]
        async fn by_call(&self) -> u32 {
            1
        }
    }

    #[tokio::test]
    async fn a_cache_is_a_field() {
        let users = Users::new();
        users.by_field().await;
        assert!(is_hit(users.by_field()).await);
        assert!(!is_hit(Users::new().by_field()).await);
    }

    #[tokio::test]
    async fn a_cache_is_a_reference() {
        let users = Users::new();
        users.by_reference().await;
        assert!(is_hit(users.by_reference()).await);
    }

    #[tokio::test]
    async fn a_cache_is_an_arc() {
        let users = Users::new();
        users.by_arc().await;
        assert!(is_hit(users.by_arc()).await);
    }

    #[tokio::test]
    async fn a_cache_is_what_a_method_returns() {
        let users = Users::new();
        users.by_call().await;
        assert!(is_hit(users.by_call()).await);
    }

    #[tokio::test]
    async fn the_scope_is_not_asked_where_a_cache_is_given() {
        let users = Users::new();
        users.by_field().await;
        alone(async { assert!(is_hit(users.by_field()).await) }).await;
    }
}

mod verbs {
    use super::*;

    #[cached(ttl = 60, key = "user:{id}", skip(runs))]
    async fn get_user(id: u64, runs: &Cell<u32>) -> Result<User, String> {
        runs.set(runs.get() + 1);
        if id == 0 { Err("no such user".to_owned()) } else { Ok(ada()) }
    }

    fn eve() -> User {
        User { name: "Eve".to_owned() }
    }

    #[tokio::test]
    async fn a_source_is_told() {
        let runs = Cell::new(0);
        alone(async {
            assert_eq!(get_user(1, &runs).with_source().await, (Ok(ada()), Source::Function));
            let at_once = Source::Memory { age: Duration::ZERO };
            assert_eq!(get_user(1, &runs).with_source().await, (Ok(ada()), at_once));
        })
        .await;
    }

    #[tokio::test]
    async fn a_peek_does_not_run() {
        let runs = Cell::new(0);
        alone(async { assert_eq!(get_user(1, &runs).peek().await, None) }).await;
        assert_eq!(runs.get(), 0);
    }

    #[tokio::test]
    async fn a_refresh_runs() {
        let runs = Cell::new(0);
        alone(async {
            get_user(1, &runs).await.unwrap();
            get_user(1, &runs).refresh().await.unwrap();
        })
        .await;
        assert_eq!(runs.get(), 2);
    }

    #[tokio::test]
    async fn what_is_uncached_is_not_stored() {
        let runs = Cell::new(0);
        alone(async {
            get_user(1, &runs).uncached().await.unwrap();
            assert_eq!(get_user(1, &runs).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn an_invalidated_entry_is_gone() {
        let runs = Cell::new(0);
        alone(async {
            get_user(1, &runs).await.unwrap();
            get_user(1, &runs).invalidate().await.unwrap();
            assert_eq!(get_user(1, &runs).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn an_entry_outlives_the_arguments() {
        alone(async {
            let entry = {
                let runs = Cell::new(0);
                get_user(1, &runs).into_entry()
            };
            assert_eq!(entry.key(), "user:1");
            entry.put(eve()).await.unwrap();
            let runs = Cell::new(0);
            assert_eq!(get_user(1, &runs).await, Ok(eve()));
            entry.invalidate().await.unwrap();
            assert_eq!(get_user(1, &runs).await, Ok(ada()));
        })
        .await;
    }

    #[tokio::test]
    async fn a_result_takes_a_value_or_itself() {
        let runs = Cell::new(0);
        alone(async {
            get_user(1, &runs).put(eve()).await.unwrap();
            get_user(2, &runs).put(Ok(eve())).await.unwrap();
            assert_eq!(get_user(1, &runs).await, Ok(eve()));
            assert_eq!(get_user(2, &runs).await, Ok(eve()));
        })
        .await;
    }

    #[tokio::test]
    async fn an_error_that_is_put_removes_the_entry() {
        let runs = Cell::new(0);
        alone(async {
            get_user(1, &runs).await.unwrap();
            get_user(1, &runs).put(Err("gone".to_owned())).await.unwrap();
            assert_eq!(get_user(1, &runs).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn an_option_takes_a_value_or_itself() {
        #[cached(ttl = 60, none_ttl = 5, key = "nick:{id}")]
        async fn nick(id: u64) -> Option<User> {
            (id == 0).then(ada)
        }
        alone(async {
            nick(1).put(eve()).await.unwrap();
            nick(2).put(Some(eve())).await.unwrap();
            nick(0).put(None).await.unwrap();
            assert_eq!(nick(1).await, Some(eve()));
            assert_eq!(nick(2).await, Some(eve()));
            assert_eq!(nick(0).await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_result_of_an_option_takes_a_value_or_itself() {
        #[cached(ttl = 60, key = "find:{id}")]
        async fn find(id: u64) -> Result<Option<User>, String> {
            Err(id.to_string())
        }
        alone(async {
            find(1).put(eve()).await.unwrap();
            find(2).put(Some(eve())).await.unwrap();
            find(3).put(Ok(Some(eve()))).await.unwrap();
            assert_eq!(find(1).await, Ok(Some(eve())));
            assert_eq!(find(2).await, Ok(Some(eve())));
            assert_eq!(find(3).await, Ok(Some(eve())));
        })
        .await;
    }

    #[tokio::test]
    async fn a_plain_value_is_put() {
        #[cached(ttl = 60, key = "plain:{id}")]
        async fn plain(id: u64) -> User {
            User { name: id.to_string() }
        }
        alone(async {
            plain(1).put(eve()).await.unwrap();
            assert_eq!(plain(1).await, eve());
        })
        .await;
    }

    #[tokio::test]
    async fn an_arc_is_made_of_what_is_put() {
        #[cached(ttl = 60, key = "arc:{id}")]
        async fn arc(id: u64) -> Result<Arc<User>, String> {
            Err(id.to_string())
        }
        alone(async {
            arc(1).put(eve()).await.unwrap();
            arc(2).put(Arc::new(eve())).await.unwrap();
            assert_eq!(arc(1).await.unwrap(), Arc::new(eve()));
            assert_eq!(arc(2).await.unwrap(), Arc::new(eve()));
        })
        .await;
    }
}
