use std::{any::Any, fmt, sync::Arc};

use super::{
    Cached, Call, Holds,
    policy::{Made, Rules, entry},
    shape::Shape,
};
use crate::{change::Write, error::Error};

/// The entry of a call: owns its key and borrows nothing, so that the arguments of the call are
/// free again. Made by [`Cached::into_entry`].
///
/// `R` is what the function returns.
pub struct Entry<R> {
    call: Call,
    put: Put<R>,
}

impl<R> Entry<R> {
    pub(crate) fn new(call: Call, put: Put<R>) -> Self {
        Self { call, put }
    }

    /// The key, without the service: what [`Cache::invalidate`](crate::Cache::invalidate) takes.
    #[must_use]
    pub fn key(&self) -> String {
        self.call.text().to_text()
    }

    /// What a writer changes of it.
    pub(crate) fn write(&self) -> Write {
        Write::of(&self.call)
    }

    /// The same of one that puts a value into it.
    pub(crate) fn put_write(&self) -> Write {
        Write::of_put(&self.call)
    }

    /// What a `put` of this value stores.
    pub(crate) fn made<V, M>(&self, value: V) -> Option<Made>
    where
        R: Holds<V, M>,
    {
        self.put.make(&self.call, R::holding(value))
    }

    /// As [`Cached::invalidate`].
    ///
    /// # Errors
    ///
    /// None in memory. With Redis: it did not land in time, or Redis refused it. Then this process
    /// does not serve the key any more, and repeats the invalidation until it has landed.
    pub async fn invalidate(&self) -> Result<(), Error> {
        self.call.invalidate().await
    }

    /// As [`Cached::put`].
    ///
    /// # Errors
    ///
    /// As [`Cached::put`].
    pub async fn put<V, M>(&self, value: V) -> Result<(), Error>
    where
        R: Holds<V, M>,
    {
        self.call.put(self.made(value)).await
    }
}

impl<R> Clone for Entry<R> {
    fn clone(&self) -> Self {
        Self { call: self.call.clone(), put: self.put.clone() }
    }
}

impl<R> fmt::Debug for Entry<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("key", &self.key()).finish_non_exhaustive()
    }
}

/// What names an entry: a [`Cached`] call, or the [`Entry`] of one.
#[diagnostic::on_unimplemented(
    message = "expected a cached call such as `get_user(id)`, found `{Self}`",
    label = "not a cached call"
)]
pub trait IntoEntry: sealed::Sealed {
    /// What the function returns.
    type Output;

    /// The entry.
    fn into_entry(self) -> Entry<Self::Output>;
}

/// What an attribute can name to be invalidated: a call, its entry, or a batch.
#[diagnostic::on_unimplemented(
    message = "expected a cached call such as `get_user(id)`, found `{Self}`",
    label = "not a cached call"
)]
#[doc(hidden)]
#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
pub trait Target {
    /// What a writer changes of it.
    fn writes(self) -> Vec<Write>;
}

#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
impl<T: IntoEntry> Target for T {
    fn writes(self) -> Vec<Write> {
        vec![self.into_entry().write()]
    }
}

#[diagnostic::do_not_recommend]
#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
impl<F: Future> Target for super::Batch<F> {
    fn writes(self) -> Vec<Write> {
        super::Batch::writes(self)
    }
}

mod sealed {
    pub trait Sealed {}
}

impl<F: Future> sealed::Sealed for Cached<F> {}

impl<F: Future> IntoEntry for Cached<F> {
    type Output = F::Output;

    fn into_entry(self) -> Entry<F::Output> {
        Self::into_entry(self)
    }
}

impl<R> sealed::Sealed for Entry<R> {}

impl<R> IntoEntry for Entry<R> {
    type Output = R;

    fn into_entry(self) -> Self {
        self
    }
}

/// How an output of type `R` is put: the rules of the attribute, and what reads them.
pub(crate) struct Put<R> {
    knobs: Arc<dyn Any + Send + Sync>,
    make: fn(&(dyn Any + Send + Sync), &Call, R) -> Option<Made>,
}

impl<R> Put<R> {
    pub(super) fn of<S: Shape<Output = R>, K: Rules<S>>(knobs: K) -> Self {
        Self {
            knobs: Arc::new(knobs),
            make: |knobs, call, output| entry::<S, K>(knobs.downcast_ref()?, call, output),
        }
    }

    /// `None` where the function would not store such an output.
    pub(super) fn make(&self, call: &Call, output: R) -> Option<Made> {
        (self.make)(&*self.knobs, call, output)
    }
}

impl<R> Clone for Put<R> {
    fn clone(&self) -> Self {
        Self { knobs: Arc::clone(&self.knobs), make: self.make }
    }
}
