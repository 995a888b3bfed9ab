//! What `#[invalidates]` accepts, and what it then does.

#![warn(clippy::pedantic, missing_docs, unreachable_pub)]
// A function of a test awaits nothing, and takes what the attribute is to be tested with.
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::{
    cell::Cell,
    fmt::Display,
    future::pending,
    io,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use larder::{Cache, Cached, Entry, Source, cached, invalidates};

/// A test has a cache to itself.
async fn alone<F: Future>(test: F) -> F::Output {
    Cache::memory().scope(test).await
}

#[cached(ttl = 60, key = "user:{id}")]
async fn get_user(id: u64) -> Result<String, String> {
    Ok(format!("user {id}"))
}

#[cached(ttl = 60, key = "name:{name}")]
async fn by_name(name: &str) -> Option<u64> {
    Some(name.len() as u64)
}

#[cached(ttl = 60, key = "count")]
async fn count() -> u64 {
    2
}

async fn is_kept<F: Future>(call: Cached<F>) -> bool {
    call.peek().await.is_some()
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

    #[invalidates(get_user(id))]
    async fn rename(id: u64, is_ok: bool) -> Result<u64, String> {
        if is_ok { Ok(id) } else { Err("no".to_owned()) }
    }

    #[invalidates(get_user(id), on = "always")]
    async fn rename_unsurely(id: u64, is_ok: bool) -> io::Result<u64> {
        if is_ok { Ok(id) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    #[tokio::test]
    async fn an_ok_invalidates() {
        alone(async {
            get_user(1).await.unwrap();
            get_user(2).await.unwrap();
            assert_eq!(rename(1, true).await, Ok(1));
            assert!(!is_kept(get_user(1)).await);
            assert!(is_kept(get_user(2)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_err_invalidates_nothing_unless_asked() {
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(rename(1, false).await, Err("no".to_owned()));
            assert!(is_kept(get_user(1)).await);
            assert_eq!(
                rename_unsurely(1, false).await.unwrap_err().kind(),
                io::ErrorKind::TimedOut
            );
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn always_is_after_an_ok_too() {
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(rename_unsurely(1, true).await.unwrap(), 1);
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_ok_is_what_is_asked_for_by_default() {
        #[invalidates(get_user(id), on = "ok")]
        async fn rename(id: u64) -> Result<(), String> {
            Err(id.to_string())
        }
        alone(async {
            get_user(1).await.unwrap();
            rename(1).await.unwrap_err();
            assert!(is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_some_invalidates_and_a_none_does_not() {
        #[invalidates(get_user(id))]
        async fn rename(id: u64, is_there: bool) -> Option<u64> {
            is_there.then_some(id)
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(rename(1, false).await, None);
            assert!(is_kept(get_user(1)).await);
            assert_eq!(rename(1, true).await, Some(1));
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn the_outermost_layer_decides() {
        #[invalidates(get_user(id))]
        async fn rename(id: u64) -> Result<Option<u64>, String> {
            Ok((id > 1).then_some(id))
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(rename(1).await, Ok(None));
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_cannot_fail_invalidates() {
        #[invalidates(get_user(id))]
        async fn touch(id: u64) {
            let _ = id;
        }
        #[invalidates(get_user(id))]
        async fn next(id: u64) -> u64 {
            id + 1
        }
        alone(async {
            get_user(1).await.unwrap();
            touch(1).await;
            assert!(!is_kept(get_user(1)).await);
            get_user(1).await.unwrap();
            assert_eq!(next(1).await, 2);
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_has_no_name_invalidates() {
        #[invalidates(get_user(id))]
        async fn touch(id: u64) -> impl Display + use<> {
            if id == 0 {
                return "nobody".to_owned();
            }
            id.to_string()
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(touch(1).await.to_string(), "1");
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_has_no_name_inside_can_still_fail() {
        #[invalidates(get_user(id))]
        async fn touch(
            id: u64,
            number: &str,
        ) -> Result<impl Display, Box<dyn std::error::Error + Send>> {
            let number: u64 = number.parse().map_err(|error| Box::new(error) as Box<_>)?;
            Ok(id + number)
        }
        alone(async {
            get_user(1).await.unwrap();
            assert!(touch(1, "one").await.is_err());
            assert!(is_kept(get_user(1)).await);
            assert_eq!(touch(1, "1").await.unwrap().to_string(), "2");
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }
}

mod unknown {
    use super::*;

    #[invalidates(get_user(id))]
    async fn hang(id: u64) -> Result<(), String> {
        let _ = id;
        pending().await
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_invalidates() {
        alone(async {
            get_user(1).await.unwrap();
            assert!(!begin(hang(1)));
            tokio::task::yield_now().await;
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_body_that_did_not_start_invalidates_nothing() {
        alone(async {
            get_user(1).await.unwrap();
            drop(hang(1));
            tokio::task::yield_now().await;
            assert!(is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_body_that_panics_invalidates() {
        #[invalidates(get_user(id))]
        async fn fail(id: u64) -> Result<(), String> {
            panic!("user {id}")
        }
        alone(async {
            get_user(1).await.unwrap();
            let panicked =
                std::panic::catch_unwind(AssertUnwindSafe(|| begin(fail(1)))).unwrap_err();
            assert_eq!(panicked.downcast_ref::<String>().unwrap(), "user 1");
            tokio::task::yield_now().await;
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }
}

mod target {
    use super::*;

    #[tokio::test]
    async fn all_of_them_are_invalidated() {
        #[invalidates(get_user(id), by_name(&name), count())]
        async fn remove(id: u64, name: String) {
            let _ = (id, name);
        }
        alone(async {
            get_user(1).await.unwrap();
            by_name("Ada").await;
            count().await;
            remove(1, "Ada".to_owned()).await;
            assert!(!is_kept(get_user(1)).await);
            assert!(!is_kept(by_name("Ada")).await);
            assert!(!is_kept(count()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn the_body_may_move_what_a_target_names() {
        #[invalidates(by_name(&name))]
        async fn add(name: String) -> Vec<String> {
            vec![name]
        }
        alone(async {
            by_name("Ada").await;
            assert_eq!(add("Ada".to_owned()).await, ["Ada"]);
            assert!(!is_kept(by_name("Ada")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_taken_before_the_body() {
        #[invalidates(get_user(*id))]
        async fn next(id: &mut u64) {
            *id += 1;
        }
        alone(async {
            get_user(1).await.unwrap();
            get_user(2).await.unwrap();
            next(&mut 1).await;
            assert!(!is_kept(get_user(1)).await);
            assert!(is_kept(get_user(2)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_only_the_result_knows_is_taken_from_the_value_inside() {
        struct User {
            name: String,
        }
        #[invalidates(get_user(id), |out| by_name(&out.name), |User { name }| by_name(&name[..1]))]
        async fn rename(id: u64, name: &str) -> Result<User, String> {
            if id == 0 { Err("nobody".to_owned()) } else { Ok(User { name: name.to_uppercase() }) }
        }
        alone(async {
            by_name("ADA").await;
            by_name("A").await;
            assert!(rename(0, "Ada").await.is_err());
            assert!(is_kept(by_name("ADA")).await);
            assert_eq!(rename(1, "Ada").await.unwrap().name, "ADA");
            assert!(!is_kept(by_name("ADA")).await);
            assert!(!is_kept(by_name("A")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_closure_says_the_type_of_the_value_if_it_wants_to() {
        #[invalidates(|out: &String| by_name(out), move |out: &String| by_name(out.trim()))]
        async fn first(names: &[&str]) -> Option<String> {
            names.first().map(ToString::to_string)
        }
        alone(async {
            by_name(" Ada").await;
            by_name("Ada").await;
            first(&[" Ada"]).await;
            assert!(!is_kept(by_name(" Ada")).await);
            assert!(!is_kept(by_name("Ada")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_closure_sees_what_the_body_has_left() {
        #[invalidates(|out| by_name(&format!("{prefix}{out}{id}{unused}")))]
        async fn next(prefix: &str, id: u64, unused: String) -> u64 {
            prefix.len() as u64 + id
        }
        alone(async {
            by_name("a211").await;
            assert_eq!(next("a", 1, "1".to_owned()).await, 2);
            assert!(!is_kept(by_name("a211")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_an_entry() {
        #[invalidates(user, users[0].clone())]
        async fn change(user: Entry<Result<String, String>>, users: &[Entry<u64>]) -> usize {
            users.len()
        }
        alone(async {
            get_user(1).await.unwrap();
            count().await;
            change(get_user(1).into_entry(), &[count().into_entry()]).await;
            assert!(!is_kept(get_user(1)).await);
            assert!(!is_kept(count()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_any_expression() {
        #[invalidates(get_user(id.parse()?), { let next = 2; get_user(next) }, if id == "1" { get_user(3) } else { get_user(4) })]
        async fn rename(id: &str) -> Result<(), std::num::ParseIntError> {
            Ok(())
        }
        alone(async {
            for id in 1..=4 {
                get_user(id).await.unwrap();
            }
            assert!(rename("one").await.is_err());
            assert!(rename("1").await.is_ok());
            for (id, kept) in [(1, false), (2, false), (3, false), (4, true)] {
                assert_eq!(is_kept(get_user(id)).await, kept, "{id}");
            }
        })
        .await;
    }
}

mod hold {
    use super::*;

    #[tokio::test]
    async fn the_body_runs_within_it() {
        #[invalidates(get_user(id), hold = "5s")]
        async fn rename(id: u64) -> Result<(), String> {
            let _ = id;
            Ok(())
        }
        alone(async {
            get_user(1).await.unwrap();
            rename(1).await.unwrap();
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn one_that_is_required_is_an_error_of_the_function() {
        #[derive(Debug)]
        struct Failed;

        impl From<larder::Error> for Failed {
            fn from(_: larder::Error) -> Self {
                Self
            }
        }
        #[invalidates(get_user(id), hold = 5, hold_required)]
        #[invalidates(count(), hold = 5, hold_required)]
        async fn rename(id: u64) -> Result<impl Display, Failed> {
            if id == 0 { Err(Failed) } else { Ok(id) }
        }
        #[invalidates(get_user(id), hold = 5, hold_required)]
        async fn anyhow(id: u64) -> anyhow::Result<u64> {
            Ok(id)
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(rename(1).await.unwrap().to_string(), "1");
            assert!(!is_kept(get_user(1)).await);
            assert!(rename(0).await.is_err());
            assert_eq!(anyhow(1).await.unwrap(), 1);
        })
        .await;
    }
}

mod body {
    use super::*;

    #[tokio::test]
    async fn it_returns_early() {
        #[invalidates(get_user(id))]
        async fn rename(id: u64, name: &str) -> Result<u64, Box<dyn std::error::Error>> {
            if name.is_empty() {
                return Err("no name".into());
            }
            let number: u64 = name.parse()?;
            if number == 0 {
                return Ok(id);
            }
            Err(Box::new(io::Error::other("a number")))
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(rename(1, "").await.unwrap_err().to_string(), "no name");
            assert!(rename(1, "one").await.is_err());
            assert!(rename(1, "1").await.is_err());
            assert!(is_kept(get_user(1)).await);
            assert_eq!(rename(1, "0").await.unwrap(), 1);
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn its_arguments_are_gone_before_the_entries_are() {
        struct Transaction(Arc<Mutex<Vec<&'static str>>>);

        impl Drop for Transaction {
            fn drop(&mut self) {
                self.0.lock().unwrap().push("dropped");
            }
        }
        #[invalidates(|()| { log.lock().unwrap().push("invalidated"); count() })]
        async fn commit(transaction: Transaction, log: &Mutex<Vec<&'static str>>) {
            let _ = &transaction;
        }
        alone(async {
            let log = Arc::new(Mutex::new(Vec::new()));
            commit(Transaction(Arc::clone(&log)), &log).await;
            assert_eq!(*log.lock().unwrap(), ["dropped", "invalidated"]);
        })
        .await;
    }

    #[tokio::test]
    async fn it_does_not_return() {
        #[invalidates(get_user(id))]
        async fn serve(id: u64) -> Result<u64, String> {
            loop {
                tokio::task::yield_now().await;
                let _ = id;
            }
        }
        #[invalidates(count())]
        async fn later() -> Result<u64, String> {
            todo!()
        }
        alone(async {
            assert!(!begin(serve(1)));
            drop(later());
        })
        .await;
    }

    #[tokio::test]
    async fn it_runs_once() {
        static RUNS: AtomicU32 = AtomicU32::new(0);

        #[invalidates(count())]
        async fn run() {
            tokio::task::yield_now().await;
            RUNS.fetch_add(1, Relaxed);
        }
        alone(run()).await;
        assert_eq!(RUNS.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn it_is_recursive() {
        #[invalidates(get_user(id))]
        async fn remove(id: u64) {
            if id > 1 {
                Box::pin(remove(id - 1)).await;
            }
        }
        alone(async {
            get_user(1).await.unwrap();
            remove(3).await;
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }
}

mod send {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_to_another_task_need_not_be_shared_with_it() {
        #[invalidates(get_user(id), |out| get_user(out.get()))]
        async fn next(id: u64, step: Cell<u64>) -> Result<Cell<u64>, Cell<u64>> {
            tokio::task::yield_now().await;
            step.set(step.get() + id);
            tokio::task::yield_now().await;
            Ok(step)
        }
        alone(async {
            get_user(1).await.unwrap();
            get_user(3).await.unwrap();
            let next = assert_send(next(1, Cell::new(2))).await;
            assert_eq!(next.map(Cell::into_inner), Ok(3));
            assert!(!is_kept(get_user(1)).await);
            assert!(!is_kept(get_user(3)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_stays_on_its_thread_may_be_what_it_likes() {
        #[invalidates(get_user(id))]
        async fn shared(id: u64, name: std::rc::Rc<str>) -> std::rc::Rc<str> {
            tokio::task::yield_now().await;
            let _ = id;
            name
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(&*shared(1, "Ada".into()).await, "Ada");
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }
}

mod function {
    use super::*;

    struct Repo {
        tenant: u64,
    }

    impl Repo {
        #[cached(ttl = 60, key = "list:{self.tenant}")]
        async fn list(&self) -> u64 {
            self.tenant
        }

        #[invalidates(self.list(), |out| get_user(*out + self.tenant))]
        async fn add(&self, id: u64) -> Result<u64, String> {
            Ok(id)
        }

        #[invalidates(self.list())]
        async fn grow(&mut self) -> u64 {
            self.tenant += 1;
            self.tenant
        }

        #[invalidates(self.list())]
        async fn close(self) -> Self {
            self
        }

        #[invalidates(self.list())]
        async fn shared(self: Arc<Self>) -> u64 {
            self.tenant
        }

        #[invalidates(Self { tenant }.list())]
        async fn remove(tenant: u64) {
            let _ = tenant;
        }
    }

    #[tokio::test]
    async fn it_is_a_method() {
        alone(async {
            let repo = Repo { tenant: 1 };
            repo.list().await;
            get_user(3).await.unwrap();
            repo.add(2).await.unwrap();
            assert!(!is_kept(repo.list()).await);
            assert!(!is_kept(get_user(3)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn its_receiver_is_mutable() {
        alone(async {
            let mut repo = Repo { tenant: 1 };
            repo.list().await;
            assert_eq!(repo.grow().await, 2);
            assert!(!is_kept(Repo { tenant: 1 }.list()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn its_receiver_is_moved() {
        alone(async {
            let repo = Repo { tenant: 1 };
            repo.list().await;
            let repo = repo.close().await;
            assert!(!is_kept(repo.list()).await);
            repo.list().await;
            let repo = Arc::new(repo);
            assert_eq!(Arc::clone(&repo).shared().await, 1);
            assert!(!is_kept(repo.list()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_an_associated_function() {
        alone(async {
            let repo = Repo { tenant: 1 };
            repo.list().await;
            Repo::remove(1).await;
            assert!(!is_kept(repo.list()).await);
        })
        .await;
    }

    trait Users {
        fn add(&self, id: u64) -> impl Future<Output = Option<u64>> + Send;

        #[allow(async_fn_in_trait)]
        #[invalidates(get_user(id))]
        async fn remove(&self, id: u64) -> u64 {
            id
        }
    }

    impl Users for Repo {
        #[invalidates(self.list())]
        async fn add(&self, id: u64) -> Option<u64> {
            (id > 0).then_some(id)
        }
    }

    #[tokio::test]
    async fn it_is_a_method_of_a_trait() {
        alone(async {
            let repo = Repo { tenant: 1 };
            repo.list().await;
            get_user(1).await.unwrap();
            assert_eq!(Users::add(&repo, 0).await, None);
            assert!(is_kept(repo.list()).await);
            assert_eq!(Users::add(&repo, 2).await, Some(2));
            assert!(!is_kept(repo.list()).await);
            assert_eq!(Users::remove(&repo, 1).await, 1);
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[async_trait::async_trait]
    trait Boxed: Sync {
        async fn add(&self, mut name: String) -> Result<String, larder::Error>;

        #[invalidates(get_user(id))]
        async fn remove(&self, id: u64) {
            let _ = id;
        }
    }

    #[async_trait::async_trait]
    impl Boxed for Repo {
        #[invalidates(self.list(), by_name(&name), hold = 5, hold_required)]
        #[invalidates(|out| by_name(out))]
        async fn add(&self, mut name: String) -> Result<String, larder::Error> {
            name.push('!');
            Ok(name)
        }
    }

    #[tokio::test]
    async fn it_is_a_method_of_a_boxed_trait() {
        alone(async {
            let repo = Repo { tenant: 1 };
            repo.list().await;
            by_name("Ada").await;
            by_name("Ada!").await;
            get_user(1).await.unwrap();
            let users: &dyn Boxed = &repo;
            assert_eq!(assert_send(users.add("Ada".to_owned())).await.unwrap(), "Ada!");
            assert!(!is_kept(repo.list()).await);
            assert!(!is_kept(by_name("Ada")).await);
            assert!(!is_kept(by_name("Ada!")).await);
            users.remove(1).await;
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[async_trait::async_trait]
    trait BoxedGeneric {
        async fn add<T: Display + Send>(self: Arc<Self>, value: T, to: &mut Vec<T>);
    }

    #[async_trait::async_trait]
    impl BoxedGeneric for Repo {
        #[invalidates(Self::list(&self), by_name(&value.to_string()))]
        async fn add<T: Display + Send>(self: Arc<Self>, value: T, to: &mut Vec<T>) {
            to.push(value);
        }
    }

    #[tokio::test]
    async fn it_is_a_generic_method_of_a_boxed_trait() {
        alone(async {
            let repo = Arc::new(Repo { tenant: 1 });
            repo.list().await;
            by_name("7").await;
            let mut to = vec![];
            assert_send(Arc::clone(&repo).add(7, &mut to)).await;
            assert_eq!(to, [7]);
            assert!(!is_kept(repo.list()).await);
            assert!(!is_kept(by_name("7")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_generic() {
        #[invalidates(by_name(&name.to_string()))]
        async fn add<T: Display, const N: usize>(name: T, others: [T; N]) -> Vec<T> {
            let mut all = vec![name];
            all.extend(others);
            all
        }
        alone(async {
            by_name("1").await;
            assert_eq!(add(1, [2, 3]).await, [1, 2, 3]);
            assert!(!is_kept(by_name("1")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn it_returns_a_type_parameter() {
        #[invalidates(count())]
        async fn pass<T>(value: T) -> T {
            value
        }
        alone(async {
            count().await;
            // Plain, for a type parameter is no `Result`, whatever the caller chose.
            assert_eq!(pass(Err::<u8, u8>(1)).await, Err(1));
            assert!(!is_kept(count()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_whatever_implements_a_trait() {
        #[invalidates(by_name(name.as_ref()), |out| by_name(out))]
        async fn add(name: impl AsRef<str> + Clone) -> String {
            name.as_ref().to_uppercase()
        }
        alone(async {
            by_name("Ada").await;
            by_name("ADA").await;
            add("Ada").await;
            assert!(!is_kept(by_name("Ada")).await);
            assert!(!is_kept(by_name("ADA")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_borrowed() {
        #[invalidates(by_name(first))]
        async fn join<'a>(first: &'a str, second: &str, all: &mut Vec<String>) -> &'a str {
            all.push(format!("{first} {second}"));
            first
        }
        alone(async {
            by_name("Ada").await;
            let mut all = Vec::new();
            assert_eq!(join("Ada", "Lovelace", &mut all).await, "Ada");
            assert_eq!(all, ["Ada Lovelace"]);
            assert!(!is_kept(by_name("Ada")).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_a_pattern() {
        struct Page {
            number: u64,
            size: u64,
        }
        #[invalidates(get_user(number), get_user(first))]
        async fn add(Page { number, size }: Page, [first, ..]: [u64; 2], _: u8) -> u64 {
            number * size + first
        }
        alone(async {
            get_user(1).await.unwrap();
            get_user(2).await.unwrap();
            assert_eq!(add(Page { number: 1, size: 3 }, [2, 0], 0).await, 5);
            assert!(!is_kept(get_user(1)).await);
            assert!(!is_kept(get_user(2)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_mutable() {
        #[invalidates(get_user(id))]
        async fn next(mut id: u64) -> u64 {
            id += 1;
            id
        }
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(next(1).await, 2);
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    #[tokio::test]
    async fn an_argument_is_named_as_something_of_ours() {
        #[invalidates(get_user(__change), |__succeeded| get_user(*__succeeded + __value), hold_required_of)]
        async fn own(__change: u64, __value: u64, hold_required_of: Entry<u64>) -> u64 {
            let __output = __change + __value;
            __output.max(1)
        }
        alone(async {
            get_user(1).await.unwrap();
            get_user(5).await.unwrap();
            assert_eq!(own(1, 2, count().into_entry()).await, 3);
            assert!(!is_kept(get_user(1)).await);
            assert!(!is_kept(get_user(5)).await);
        })
        .await;
    }

    macro_rules! removing {
        ($name:ident, $target:expr, $hold:literal) => {
            #[invalidates($target, hold = $hold)]
            async fn $name() -> u64 {
                2
            }
        };
    }
    removing!(remove_first, get_user(1), "5s");

    #[tokio::test]
    async fn it_is_made_by_a_macro() {
        alone(async {
            get_user(1).await.unwrap();
            assert_eq!(remove_first().await, 2);
            assert!(!is_kept(get_user(1)).await);
        })
        .await;
    }

    /// What it is for.
    #[must_use]
    #[invalidates(count())]
    #[allow(clippy::unused_async)]
    #[doc(hidden)]
    pub(super) async fn with_attributes() -> u64 {
        1
    }

    #[tokio::test]
    async fn it_has_inert_attributes_above_and_below() {
        assert_eq!(alone(with_attributes()).await, 1);
    }
}

mod layers {
    use super::*;

    #[tokio::test]
    async fn two_of_a_kind_nest() {
        #[invalidates(get_user(id), on = "always")]
        #[larder::invalidates(count())]
        async fn rename(id: u64) -> Result<(), String> {
            Err(id.to_string())
        }
        alone(async {
            get_user(1).await.unwrap();
            count().await;
            rename(1).await.unwrap_err();
            assert!(!is_kept(get_user(1)).await);
            assert!(is_kept(count()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn below_cached_it_acts_when_the_function_runs() {
        #[cached(ttl = 60, key = "report:{year}")]
        #[invalidates(count(), |out| get_user(*out))]
        async fn report(year: u64) -> Result<u64, String> {
            Ok(year + 1)
        }
        alone(async {
            count().await;
            get_user(2001).await.unwrap();
            assert_eq!(report(2000).with_source().await, (Ok(2001), Source::Function));
            assert!(!is_kept(count()).await);
            assert!(!is_kept(get_user(2001)).await);
            count().await;
            assert!(matches!(report(2000).with_source().await, (Ok(2001), Source::Memory { .. })));
            assert!(is_kept(count()).await);
        })
        .await;
    }

    #[tokio::test]
    async fn below_cached_it_runs_on_a_task_of_its_own() {
        #[cached(ttl = 60, detached, key = "report:{year}:{name}")]
        #[invalidates(by_name(&name), hold = 1)]
        #[invalidates(count())]
        async fn report(year: u64, name: Arc<str>) -> Result<u64, String> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(year + name.len() as u64)
        }
        alone(async {
            by_name("Ada").await;
            count().await;
            assert_eq!(report(2000, "Ada".into()).await, Ok(2003));
            assert!(!is_kept(by_name("Ada")).await);
            assert!(!is_kept(count()).await);
        })
        .await;
    }

    struct Reports;

    #[async_trait::async_trait]
    trait Report {
        async fn report(&self, year: u64) -> Option<u64>;
    }

    #[async_trait::async_trait]
    impl Report for Reports {
        #[cached(ttl = 60, key = "boxed:{year}", skip(self))]
        #[invalidates(count())]
        async fn report(&self, year: u64) -> Option<u64> {
            Some(year)
        }
    }

    #[tokio::test]
    async fn below_cached_it_is_a_method_of_a_boxed_trait() {
        alone(async {
            count().await;
            assert_eq!(Reports.report(2000).await, Some(2000));
            assert!(!is_kept(count()).await);
            count().await;
            assert_eq!(Reports.report(2000).await, Some(2000));
            assert!(is_kept(count()).await);
        })
        .await;
    }
}
