//! The locks that flights are synchronised by: the standard library's, or those of the model
//! checker, which explores the orders in which threads may take them.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks. No code of a user runs under a lock of this crate, so a lock that a panic has poisoned
/// guards a state that is whole.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
