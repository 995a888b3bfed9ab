//! What followers get when the run they waited for returned an error.

use std::{
    fmt::{self, Display},
    sync::{Arc, PoisonError},
};

use super::{
    policy::{AdmitAll, Knobs, SiteLife},
    shape::Output,
};
use crate::local::SharedError;

/// The error of a run that another caller made, as text.
///
/// An error that cannot be cloned is shared with the callers that waited for the run as this, by
/// `E: From<Shared>`: `anyhow::Error` and `Box<dyn Error + Send + Sync>` have it, an enum gets it
/// with a variant of its own. It displays as the original does with `{:#}`, and **cannot be
/// matched or downcast**: where that matters, return a `Clone` error, an `Arc` of one, or write
/// `share_error`.
///
/// ```
/// use std::fmt;
/// use larder::Shared;
///
/// #[derive(Debug)]
/// enum DbError {
///     NotFound,
///     Shared(Shared),
/// }
///
/// impl From<Shared> for DbError {
///     fn from(shared: Shared) -> Self {
///         Self::Shared(shared)
///     }
/// }
/// # impl fmt::Display for DbError {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{self:?}") }
/// # }
/// ```
#[derive(Clone)]
pub struct Shared(Arc<str>);

impl Shared {
    fn of(error: &impl Display) -> Self {
        Self(format!("{error:#}").into())
    }
}

impl Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.0).finish()
    }
}

impl std::error::Error for Shared {}

/// How an error reaches the followers.
#[doc(hidden)]
pub trait ShareError<E>: Copy + Send + Sync + 'static {
    /// What is handed to so many followers; `None` if it cannot be shared.
    fn share(&self, error: &E, followers: usize) -> Option<SharedError>;

    /// The copy of one of them.
    fn copy(shared: &SharedError) -> Option<E>;
}

/// The same error, by `Clone`.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ByClone;

impl<E: Clone + Send + Sync + 'static> ShareError<E> for ByClone {
    fn share(&self, error: &E, _: usize) -> Option<SharedError> {
        Some(Arc::new(error.clone()))
    }

    fn copy(shared: &SharedError) -> Option<E> {
        shared.downcast_ref().cloned()
    }
}

/// Its text, by `From<Shared>`.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ByText;

impl<E: From<Shared> + Display> ShareError<E> for ByText {
    fn share(&self, error: &E, _: usize) -> Option<SharedError> {
        Some(Arc::new(Shared::of(error)))
    }

    fn copy(shared: &SharedError) -> Option<E> {
        shared.downcast_ref::<Shared>().cloned().map(E::from)
    }
}

/// Not at all.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Unshared;

impl<E> ShareError<E> for Unshared {
    fn share(&self, _: &E, _: usize) -> Option<SharedError> {
        None
    }

    fn copy(_: &SharedError) -> Option<E> {
        None
    }
}

/// By `share_error`: a copy for each follower, made while the leader still has the error.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ByClosure<C>(pub(crate) C);

/// The copies that no follower has taken yet. A lock of its own: no model explores it.
type Copies<E> = std::sync::Mutex<Vec<E>>;

impl<E, C> ShareError<E> for ByClosure<C>
where
    E: Send + 'static,
    C: Fn(&E) -> E + Copy + Send + Sync + 'static,
{
    fn share(&self, error: &E, followers: usize) -> Option<SharedError> {
        let copies: Vec<E> = (0..followers).map(|_| (self.0)(error)).collect();
        Some(Arc::new(Copies::new(copies)))
    }

    fn copy(shared: &SharedError) -> Option<E> {
        let copies = shared.downcast_ref::<Copies<E>>()?;
        copies.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A way that the type of the error decides: there is nothing to carry.
#[doc(hidden)]
pub trait ByType: Copy + 'static {
    /// All of a function whose attribute says everything in its site.
    const PLAIN: &'static Knobs<SiteLife, AdmitAll, Self>;
}

macro_rules! by_type {
    ($($way:ident),*) => {$(
        impl ByType for $way {
            const PLAIN: &'static Knobs<SiteLife, AdmitAll, Self> =
                &Knobs { life: SiteLife, admit: AdmitAll, share: $way };
        }
    )*};
}

by_type!(ByClone, ByText, Unshared);

// As the shapes are told apart.

#[doc(hidden)]
pub trait ClonedError {
    fn sharing(&self) -> ByClone {
        ByClone
    }
}

impl<T, E: Clone + Send + Sync + 'static> ClonedError for &&Output<Result<T, E>> {}

#[doc(hidden)]
pub trait TextError {
    fn sharing(&self) -> ByText {
        ByText
    }
}

impl<T, E: From<Shared> + Display> TextError for &Output<Result<T, E>> {}

#[doc(hidden)]
pub trait AnyError {
    fn sharing(&self) -> Unshared {
        Unshared
    }
}

impl<R> AnyError for Output<R> {}
