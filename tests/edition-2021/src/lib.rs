//! A user on edition 2021, where a returned `impl Trait` captures no lifetime of its own accord:
//! what the attribute emits follows the edition of the attribute, and captures them all.

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use larder::{
        cached, invalidates, locked, rate_limited, updates, Cache, KeyPart, LockError, RateLimited,
    };

    struct Repo {
        tenant: u32,
    }

    impl Repo {
        #[cached(ttl = 60, key = "list:{self.tenant}:{key}:{x}")]
        async fn list(&self, key: &str, x: impl KeyPart) -> Result<String, String> {
            let _ = x;
            Ok(format!("{} {key}", self.tenant))
        }

        #[cached(ttl = 60, key = "next:{self.tenant}")]
        async fn next(&mut self) -> u32 {
            self.tenant += 1;
            self.tenant
        }
    }

    impl Repo {
        #[invalidates(self.list(key, 1), |out| self.list(&out.to_lowercase(), 1))]
        async fn add(&mut self, key: &str, x: impl KeyPart) -> Result<String, String> {
            let _ = x;
            Ok(key.to_uppercase())
        }
    }

    impl Repo {
        #[cached(ttl = 60, stale = 30, refresh_early, key = "size:{self.tenant}:{key}")]
        async fn size(&self, key: &str) -> Result<usize, String> {
            Ok(key.len())
        }

        #[cached(ttl = 60, stale = 30, key = "size:{self.tenant}:{lang}:{key}", each(key in keys))]
        async fn sizes<'a>(&self, lang: &str, keys: &[&'a str]) -> HashMap<&'a str, usize> {
            keys.iter().map(|key| (*key, key.len() + lang.len())).collect()
        }
    }

    #[cached(ttl = 60, stale = 30, max_wait = 1, each(number in numbers))]
    async fn squares(mut numbers: Vec<u64>) -> Result<HashMap<u64, u64>, String> {
        numbers.retain(|number| *number > 0);
        Ok(numbers.into_iter().map(|number| (number, number * number)).collect())
    }

    #[tokio::test]
    async fn a_batch_borrows_what_it_is_given() {
        let run = async {
            let repo = Repo { tenant: 1 };
            let (lang, key) = ("en".to_owned(), "a".to_owned());
            assert_eq!(repo.size(&key).await, Ok(1));
            assert_eq!(repo.sizes(&lang, &[&key]).await, HashMap::from([("a", 3)]));
            assert_eq!(squares(vec![0, 2]).await, Ok(HashMap::from([(2, 4)])));
        };
        Cache::memory().scope(run).await;
    }

    #[cached(ttl = 60)]
    async fn sum(numbers: &[u64], names: &[&str]) -> u64 {
        numbers.iter().sum::<u64>() + names.len() as u64
    }

    #[tokio::test]
    async fn a_method_borrows_what_it_is_given() {
        let list = async {
            let repo = Repo { tenant: 1 };
            let key = "a".to_owned();
            repo.list(&key, 2).await.unwrap();
            assert_eq!(repo.list(&key, 2).peek().await, Some(Ok("1 a".to_owned())));
        };
        Cache::memory().scope(list).await;
    }

    #[updates(sum(numbers, &[name]), value = |out| out.1)]
    #[invalidates(|out| sum(&[out.1], &[name]))]
    async fn first<'a>(numbers: &[u64], name: &'a str) -> (&'a str, u64) {
        (name, numbers[0])
    }

    #[tokio::test]
    async fn a_method_borrows_its_receiver_mutably() {
        Cache::memory().scope(async { assert_eq!(Repo { tenant: 1 }.next().await, 2) }).await;
    }

    impl Repo {
        #[cached(ttl = 60, key = "first:{key}", tags("repo:{self.tenant}:{key}"), skip(self))]
        async fn first(&mut self, key: &str) -> Option<String> {
            self.tenant += 1;
            key.get(..self.tenant as usize).map(str::to_owned)
        }

        #[invalidates(tag("repo:{self.tenant}:{key}"), |out| tag("repo:{out}:{key}"))]
        async fn name(&mut self, key: &str, new: String) -> String {
            self.tenant += 1;
            new
        }
    }

    #[tokio::test]
    async fn a_tag_borrows_what_it_is_given() {
        let run = async {
            let mut repo = Repo { tenant: 0 };
            let key = "a".to_owned();
            assert_eq!(repo.first(&key).await, Some("a".to_owned()));
            assert_eq!(repo.name(&key, "b".to_owned()).await, "b");
        };
        Cache::memory().scope(run).await;
    }

    #[tokio::test]
    async fn a_function_borrows_what_it_is_given() {
        let run = async {
            let numbers = vec![1, 2];
            assert_eq!(sum(&numbers, &["a"]).await, 4);
        };
        Cache::memory().scope(run).await;
    }

    #[tokio::test]
    async fn a_method_invalidates_what_it_was_given_and_what_it_returns() {
        let add = async {
            let mut repo = Repo { tenant: 1 };
            repo.list("a", 1).await.unwrap();
            repo.list("A", 1).await.unwrap();
            assert_eq!(repo.add("a", 2).await.unwrap(), "A");
            assert_eq!(repo.list("a", 1).peek().await, None);
            assert!(repo.list("A", 1).peek().await.is_some());
        };
        Cache::memory().scope(add).await;
    }

    #[derive(Debug, Clone, PartialEq)]
    enum Failed {
        Limit,
        Lock,
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

    impl Repo {
        #[rate_limited(limit = self.tenant, per = "1h", key = "turn:{self.tenant}:{key}:{x}")]
        #[locked(key = "turn:{self.tenant}:{key}")]
        async fn turn<'a>(&mut self, key: &'a str, x: impl KeyPart) -> Result<&'a str, Failed> {
            let _ = x;
            self.tenant += 1;
            Ok(&key[1..])
        }

        #[rate_limited(limit = 2, per = "1h", key = "find:{self.tenant}", cost = key.len() as u32)]
        #[locked(key = "find:{key}")]
        #[cached(ttl = 60, key = "find:{self.tenant}:{key}")]
        #[locked(key = "run:{key}")]
        #[rate_limited(limit = 1, per = "1h")]
        async fn find(&self, key: &str) -> Result<usize, Failed> {
            Ok(key.len())
        }

        #[rate_limited(limit = 2, per = "1h", cost = keys.len() as u32)]
        #[cached(ttl = 60, key = "load:{self.tenant}:{key}", each(key in keys))]
        #[locked(key = "load:{self.tenant}")]
        async fn load<'a>(&self, keys: &[&'a str]) -> Result<HashMap<&'a str, usize>, Failed> {
            Ok(keys.iter().map(|key| (*key, key.len())).collect())
        }
    }

    #[tokio::test]
    async fn a_guard_borrows_what_it_is_given() {
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        let run = async {
            let mut repo = Repo { tenant: 1 };
            let key = "ab".to_owned();
            assert_eq!(is_send(repo.turn(&key, 1)).await, Ok("b"));
            assert_eq!(is_send(repo.find(&key)).await, Ok(2));
            assert_eq!(repo.find(&key).await, Err(Failed::Limit));
            assert_eq!(repo.find(&key).peek().await, Some(Ok(2)));
            assert_eq!(is_send(repo.load(&[&key])).await, Ok(HashMap::from([("ab", 2)])));
        };
        Cache::memory().scope(run).await;
    }

    #[tokio::test]
    async fn a_function_updates_what_it_returns() {
        let first = async {
            sum(&[3], &["a"]).await;
            assert_eq!(first(&[3, 4], "a").await, ("a", 3));
            assert_eq!(sum(&[3, 4], &["a"]).peek().await, Some(3));
            assert_eq!(sum(&[3], &["a"]).peek().await, None);
        };
        Cache::memory().scope(first).await;
    }
}
