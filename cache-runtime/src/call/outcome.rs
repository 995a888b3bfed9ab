//! How a function ended that changes what is cached: told apart by trait on the output itself, so
//! that aliases of `Result` and `Option` are what they stand for, and `impl Trait` what is behind
//! it.

use super::denial;
use crate::error::Error;

/// An output, before it is known whether it can be a failure.
#[doc(hidden)]
#[derive(Debug)]
pub struct Outcome<'a, R>(pub &'a R);

/// The value inside an output. Implemented at two depths of references: method look-up on
/// `&Outcome<R>` takes `Result` and `Option` before anything else. The outermost layer decides, so
/// that `Ok(None)` is a success.
#[doc(hidden)]
pub trait Success<'a, T> {
    /// `None` after an `Err` or a `None`.
    fn success(&self) -> Option<&'a T>;
}

impl<'a, T, E> Success<'a, T> for Outcome<'a, Result<T, E>> {
    fn success(&self) -> Option<&'a T> {
        self.0.as_ref().ok()
    }
}

impl<'a, T> Success<'a, T> for Outcome<'a, Option<T>> {
    fn success(&self) -> Option<&'a T> {
        self.0.as_ref()
    }
}

/// What can only succeed.
impl<'a, R> Success<'a, R> for &Outcome<'a, R> {
    fn success(&self) -> Option<&'a R> {
        Some(self.0)
    }
}

/// What a closure makes of a value: `|out| out.name.clone()`. It gives the parameter its type.
pub fn of<'a, T: ?Sized, R>(value: &'a T, make: impl FnOnce(&'a T) -> R) -> R {
    make(value)
}

/// The value that `#[updates]` puts unless a closure makes another.
pub fn clone_of<T: CloneOfOutput>(value: &T) -> T {
    value.clone()
}

/// A value that `#[updates]` can take out of an output.
#[diagnostic::on_unimplemented(
    message = "`#[updates]` puts a clone of the value that the function returns, and `{Self}` is not `Clone`",
    label = "the value is `{Self}`",
    note = "derive `Clone` for `{Self}`, or make another value of it with `value = |out| …`"
)]
#[doc(hidden)]
pub trait CloneOfOutput: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> CloneOfOutput for T {}

/// What a function returns whose holds were required and did not land.
#[must_use]
pub fn unheld<R: FromUnheld>(error: Error) -> R {
    R::from_unheld(error)
}

/// An output that can say that its holds did not land.
#[diagnostic::on_unimplemented(
    message = "`hold_required` needs a function that returns `Result<_, E>` with `E: From<larder::Error>`",
    label = "`{Self}` has no place for a hold that failed",
    note = "leave `hold_required` out to run the function without the hold then"
)]
#[doc(hidden)]
pub trait FromUnheld {
    /// The error in the output's own terms.
    fn from_unheld(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Error>> FromUnheld for Result<T, E> {
    fn from_unheld(error: Error) -> Self {
        Err(error.into())
    }
}

/// What a function returns that a guard has denied.
#[must_use]
pub fn denied<D, R: FromDenied<D>>(denial: D) -> R {
    denial::note();
    R::from_denied(denial)
}

/// An output that can say that a guard has denied it.
#[diagnostic::on_unimplemented(
    message = "a denial has no place in `{Self}`",
    label = "`{Self}` is not a `Result` whose error can be made of `{D}`",
    note = "return a `Result<_, E>` with `E: From<{D}>`"
)]
#[doc(hidden)]
pub trait FromDenied<D> {
    /// The denial in the output's own terms.
    fn from_denied(denial: D) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<D>, D> FromDenied<D> for Result<T, E> {
    fn from_denied(denial: D) -> Self {
        Err(denial.into())
    }
}

#[cfg(test)]
#[allow(clippy::needless_borrow, reason = "as the attributes emit it, whatever the output is")]
mod tests {
    use super::*;

    /// An alias, as of `io` and `anyhow`.
    type Fallible<T> = Result<T, String>;

    #[test]
    fn a_result_succeeds_with_what_is_ok() {
        let (ok, error): (Fallible<u8>, Fallible<u8>) = (Ok(1), Err("no".to_owned()));
        assert_eq!((&Outcome(&ok)).success(), Some(&1));
        assert_eq!((&Outcome(&error)).success(), None);
    }

    #[test]
    fn an_option_succeeds_with_some() {
        let none: Option<u8> = None;
        assert_eq!((&Outcome(&Some(1))).success(), Some(&1));
        assert_eq!((&Outcome(&none)).success(), None);
    }

    #[test]
    fn the_outermost_layer_decides() {
        let output: Fallible<Option<u8>> = Ok(None);
        assert_eq!((&Outcome(&output)).success(), Some(&None));
    }

    #[test]
    fn anything_else_succeeds_with_itself() {
        assert_eq!((&Outcome(&())).success(), Some(&()));
        assert_eq!((&Outcome(&Box::new(Err::<u8, u8>(1)))).success(), Some(&Box::new(Err(1))));
    }

    #[test]
    fn what_is_made_of_a_value_may_borrow_from_it() {
        let name = "Ada".to_owned();
        assert_eq!(of(&name, |name| &name[1..]), "da");
    }
}
