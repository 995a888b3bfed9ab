//! What a function returns that loads many, and how its elements are kept. Told apart by trait, so that
//! aliases of `Result` and `HashMap` are what they stand for.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    hash::{BuildHasher, Hash},
    marker::PhantomData,
    sync::Arc,
};

use super::{
    super::{
        Cacheable, Codec, InArc, InLabel, Keep, Output,
        shape::{AsArc, CacheableInMemory, FallibleOptional},
    },
    element::Failed,
};

/// One element, as a call of its own returns it.
pub(super) type ElementShape<V, E, K> = FallibleOptional<V, Failed<E>, K>;

/// The output of a batch: a value for each element that has one, or an error for all of them.
#[diagnostic::on_unimplemented(
    message = "`each` needs a function that returns `HashMap<_, _>` or `Result<HashMap<_, _>, _>`",
    label = "this is not a `HashMap`"
)]
#[doc(hidden)]
pub trait EachOutput: Sized {
    type Key;
    type Value;
    type Error;
    type Hasher;

    /// # Errors
    ///
    /// The function's own.
    fn split(self) -> Result<Map<Self>, Self::Error>;

    fn of(values: Map<Self>) -> Self;

    fn error(error: Self::Error) -> Self;
}

/// The values of an output.
type Map<R> = HashMap<<R as EachOutput>::Key, <R as EachOutput>::Value, <R as EachOutput>::Hasher>;

#[diagnostic::do_not_recommend]
impl<T, V, H> EachOutput for HashMap<T, V, H> {
    type Key = T;
    type Value = V;
    type Error = Infallible;
    type Hasher = H;

    fn split(self) -> Result<Self, Infallible> {
        Ok(self)
    }

    fn of(values: Self) -> Self {
        values
    }

    fn error(error: Infallible) -> Self {
        match error {}
    }
}

#[diagnostic::do_not_recommend]
impl<T, V, H, E> EachOutput for Result<HashMap<T, V, H>, E> {
    type Key = T;
    type Value = V;
    type Error = E;
    type Hasher = H;

    fn split(self) -> Self {
        self
    }

    fn of(values: HashMap<T, V, H>) -> Self {
        Ok(values)
    }

    fn error(error: E) -> Self {
        Err(error)
    }
}

/// What a batch can be asked for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of a batch",
    label = "the elements of this batch are `{Self}`",
    note = "elements are told apart and cloned: derive `Clone`, `PartialEq`, `Eq` and `Hash` for `{Self}`"
)]
#[doc(hidden)]
pub trait ElementOf: Clone + Eq + Hash {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Eq + Hash> ElementOf for T {}

/// The keys of the map that a batch returns, which are what it was asked for.
#[diagnostic::on_unimplemented(
    message = "the elements of this batch are `{T}`, and the keys of its map are `{Self}`",
    label = "this map needs `{T}` as its keys"
)]
#[doc(hidden)]
pub trait KeyOf<T>: Sized {
    fn into_element(self) -> T;

    fn collect<V, H>(values: Vec<(T, V)>) -> HashMap<Self, V, H>
    where
        T: ElementOf,
        H: BuildHasher + Default;
}

impl<T> KeyOf<T> for T {
    fn into_element(self) -> T {
        self
    }

    fn collect<V, H>(values: Vec<(T, V)>) -> HashMap<T, V, H>
    where
        T: ElementOf,
        H: BuildHasher + Default,
    {
        values.into_iter().collect()
    }
}

/// What is done with the elements `T`, their values, and the output of all of them. So that what stands
/// in a signature is checked where a batch is made, and nowhere else once more.
pub(super) struct Ways<T, V, E, R> {
    /// An element is kept, and handed to the function.
    pub(super) clone: fn(&T) -> T,
    pub(super) part: Part<T, V, E, R>,
    pub(super) join: fn(Vec<(T, V)>) -> R,
    pub(super) error: fn(E) -> R,
}

/// Takes an output apart, by the elements.
type Part<T, V, E, R> = fn(R, &[T]) -> Result<Parted<T, V>, E>;

/// The values of an output.
pub(super) struct Parted<T, V> {
    /// By the places of their elements.
    pub(super) values: HashMap<usize, V>,
    /// Of what was not asked for.
    pub(super) extra: Vec<(T, V)>,
}

impl<T, V, E, R> Copy for Ways<T, V, E, R> {}

impl<T, V, E, R> Clone for Ways<T, V, E, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ElementOf, V, E, R> Ways<T, V, E, R> {
    pub(super) fn of<H>() -> Self
    where
        R: EachOutput<Key: KeyOf<T>, Value = V, Error = E, Hasher = H>,
        H: BuildHasher + Default,
    {
        Self {
            clone: T::clone,
            part: |output, elements| {
                let values = R::split(output)?;
                let mut places: HashMap<_, _> = elements.iter().zip(0..).collect();
                let mut parted = Parted { values: HashMap::new(), extra: Vec::new() };
                for (key, value) in values {
                    let element = key.into_element();
                    match places.remove(&element) {
                        Some(place) => drop(parted.values.insert(place, value)),
                        None => parted.extra.push((element, value)),
                    }
                }
                Ok(parted)
            },
            join: |values| R::of(R::Key::collect(values)),
            error: R::error,
        }
    }
}

/// How the values of an output are kept.
#[doc(hidden)]
pub struct EachShape<R, V, E, K>(pub(super) &'static Codec, Kept<R, V, E, K>);

type Kept<R, V, E, K> = PhantomData<fn() -> (R, V, E, K)>;

impl<R, V, E, K> Copy for EachShape<R, V, E, K> {}

impl<R, V, E, K> Clone for EachShape<R, V, E, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, V, E, K> fmt::Debug for EachShape<R, V, E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EachShape")
    }
}

/// The shape of a batch, as `ShapeOf` is that of a call: look-up on `&&Output<R>` takes an `Arc` as
/// itself. All bounds are on the methods, so that what is no map is an error about that.
#[doc(hidden)]
pub trait EachOf<R, K> {
    fn each_shape(&self) -> EachShape<R, R::Value, R::Error, K>
    where
        R: EachOutput,
        R::Value: Cacheable,
        K: Keep<R::Value>,
    {
        EachShape(R::Value::codec::<K>(), PhantomData)
    }

    fn each_memory_shape(&self) -> EachShape<R, R::Value, R::Error, K>
    where
        R: EachOutput,
        R::Value: CacheableInMemory,
        K: Keep<R::Value>,
    {
        EachShape(R::Value::memory_codec::<K>(), PhantomData)
    }

    fn each_tagged_shape(&self) -> EachShape<R, R::Value, R::Error, InLabel>
    where
        R: EachOutput,
        R::Value: Cacheable,
    {
        EachShape(R::Value::codec::<InLabel>(), PhantomData)
    }

    fn each_tagged_memory_shape(&self) -> EachShape<R, R::Value, R::Error, InLabel>
    where
        R: EachOutput,
        R::Value: CacheableInMemory,
    {
        EachShape(R::Value::memory_codec::<InLabel>(), PhantomData)
    }
}

impl<R> EachOf<R, InArc> for Output<R> {}

impl<T, V, H> EachOf<HashMap<T, Arc<V>, H>, AsArc> for &Output<HashMap<T, Arc<V>, H>> {}

impl<T, V, H, E> EachOf<Result<HashMap<T, Arc<V>, H>, E>, AsArc>
    for &Output<Result<HashMap<T, Arc<V>, H>, E>>
{
}
