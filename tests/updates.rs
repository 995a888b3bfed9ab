//! What `#[updates]` accepts, and what it then does.

#![warn(clippy::pedantic, missing_docs, unreachable_pub)]
// A function of a test awaits nothing, and takes what the attribute is to be tested with.
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::{
    cell::Cell,
    fmt::Display,
    future::pending,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use larder::{Cache, Entry, cached, invalidates, updates};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

fn named(name: &str) -> User {
    User { name: name.to_owned() }
}

/// A test has a cache to itself.
async fn alone<F: Future>(test: F) -> F::Output {
    Cache::memory().scope(test).await
}

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<User, String> {
    Ok(named(&format!("user {id}")))
}

#[cached(ttl = 60, key = "optional:{id}")]
async fn find_user(id: u64) -> Option<User> {
    Some(named(&format!("user {id}")))
}

#[cached(ttl = 60, none_ttl = 60, key = "fallible:{id}")]
async fn load_user(id: u64) -> Result<Option<User>, String> {
    Ok(Some(named(&format!("user {id}"))))
}

#[cached(ttl = 60, key = "shared:{id}")]
async fn shared_user(id: u64) -> Result<Arc<User>, String> {
    Ok(Arc::new(named(&format!("user {id}"))))
}

#[cached(ttl = 60, key = "plain:{id}")]
async fn plain_user(id: u64) -> User {
    named(&format!("user {id}"))
}

#[cached(ttl = 60, key = "name:{id}")]
async fn get_name(id: u64) -> String {
    format!("user {id}")
}

/// Polls once, and drops what is not ready then.
fn begin<F: Future>(future: F) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn assert_send<F: Future + Send>(future: F) -> F {
    future
}

mod outcome {
    use super::*;

    #[updates(get_user(id))]
    async fn rename(id: u64, name: &str) -> Result<User, String> {
        if name.is_empty() { Err(format!("user {id} needs a name")) } else { Ok(named(name)) }
    }

    #[tokio::test]
    async fn an_ok_is_put() {
        alone(async {
            assert_eq!(rename(1, "Ada").await, Ok(named("Ada")));
            assert_eq!(get_user(1).peek().await, Some(Ok(named("Ada"))));
            assert_eq!(get_user(2).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn an_err_puts_nothing_and_leaves_a_miss() {
        alone(async {
            get_user(1).await.unwrap();
            rename(1, "").await.unwrap_err();
            assert_eq!(get_user(1).peek().await, None);
            get_user(1).await.unwrap();
            assert_eq!(get_user(1).peek().await, Some(Ok(named("user 1"))));
        })
        .await;
    }

    #[tokio::test]
    async fn a_some_is_put_and_a_none_leaves_a_miss() {
        #[updates(get_user(id))]
        async fn rename(id: u64, name: &str) -> Option<User> {
            let _ = id;
            (!name.is_empty()).then(|| named(name))
        }
        alone(async {
            rename(1, "Ada").await;
            assert_eq!(get_user(1).peek().await, Some(Ok(named("Ada"))));
            rename(1, "").await;
            assert_eq!(get_user(1).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn what_cannot_fail_is_put() {
        #[updates(get_user(id))]
        async fn rename(id: u64, name: &str) -> User {
            let _ = id;
            named(name)
        }
        alone(async {
            assert_eq!(rename(1, "Ada").await, named("Ada"));
            assert_eq!(get_user(1).peek().await, Some(Ok(named("Ada"))));
        })
        .await;
    }

    #[tokio::test]
    async fn a_none_that_is_ok_is_put_as_the_none_that_it_is() {
        #[updates(load_user(id))]
        async fn rename(id: u64, name: &str) -> Result<Option<User>, String> {
            let _ = id;
            Ok((!name.is_empty()).then(|| named(name)))
        }
        alone(async {
            rename(1, "Ada").await.unwrap();
            assert_eq!(load_user(1).peek().await, Some(Ok(Some(named("Ada")))));
            rename(1, "").await.unwrap();
            assert_eq!(load_user(1).peek().await, Some(Ok(None)));
        })
        .await;
    }

    #[tokio::test]
    async fn a_none_that_is_ok_removes_what_is_not_stored_as_none() {
        #[updates(find_user(id))]
        #[updates(get_user(id), value = |out| out.clone().ok_or_else(String::new))]
        async fn rename(id: u64, name: &str) -> Result<Option<User>, String> {
            let _ = id;
            Ok((!name.is_empty()).then(|| named(name)))
        }
        alone(async {
            rename(1, "Ada").await.unwrap();
            assert_eq!(find_user(1).peek().await, Some(Some(named("Ada"))));
            assert_eq!(get_user(1).peek().await, Some(Ok(named("Ada"))));
            rename(1, "").await.unwrap();
            assert_eq!(find_user(1).peek().await, None);
            assert_eq!(get_user(1).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_invalidates() {
        #[updates(get_user(id))]
        async fn hang(id: u64) -> User {
            let _ = id;
            pending().await
        }
        alone(async {
            get_user(1).await.unwrap();
            assert!(!begin(hang(1)));
            tokio::task::yield_now().await;
            assert_eq!(get_user(1).peek().await, None);
        })
        .await;
    }
}

mod value {
    use super::*;

    #[tokio::test]
    async fn it_fits_whatever_caches_it() {
        #[updates(get_user(id))]
        #[updates(find_user(id))]
        #[updates(load_user(id))]
        #[updates(shared_user(id))]
        #[updates(plain_user(id))]
        async fn rename(id: u64, name: &str) -> Result<User, String> {
            let _ = id;
            Ok(named(name))
        }
        alone(async {
            rename(1, "Ada").await.unwrap();
            assert_eq!(get_user(1).peek().await, Some(Ok(named("Ada"))));
            assert_eq!(find_user(1).peek().await, Some(Some(named("Ada"))));
            assert_eq!(load_user(1).peek().await, Some(Ok(Some(named("Ada")))));
            assert_eq!(shared_user(1).peek().await, Some(Ok(Arc::new(named("Ada")))));
            assert_eq!(plain_user(1).peek().await, Some(named("Ada")));
        })
        .await;
    }

    #[tokio::test]
    async fn a_closure_makes_it_of_the_value_inside() {
        #[updates(get_name(id), value = |out| out.name.clone())]
        #[updates(get_user(id), value = |User { name }| named(&name.to_uppercase()))]
        async fn rename(id: u64, name: &str) -> Result<User, String> {
            let _ = id;
            Ok(named(name))
        }
        alone(async {
            rename(1, "Ada").await.unwrap();
            assert_eq!(get_name(1).peek().await.as_deref(), Some("Ada"));
            assert_eq!(get_user(1).peek().await, Some(Ok(named("ADA"))));
        })
        .await;
    }

    #[tokio::test]
    async fn a_function_makes_it_too() {
        fn name_of(user: &User) -> String {
            user.name.clone()
        }
        #[updates(get_name(id), value = name_of)]
        async fn rename(id: u64, name: &str) -> Option<User> {
            let _ = id;
            Some(named(name))
        }
        alone(async {
            rename(1, "Ada").await.unwrap();
            assert_eq!(get_name(1).peek().await.as_deref(), Some("Ada"));
        })
        .await;
    }

    #[tokio::test]
    async fn it_need_not_be_clone_if_a_closure_makes_another() {
        struct Row(u64);

        #[updates(get_name(id), value = |out| out.0.to_string())]
        async fn next(id: u64) -> Row {
            Row(id + 1)
        }
        alone(async {
            assert_eq!(next(1).await.0, 2);
            assert_eq!(get_name(1).peek().await.as_deref(), Some("2"));
        })
        .await;
    }

    #[tokio::test]
    async fn it_has_no_name() {
        #[updates(get_name(id), value = |out| format!("{out}"))]
        async fn next(id: u64) -> impl Display + use<> {
            id + 1
        }
        alone(async {
            assert_eq!(next(1).await.to_string(), "2");
            assert_eq!(get_name(1).peek().await.as_deref(), Some("2"));
        })
        .await;
    }

    #[tokio::test]
    async fn a_closure_sees_what_the_body_has_left() {
        #[updates(get_name(id), value = |()| name.to_owned())]
        async fn rename(id: u64, name: &str) -> Result<(), String> {
            let _ = (id, name);
            Ok(())
        }
        alone(async {
            rename(1, "Ada").await.unwrap();
            assert_eq!(get_name(1).peek().await.as_deref(), Some("Ada"));
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_sent_to_another_task_need_not_be_shared_with_it() {
        #[updates(get_name(id), value = |out| out.get().to_string())]
        async fn next(id: u64, step: Cell<u64>) -> Result<Cell<u64>, Cell<u64>> {
            tokio::task::yield_now().await;
            step.set(step.get() + id);
            Ok(step)
        }
        alone(async {
            assert!(assert_send(next(1, Cell::new(2))).await.is_ok());
            assert_eq!(get_name(1).peek().await.as_deref(), Some("3"));
        })
        .await;
    }
}

mod function {
    use super::*;

    struct Repo {
        tenant: u64,
    }

    #[async_trait::async_trait]
    trait Users {
        async fn rename(&self, name: String) -> Result<User, String>;
    }

    impl Repo {
        #[cached(ttl = 60, key = "of:{self.tenant}")]
        async fn user(&self) -> Result<User, String> {
            Ok(named("nobody"))
        }

        #[updates(self.user())]
        async fn name_next(&mut self, name: String) -> Result<User, String> {
            self.tenant += 1;
            Ok(User { name })
        }

        #[updates(Self { tenant }.user())]
        async fn reset(tenant: u64) -> User {
            named(&tenant.to_string())
        }
    }

    #[async_trait::async_trait]
    impl Users for Repo {
        #[updates(self.user())]
        #[updates(get_name(self.tenant), value = |out| out.name.clone())]
        async fn rename(&self, mut name: String) -> Result<User, String> {
            name.push('!');
            Ok(User { name })
        }
    }

    #[tokio::test]
    async fn it_is_a_method() {
        alone(async {
            Repo { tenant: 1 }.name_next("Ada".to_owned()).await.unwrap();
            assert_eq!(Repo { tenant: 1 }.user().peek().await, Some(Ok(named("Ada"))));
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_an_associated_function() {
        alone(async {
            Repo::reset(1).await;
            assert_eq!(Repo { tenant: 1 }.user().peek().await, Some(Ok(named("1"))));
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_a_method_of_a_boxed_trait() {
        alone(async {
            let repo = Repo { tenant: 1 };
            assert_send(Users::rename(&repo, "Ada".to_owned())).await.unwrap();
            assert_eq!(repo.user().peek().await, Some(Ok(named("Ada!"))));
            assert_eq!(get_name(1).peek().await.as_deref(), Some("Ada!"));
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_generic() {
        #[updates(get_name(id), value = ToString::to_string)]
        async fn show<T: Display>(id: u64, value: T) -> Option<T> {
            let _ = id;
            Some(value)
        }
        alone(async {
            show(1, 'a').await;
            assert_eq!(get_name(1).peek().await.as_deref(), Some("a"));
        })
        .await;
    }

    #[tokio::test]
    async fn its_target_is_an_entry() {
        #[updates(name.clone())]
        async fn set(name: &Entry<String>, to: &str) -> String {
            format!("{to} for {}", name.key())
        }
        alone(async {
            set(&get_name(1).into_entry(), "Ada").await;
            assert_eq!(get_name(1).peek().await.as_deref(), Some("Ada for name:1"));
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_named_as_something_of_ours() {
        #[updates(get_name(__change), value = |__new| (*__new + __entry).to_string())]
        async fn own(__change: u64, __entry: u64) -> u64 {
            let __output = __change + __entry;
            __output.max(1)
        }
        alone(async {
            assert_eq!(own(1, 2).await, 3);
            assert_eq!(get_name(1).peek().await.as_deref(), Some("5"));
        })
        .await;
    }
}

mod layers {
    use super::*;

    #[tokio::test]
    async fn it_goes_with_invalidates() {
        #[updates(get_user(id))]
        #[invalidates(get_name(id))]
        #[updates(find_user(id))]
        async fn rename(id: u64, name: &str) -> Result<User, String> {
            let _ = id;
            Ok(named(name))
        }
        alone(async {
            get_name(1).await;
            rename(1, "Ada").await.unwrap();
            assert_eq!(get_user(1).peek().await, Some(Ok(named("Ada"))));
            assert_eq!(find_user(1).peek().await, Some(Some(named("Ada"))));
            assert_eq!(get_name(1).peek().await, None);
        })
        .await;
    }

    #[tokio::test]
    async fn below_cached_it_acts_when_the_function_runs() {
        #[cached(ttl = 60, key = "report:{year}")]
        #[updates(get_name(year), value = ToString::to_string)]
        async fn report(year: u64) -> Result<u64, String> {
            Ok(year + 1)
        }
        alone(async {
            report(2000).await.unwrap();
            assert_eq!(get_name(2000).peek().await.as_deref(), Some("2001"));
            get_name(2000).invalidate().await.unwrap();
            report(2000).await.unwrap();
            assert_eq!(get_name(2000).peek().await, None);
        })
        .await;
    }
}
