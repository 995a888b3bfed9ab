//! What may be put into an entry: an output, or the value inside of one.

use std::sync::Arc;

/// An output that can be made of a `V`: a `User` fits a `Result<Arc<User>, _>`. `M` says how, and
/// is always inferred.
#[diagnostic::on_unimplemented(
    message = "this call does not cache `{V}`",
    label = "expected `{Self}`, or the value inside",
    note = "the function returns `{Self}`"
)]
pub trait Holds<V, M>: sealed::Sealed<V, M> + Sized {
    #[doc(hidden)]
    fn holding(value: V) -> Self;
}

mod sealed {
    pub trait Sealed<V, M> {}
}

/// How a value fits an output.
#[allow(unreachable_pub, reason = "named by the bound of a public trait")]
pub mod fits {
    #[derive(Debug)]
    pub struct Whole;
    #[derive(Debug)]
    pub struct Value;
    #[derive(Debug)]
    pub struct Option;
    #[derive(Debug)]
    pub struct InArc;
    #[derive(Debug)]
    pub struct ValueInArc;
}

macro_rules! holds {
    ($(<$($param:ident),*> $output:ty: $value:ty as $how:ident, |$given:ident| $made:expr;)*) => {$(
        impl<$($param),*> sealed::Sealed<$value, fits::$how> for $output {}

        #[diagnostic::do_not_recommend]
        impl<$($param),*> Holds<$value, fits::$how> for $output {
            fn holding($given: $value) -> Self {
                $made
            }
        }
    )*};
}

holds! {
    <R> R: R as Whole, |value| value;
    <T, E> Result<T, E>: T as Value, |value| Ok(value);
    <T, E> Result<Arc<T>, E>: T as InArc, |value| Ok(Arc::new(value));
    <T> Option<T>: T as Value, |value| Some(value);
    <T> Option<Arc<T>>: T as InArc, |value| Some(Arc::new(value));
    <T, E> Result<Option<T>, E>: T as Option, |value| Ok(Some(value));
    <T, E> Result<Option<Arc<T>>, E>: T as ValueInArc, |value| Ok(Some(Arc::new(value)));
    <T> Arc<T>: T as InArc, |value| Arc::new(value);
}
