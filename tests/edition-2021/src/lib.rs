//! A user on edition 2021, where a returned `impl Trait` captures no lifetime of its own accord:
//! what the attribute emits follows the edition of the attribute, and captures them all.

#[cfg(test)]
mod tests {
    use larder::{cached, Cache, KeyPart};

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

    #[tokio::test]
    async fn a_method_borrows_its_receiver_mutably() {
        Cache::memory().scope(async { assert_eq!(Repo { tenant: 1 }.next().await, 2) }).await;
    }

    #[tokio::test]
    async fn a_function_borrows_what_it_is_given() {
        let run = async {
            let numbers = vec![1, 2];
            assert_eq!(sum(&numbers, &["a"]).await, 4);
        };
        Cache::memory().scope(run).await;
    }
}
