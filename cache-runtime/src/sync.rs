//! What flights are synchronised by: the standard library's locks and atomics and tokio's
//! task-locals, or those of the model checker, which explores the orders in which tasks may use
//! them.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(shuttle))]
pub(crate) use tokio::task_local;

#[cfg(shuttle)]
pub(crate) use self::model::{TaskLocal, task_local};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};

use std::sync::PoisonError;

/// Locks. No code of a user runs under a lock of this crate, so a lock that a panic has poisoned
/// guards a state that is whole.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Task-locals as tokio has them. Tokio's own are thread-locals, and all tasks of a model are on
/// one thread: a switch of tasks inside a scope would carry it along.
#[cfg(shuttle)]
mod model {
    use std::{cell::RefCell, future::Future, mem::replace, pin::pin};

    use shuttle::thread::LocalKey;

    pub(crate) struct TaskLocal<T: 'static>(pub(crate) &'static LocalKey<RefCell<Option<T>>>);

    macro_rules! task_local {
        ($(#[$doc:meta])* static $name:ident: $type:ty;) => {
            shuttle::thread_local! {
                static SLOT: std::cell::RefCell<Option<$type>> = std::cell::RefCell::new(None);
            }
            $(#[$doc])*
            static $name: crate::sync::TaskLocal<$type> = crate::sync::TaskLocal(&SLOT);
        };
    }
    pub(crate) use task_local;

    impl<T> TaskLocal<T> {
        pub(crate) fn try_with<R>(&self, read: impl FnOnce(&T) -> R) -> Result<R, ()> {
            let value = self.0.try_with(|slot| slot.borrow().as_ref().map(read));
            value.ok().flatten().ok_or(())
        }

        pub(crate) fn sync_scope<R>(&self, value: T, enter: impl FnOnce() -> R) -> R {
            let outer = self.swap(Some(value));
            let output = enter();
            self.swap(outer);
            output
        }

        pub(crate) async fn scope<F: Future>(&'static self, value: T, future: F) -> F::Output {
            let mut future = pin!(future);
            let mut value = Some(value);
            std::future::poll_fn(|cx| {
                let outer = self.swap(value.take());
                let polled = future.as_mut().poll(cx);
                value = self.swap(outer);
                polled
            })
            .await
        }

        fn swap(&self, value: Option<T>) -> Option<T> {
            self.0.with(|slot| replace(&mut *slot.borrow_mut(), value))
        }
    }
}
