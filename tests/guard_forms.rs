//! What `#[rate_limited]` and `#[locked]` accept, and where they stand. What a limit and a lock do is
//! tested elsewhere.

#![cfg(feature = "limit")]
#![warn(clippy::pedantic, missing_docs, unreachable_pub)]
// A function of a test awaits nothing, and takes what the attribute is to be tested with.
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]
// What is counted here is never that much.
#![allow(clippy::cast_possible_truncation)]

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt::{Debug, Display},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use larder::{
    Batch, Cache, Cached, KeyPart, LockError, RateLimited, cached, invalidates, locked,
    rate_limited, updates,
};

/// A test has a cache to itself.
async fn alone<F: Future>(test: F) -> F::Output {
    Cache::memory().scope(test).await
}

fn is_send<T: Send>(value: T) -> T {
    value
}

/// What a guard says, and what the function does.
#[derive(Debug, Clone, PartialEq)]
enum Failed {
    Limit,
    Lock,
    Body,
}

impl From<RateLimited> for Failed {
    fn from(_: RateLimited) -> Self {
        Self::Limit
    }
}

impl From<LockError> for Failed {
    fn from(_: LockError) -> Self {
        Self::Lock
    }
}

/// An alias, as of `io` and `anyhow`.
type Fallible<T> = Result<T, Failed>;

struct Shop {
    tenant: u32,
    most: u32,
    cache: Cache,
}

fn shop(tenant: u32) -> Shop {
    Shop { tenant, most: 1, cache: Cache::memory() }
}

mod functions {
    use super::*;

    #[rate_limited(limit = 1, per = "1h", key = "free:{id}")]
    async fn free_limited(id: u64) -> Result<u64, Failed> {
        Ok(id)
    }

    #[locked(key = "free:{id}")]
    async fn free_locked(id: u64) -> Result<u64, Failed> {
        Ok(id)
    }

    #[tokio::test]
    async fn a_free_one() {
        alone(async {
            assert_eq!(is_send(free_limited(1)).await, Ok(1));
            assert_eq!(free_limited(1).await, Err(Failed::Limit));
            assert_eq!(free_limited(2).await, Ok(2));
            assert_eq!(is_send(free_locked(1)).await, Ok(1));
        })
        .await;
    }

    #[tokio::test]
    async fn a_nested_one() {
        #[rate_limited(limit = 1, per = "1h")]
        #[locked(key = "nested")]
        async fn nested() -> Fallible<u64> {
            Ok(1)
        }
        alone(async {
            assert_eq!(nested().await, Ok(1));
            assert_eq!(nested().await, Err(Failed::Limit));
        })
        .await;
    }

    #[rate_limited(limit = 1, per = "1h", key = "show:{T}:{N}:{value}")]
    #[locked(key = "show:{T}:{N}:{value}", wait = "1s")]
    async fn generic<T: KeyPart + Display, const N: usize>(value: T) -> Fallible<String> {
        Ok(format!("{value} {N}"))
    }

    #[rate_limited(limit = 1, per = "1h", key = "any:{value}")]
    #[locked(key = ("any:{text}", text = value.to_string()))]
    async fn of_any(value: impl KeyPart + Display) -> Fallible<String> {
        Ok(value.to_string())
    }

    #[tokio::test]
    async fn a_generic_one() {
        alone(async {
            assert_eq!(generic::<_, 1>("a").await.unwrap(), "a 1");
            assert_eq!(generic::<_, 2>("a").await.unwrap(), "a 2");
            assert_eq!(generic::<_, 1>("a").await, Err(Failed::Limit));
            assert_eq!(of_any("a").await.unwrap(), "a");
            // Whatever its type is, by the text of the key.
            assert_eq!(of_any("a".to_owned()).await, Err(Failed::Limit));
        })
        .await;
    }

    #[rate_limited(limit = 9, per = "1h", key = "of:{n}")]
    #[locked(key = "sum:{n}")]
    async fn recursive(n: u64) -> Fallible<u64> {
        Ok(if n == 0 { 0 } else { n + Box::pin(recursive(n - 1)).await? })
    }

    #[tokio::test]
    async fn a_recursive_one() {
        alone(async { assert_eq!(recursive(3).await, Ok(6)) }).await;
    }

    #[rate_limited(limit = 1, per = "1h", key = "borrows:{name}")]
    #[locked(key = "borrows:{name}")]
    async fn borrows<'a>(name: &'a str, counts: &mut Vec<u64>) -> Fallible<&'a str> {
        counts.push(1);
        Ok(&name[1..])
    }

    #[rate_limited(limit = 1, per = "1h", key = "moves:{name}")]
    #[locked(key = "moves:{name}")]
    async fn moves(name: String) -> Fallible<Vec<String>> {
        Ok(vec![name])
    }

    #[tokio::test]
    async fn one_that_borrows_and_one_that_moves_its_arguments() {
        alone(async {
            let mut counts = Vec::new();
            assert_eq!(borrows("Ada", &mut counts).await, Ok("da"));
            assert_eq!(borrows("Ada", &mut counts).await, Err(Failed::Limit));
            assert_eq!(counts, [1]);
            assert_eq!(moves("Ada".to_owned()).await.unwrap(), ["Ada"]);
        })
        .await;
    }

    #[rate_limited(limit = 1, per = "1h", key = "pattern:{left}:{_right}")]
    #[locked(key = "pattern:{left}")]
    async fn of_patterns((left, _right): (u64, u64), _: u64) -> Fallible<u64> {
        Ok(left)
    }

    #[rate_limited(limit = 1, per = "1h", key = "raw:{type}")]
    #[locked(key = "raw:{type}")]
    async fn of_a_keyword(r#type: u64) -> Fallible<u64> {
        Ok(r#type)
    }

    #[tokio::test]
    async fn one_of_arguments_with_odd_names() {
        alone(async {
            assert_eq!(of_patterns((1, 2), 3).await, Ok(1));
            assert_eq!(of_a_keyword(1).await, Ok(1));
        })
        .await;
    }
}

mod outputs {
    use super::*;

    #[tokio::test]
    async fn one_without_a_name_inside() {
        #[rate_limited(limit = 1, per = "1h")]
        #[locked(key = "unnamed")]
        async fn unnamed(id: u64) -> Result<impl Display, Failed> {
            if id == 0 {
                return Err(Failed::Body);
            }
            Ok(id)
        }
        alone(async {
            assert!(matches!(unnamed(0).await, Err(Failed::Body)));
            assert!(matches!(unnamed(1).await, Err(Failed::Limit)));
        })
        .await;
    }

    #[tokio::test]
    async fn one_that_is_coerced() {
        #[rate_limited(limit = 2, per = "1h")]
        #[locked(key = "coerced")]
        async fn coerced(number: &str) -> Result<Box<dyn Debug>, Box<dyn StdError + Send + Sync>> {
            if number.is_empty() {
                return Ok(Box::new(""));
            }
            let number: u64 = number.parse()?;
            Ok(Box::new(number))
        }
        alone(async {
            assert!(coerced("one").await.unwrap_err().is::<std::num::ParseIntError>());
            assert_eq!(format!("{:?}", coerced("1").await.unwrap()), "1");
            assert!(coerced("1").await.unwrap_err().is::<RateLimited>());
        })
        .await;
    }

    #[tokio::test]
    async fn one_of_any_error() {
        #[rate_limited(limit = 1, per = "1h")]
        #[locked(key = "anyhow")]
        async fn of_anyhow() -> anyhow::Result<()> {
            Ok(())
        }
        alone(async {
            of_anyhow().await.unwrap();
            assert!(of_anyhow().await.unwrap_err().is::<RateLimited>());
        })
        .await;
    }

    #[tokio::test]
    async fn the_denial_itself() {
        #[rate_limited(limit = 1, per = "1h")]
        async fn limited() -> Result<(), RateLimited> {
            Ok(())
        }
        #[locked(key = "itself")]
        async fn alone_in_it() -> Result<(), LockError> {
            Ok(())
        }
        alone(async {
            limited().await.unwrap();
            assert_eq!(limited().await.unwrap_err().limit, 1);
            alone_in_it().await.unwrap();
        })
        .await;
    }
}

mod methods {
    use super::*;

    impl Shop {
        #[rate_limited(limit = 1, per = "1h", key = "sell:{self.tenant}")]
        #[locked(key = "sell:{self.tenant}")]
        async fn sell(&self, pieces: u32) -> Fallible<u32> {
            Ok(pieces)
        }

        #[rate_limited(limit = self.most, per = "1h", key = "restock:{self.tenant}")]
        #[locked(key = "restock:{self.tenant}")]
        async fn restock(&mut self, pieces: u32) -> Fallible<u32> {
            self.most += pieces;
            Ok(self.most)
        }

        #[rate_limited(limit = 1, per = "1h", key = "of:{Self}:{tenant}")]
        #[locked(key = "of:{Self}:{tenant}")]
        async fn open(tenant: u32) -> Fallible<Self> {
            Ok(shop(tenant))
        }

        #[rate_limited(limit = 1, per = "1h", key = "close:{self.tenant}")]
        #[locked(key = "close:{self.tenant}")]
        async fn close(self: Arc<Self>) -> Fallible<u32> {
            Ok(self.tenant)
        }

        #[rate_limited(limit = 1, per = "1h", key = "given", cache = self.cache)]
        #[locked(key = "given", cache = &self.cache)]
        async fn given(&self) -> Fallible<u32> {
            Ok(self.tenant)
        }

        #[rate_limited(limit = 1, per = "1h", cache = cache)]
        #[cached(ttl = 60, key = "above:{id}", cache = cache, skip(cache))]
        async fn above(id: u64, cache: Arc<Cache>) -> Fallible<u64> {
            Ok(id)
        }
    }

    #[tokio::test]
    async fn of_a_reference() {
        alone(async {
            let mut shop = shop(1);
            assert_eq!(is_send(shop.sell(2)).await, Ok(2));
            assert_eq!(shop.sell(2).await, Err(Failed::Limit));
            shop.most = 2;
            assert_eq!(shop.restock(0).await, Ok(2));
            assert_eq!(shop.restock(1).await, Ok(3));
            shop.most = 2;
            assert_eq!(shop.restock(0).await, Err(Failed::Limit));
        })
        .await;
    }

    #[tokio::test]
    async fn of_none_and_of_an_owned_one() {
        alone(async {
            let shop = Arc::new(Shop::open(1).await.unwrap());
            assert!(matches!(Shop::open(1).await, Err(Failed::Limit)));
            assert_eq!(Arc::clone(&shop).close().await, Ok(1));
            assert_eq!(shop.close().await, Err(Failed::Limit));
        })
        .await;
    }

    #[tokio::test]
    async fn the_cache_that_is_given_counts() {
        let (one, other) = (shop(1), shop(2));
        for _ in 0..2 {
            let denied = alone(one.given()).await.is_err();
            assert_eq!(denied, other.given().await.is_err());
        }
        assert_eq!(one.given().await, Err(Failed::Limit));
        let cache = Arc::new(Cache::memory());
        assert_eq!(Shop::above(1, Arc::clone(&cache)).await, Ok(1));
        assert_eq!(Shop::above(1, cache).await, Err(Failed::Limit));
    }

    trait Stock {
        async fn count(&self, sku: u64) -> Fallible<u64>;
        fn boxed(&self) -> impl Future<Output = Fallible<u64>> + Send;
    }

    impl Stock for Shop {
        #[rate_limited(limit = 1, per = "1h", key = "count:{self.tenant}:{sku}")]
        #[locked(key = "count:{self.tenant}:{sku}")]
        async fn count(&self, sku: u64) -> Fallible<u64> {
            Ok(sku)
        }

        #[rate_limited(limit = 1, per = "1h", key = "boxed:{self.tenant}")]
        #[cached(ttl = 60, key = "boxed:{self.tenant}")]
        async fn boxed(&self) -> Fallible<u64> {
            Ok(1)
        }
    }

    #[tokio::test]
    async fn of_a_trait() {
        alone(async {
            let shop = shop(1);
            assert_eq!(shop.count(1).await, Ok(1));
            assert_eq!(shop.count(1).await, Err(Failed::Limit));
            assert_eq!(is_send(shop.boxed()).await, Ok(1));
            assert_eq!(shop.boxed().await, Err(Failed::Limit));
        })
        .await;
    }

    #[async_trait::async_trait]
    trait Orders: Sync {
        async fn order(&self, sku: u64) -> Fallible<u64>;
        async fn orders(&self, of: &str) -> Fallible<usize>;
        async fn loaded(&self, ids: &[u64]) -> Fallible<HashMap<u64, u64>>;
    }

    #[async_trait::async_trait]
    impl Orders for Shop {
        #[rate_limited(limit = self.most, per = "1h", key = "order:{self.tenant}:{sku}")]
        #[locked(key = "order:{self.tenant}:{sku}")]
        async fn order(&self, sku: u64) -> Fallible<u64> {
            Ok(sku)
        }

        #[rate_limited(limit = 2, per = "1h", key = "orders:{self.tenant}")]
        #[locked(key = "orders:{self.tenant}")]
        #[cached(ttl = 60, key = "orders:{self.tenant}:{of}")]
        #[locked(key = "run:{self.tenant}")]
        #[rate_limited(limit = 1, per = "1h", key = "run:{self.tenant}")]
        async fn orders(&self, of: &str) -> Fallible<usize> {
            Ok(of.len())
        }

        #[rate_limited(limit = 2, per = "1h", cost = ids.len() as u32)]
        #[cached(ttl = 60, key = "order:{id}", each(id in ids), skip(self))]
        async fn loaded(&self, ids: &[u64]) -> Fallible<HashMap<u64, u64>> {
            Ok(ids.iter().map(|id| (*id, id + 1)).collect())
        }
    }

    #[tokio::test]
    async fn of_a_boxed_trait() {
        alone(async {
            let shop: Box<dyn Orders + Send> = Box::new(shop(1));
            assert_eq!(is_send(shop.order(1)).await, Ok(1));
            assert_eq!(shop.order(1).await, Err(Failed::Limit));
            assert_eq!(shop.orders("Ada").await, Ok(3));
            assert_eq!(shop.orders("Ada").await, Ok(3));
            assert_eq!(shop.orders("Ada").await, Err(Failed::Limit));
            assert_eq!(shop.loaded(&[1, 2]).await.unwrap().len(), 2);
            assert_eq!(shop.loaded(&[1]).await, Err(Failed::Limit));
        })
        .await;
    }

    struct Of<T>(T);

    impl<T: Sync> Of<T> {
        #[rate_limited(limit = 1, per = "1h")]
        async fn limited(&self) -> Fallible<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn without_a_key_each_instance_has_its_own_limit() {
        alone(async {
            Of(1_u8).limited().await.unwrap();
            Of(1_u64).limited().await.unwrap();
            assert_eq!(Of(2_u8).limited().await, Err(Failed::Limit));
        })
        .await;
    }
}

mod settings {
    use super::*;

    const MOST: u32 = 2;

    /// As callers see it: both the guard and the body name what the other does.
    #[rate_limited(
        limit = MOST * 2,
        per = "1h30m",
        key = "all:{id}",
        burst = 3,
        algorithm = "gcra",
        wait = "1ms",
        when_down = "deny",
        cost = if *id == 0 { 3 } else { cost_of(*id) },
    )]
    #[locked(key = ("all:{id}", id = id.wrapping_add(1)), lease = "1h", wait = 5)]
    async fn all(id: &u64) -> Fallible<u64> {
        const MOST: u64 = 7;
        fn cost_of(id: u64) -> u64 {
            id * MOST
        }
        Ok(cost_of(*id))
    }

    fn cost_of(id: u64) -> u32 {
        u32::try_from(id).unwrap_or(u32::MAX)
    }

    #[tokio::test]
    async fn all_of_them() {
        alone(async {
            assert_eq!(all(&1).await, Ok(7));
            assert_eq!(all(&2).await, Ok(14));
            assert_eq!(all(&2).await, Err(Failed::Limit));
            assert_eq!(all(&4).await, Err(Failed::Limit));
            assert_eq!(all(&0).await, Ok(0));
        })
        .await;
    }

    #[rate_limited(limit = 2, per = "1h", algorithm = "fixed_window", when_down = "allow")]
    async fn fixed() -> Fallible<()> {
        Ok(())
    }

    #[rate_limited(limit = 2, per = "1h", algorithm = "sliding_window", when_down = "local")]
    async fn sliding() -> Fallible<()> {
        Ok(())
    }

    #[tokio::test]
    async fn each_algorithm() {
        alone(async {
            let mut passed = (0, 0);
            for _ in 0..8 {
                passed.0 += u32::from(fixed().await.is_ok());
                passed.1 += u32::from(sliding().await.is_ok());
            }
            // Two windows at most: one may end here.
            assert!((2..=4).contains(&passed.0), "{passed:?}");
            assert!((2..=4).contains(&passed.1), "{passed:?}");
        })
        .await;
    }

    #[rate_limited(limit = 3, per = "1h")]
    #[rate_limited(limit = 2, per = "1d")]
    async fn twice() -> Fallible<()> {
        Ok(())
    }

    #[tokio::test]
    async fn two_limits_of_one_function_are_apart() {
        alone(async {
            assert!(twice().await.is_ok());
            assert!(twice().await.is_ok());
            assert_eq!(twice().await, Err(Failed::Limit));
        })
        .await;
    }
}

mod composed {
    use super::*;

    static RUNS: AtomicU32 = AtomicU32::new(0);

    /// The name of a limit without a key is that of the function, wherever the attribute stands.
    #[rate_limited(limit = 3, per = "1h")]
    #[locked(key = "report:{id}", wait = 1)]
    #[larder::cached(ttl = 60, key = "report:{id}")]
    #[larder::rate_limited(limit = 9, per = "1h", key = "report")]
    #[locked(key = "reports")]
    async fn report(id: u64) -> Fallible<u64> {
        RUNS.fetch_add(1, Relaxed);
        Ok(id)
    }

    #[tokio::test]
    async fn a_guard_above_is_in_front_of_each_call_and_not_of_the_verbs() {
        alone(async {
            let call: Cached<_> = report(1);
            assert_eq!(is_send(call).await, Ok(1));
            assert_eq!(report(1).await, Ok(1));
            assert_eq!(RUNS.load(Relaxed), 1);
            assert_eq!(report(1).uncached().await, Ok(1));
            assert_eq!(report(1).await, Err(Failed::Limit));
            assert_eq!(report(1).refresh().await, Err(Failed::Limit));
            assert_eq!(report(1).with_source().await.0, Err(Failed::Limit));
            assert_eq!(report(1).key(), "report:1");
            for _ in 0..9 {
                assert_eq!(report(1).peek().await, Some(Ok(1)));
                report(1).put(2).await.unwrap();
                assert_eq!(report(1).peek().await, Some(Ok(2)));
                report(1).invalidate().await.unwrap();
                report(1).put(1).await.unwrap();
            }
            assert_eq!(RUNS.load(Relaxed), 2);
        })
        .await;
    }

    #[rate_limited(limit = 4, per = "1h", cost = ids.len() as u32)]
    #[cached(ttl = 60, key = "loaded:{id}", each(id in ids))]
    #[rate_limited(limit = 2, per = "1h", key = "load", cost = ids.len() as u32)]
    #[locked(key = "load")]
    async fn loaded(ids: Vec<u64>) -> Fallible<HashMap<u64, u64>> {
        Ok(ids.iter().map(|id| (*id, id + 1)).collect())
    }

    #[tokio::test]
    async fn a_batch_counts_its_elements_above_and_those_that_it_loads_below() {
        alone(async {
            let call: Batch<_> = loaded(vec![1, 2]);
            assert_eq!(is_send(call).await.unwrap().len(), 2);
            assert_eq!(loaded(vec![1]).await.unwrap().len(), 1);
            assert_eq!(loaded(vec![3]).await, Err(Failed::Limit));
            assert_eq!(loaded(vec![2]).await, Err(Failed::Limit));
            assert_eq!(loaded(vec![2]).peek().await, Ok(HashMap::from([(2, 3)])));
        })
        .await;
    }

    #[rate_limited(limit = 3, per = "1h", key = "stale:{id}")]
    #[cached(ttl = 60, stale = 60, max_wait = 1, key = "stale:{id}")]
    #[rate_limited(limit = 3, per = "1h", key = "run:{id}")]
    async fn leaves(id: u64) -> Fallible<u64> {
        Ok(id)
    }

    #[rate_limited(limit = 9, per = "1h", key = "show:{T}:{value}")]
    #[locked(key = "show:{value}")]
    #[cached(ttl = 60, key = "show:{T}:{value}:{of}")]
    async fn generic<T: KeyPart + Display>(value: T, of: impl KeyPart) -> Fallible<String> {
        let _ = of;
        Ok(value.to_string())
    }

    #[rate_limited(limit = 99, per = "1h", key = "fib")]
    #[cached(ttl = 60, key = "fib:{n}")]
    async fn recursive(n: u64) -> Fallible<u64> {
        if n < 2 {
            return Ok(n);
        }
        Ok(Box::pin(recursive(n - 1)).await? + Box::pin(recursive(n - 2)).await?)
    }

    #[tokio::test]
    async fn a_guard_above_takes_any_form_of_a_cached_function() {
        alone(async {
            assert_eq!(generic("a", 1).await.unwrap(), "a");
            assert_eq!(recursive(5).await, Ok(5));
        })
        .await;
    }

    #[locked(key = "detached:{id}")]
    #[cached(ttl = 60, detached, key = "detached:{id}")]
    #[locked(key = "run:{id}")]
    async fn detached(id: u64) -> Fallible<u64> {
        Ok(id)
    }

    #[tokio::test]
    async fn a_run_that_leaves_its_caller_takes_the_guards_below_along() {
        alone(async {
            assert_eq!(leaves(1).await, Ok(1));
            assert_eq!(detached(1).await, Ok(1));
        })
        .await;
    }

    #[cached(ttl = 60, key = "total:{id}")]
    async fn total(id: u64) -> u64 {
        id
    }

    #[cached(ttl = 60, key = "name:{id}")]
    async fn name(id: u64) -> Fallible<u64> {
        Ok(id)
    }

    #[invalidates(total(id))]
    #[rate_limited(limit = 1, per = "1h", key = "set:{id}")]
    #[updates(name(id))]
    #[locked(key = "set:{id}")]
    async fn set(id: u64) -> Fallible<u64> {
        Ok(id + 1)
    }

    #[locked(key = "reset:{id}")]
    #[invalidates(total(id))]
    #[rate_limited(limit = 1, per = "1h", key = "reset:{id}")]
    async fn reset(id: u64) -> Fallible<u64> {
        Ok(id + 1)
    }

    #[tokio::test]
    async fn guards_and_changes_stand_in_any_order() {
        alone(async {
            total(1).await;
            assert_eq!(is_send(set(1)).await, Ok(2));
            assert_eq!(total(1).peek().await, None);
            assert_eq!(name(1).peek().await, Some(Ok(2)));
            total(1).await;
            // A denial is an error of the function, and that changes nothing.
            assert_eq!(set(1).await, Err(Failed::Limit));
            assert_eq!(total(1).peek().await, Some(1));
            assert_eq!(is_send(reset(1)).await, Ok(2));
            assert_eq!(total(1).peek().await, None);
            assert_eq!(reset(1).await, Err(Failed::Limit));
        })
        .await;
    }
}
