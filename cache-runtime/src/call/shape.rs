//! What a return type means: which part of it is stored, and what an error of it is. Told apart
//! by trait, so that aliases of `Result` and `Option` are what they stand for.

use std::{any::Any, convert::Infallible, fmt, io, marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    blob::{self, EncodeError},
    call::Call,
    local::{AnyValue, Label, Labelled},
};

/// A value that can be cached: `Clone + Send + Sync + 'static`, and serde's `Serialize` and
/// `DeserializeOwned`. With `remote = false` the last two are not needed.
///
/// Implemented for every type that has these; `Arc<T>` is one, and cheap to clone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "the cached value of this function is `{Self}`",
    note = "cached values are cloned, shared between threads and stored as JSON: derive `Clone`, `serde::Serialize` and `serde::Deserialize` for `{Self}`, or for what is inside of it",
    note = "a value that stays in the memory of the process needs no serde: add `remote = false`"
)]
pub trait Cacheable: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    fn codec<K: Keep<Self>>() -> &'static Codec;
}

#[diagnostic::do_not_recommend]
impl<T> Cacheable for T
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    fn codec<K: Keep<T>>() -> &'static Codec {
        &Codec {
            remote: Some(RemoteCodec { encode: encode::<T, K>, decode: decode::<T, K> }),
            measure: encoded_length::<T, K>,
            is_none: is_null::<T>,
            type_name: std::any::type_name::<T>,
            label: K::label,
        }
    }
}

/// A value that can be kept in memory; what `remote = false` asks of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "the cached value of this function is `{Self}`",
    note = "a value in memory is cloned and shared between threads: it has to be `Clone + Send + Sync + 'static`"
)]
#[doc(hidden)]
pub trait CacheableInMemory: Clone + Send + Sync + 'static {
    fn memory_codec<K: Keep<Self>>() -> &'static Codec;
}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> CacheableInMemory for T {
    fn memory_codec<K: Keep<T>>() -> &'static Codec {
        &Codec {
            remote: None,
            measure: |_| size_of::<T>() as u64,
            is_none: |_| false,
            type_name: std::any::type_name::<T>,
            label: K::label,
        }
    }
}

/// What is done with an erased value.
#[doc(hidden)]
#[derive(Debug)]
pub struct Codec {
    /// `None` for a value that stays in memory.
    pub(crate) remote: Option<RemoteCodec>,
    /// About how many bytes a value takes.
    pub(crate) measure: fn(&AnyValue) -> u64,
    is_none: fn(&(dyn Any + Send + Sync)) -> bool,
    type_name: fn() -> &'static str,
    /// What a value has noted of its tags.
    pub(crate) label: fn(&AnyValue) -> Option<&Label>,
}

impl Codec {
    /// Whether serde has the value as none.
    pub(crate) fn is_none(&self, value: &(dyn Any + Send + Sync)) -> bool {
        (self.is_none)(value)
    }

    pub(crate) fn type_name(&self) -> &'static str {
        (self.type_name)()
    }
}

#[derive(Debug)]
pub(crate) struct RemoteCodec {
    pub(crate) encode: fn(blob::Codec, &AnyValue) -> Result<Vec<u8>, EncodeError>,
    pub(crate) decode: fn(blob::Codec, &[u8]) -> Option<AnyValue>,
}

fn encode<T: Serialize, K: Keep<T>>(
    codec: blob::Codec,
    kept: &AnyValue,
) -> Result<Vec<u8>, EncodeError> {
    K::with(kept, |value| match value {
        Some(value) => blob::codec::encode(codec, value),
        // Only what this shape has kept comes here.
        None => unreachable!(),
    })
}

fn decode<T: DeserializeOwned, K: Keep<T>>(codec: blob::Codec, bytes: &[u8]) -> Option<AnyValue> {
    blob::codec::decode(codec, bytes).map(K::keep)
}

fn encoded_length<T: Serialize, K: Keep<T>>(kept: &AnyValue) -> u64 {
    struct Count(u64);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // A value that has no JSON counts for what it wrote before that showed.
    let _ = K::with(kept, |value| serde_json::to_writer(&mut count, &value));
    count.0
}

fn is_null<T: Serialize + 'static>(value: &(dyn Any + Send + Sync)) -> bool {
    /// Takes as much as `null` is long, and then refuses, so that no large value is encoded.
    struct Head(Vec<u8>);

    impl io::Write for Head {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            if self.0.len() > 4 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut head = Head(Vec::new());
    let value = value.downcast_ref::<T>();
    value.is_some() && serde_json::to_writer(&mut head, &value).is_ok() && head.0 == b"null"
}

/// An output, taken apart.
#[doc(hidden)]
#[derive(Debug)]
pub enum Split<V, E> {
    Value(V),
    None,
    Error(E),
}

/// How a value is kept in memory.
#[doc(hidden)]
#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
pub trait Keep<V>: 'static {
    fn keep(value: V) -> AnyValue;

    /// The value that was kept, or what was handed in if that is of another type.
    fn take(kept: AnyValue) -> Result<V, AnyValue>;

    /// As `take`, of what is unlikely to be kept anywhere else: it is not cloned then.
    fn take_last(kept: AnyValue) -> Result<V, AnyValue> {
        Self::take(kept)
    }

    /// As `take`, of what a hit has found; only if nothing is to be looked up to know that it is current.
    #[inline]
    fn take_noted(kept: AnyValue) -> Result<V, AnyValue> {
        Self::take(kept)
    }

    /// The same, looked up. Of a `None` that has outdated tags something else is handed back.
    fn take_current(kept: AnyValue, _: &Call) -> Result<V, AnyValue> {
        Err(kept)
    }

    /// What a value has noted of its tags.
    fn label(_: &AnyValue) -> Option<&Label> {
        None
    }

    /// Shows a value; `None` if what is kept is of another type.
    fn with<R>(kept: &AnyValue, show: impl FnOnce(Option<&V>) -> R) -> R;
}

/// Behind an `Arc` of its own; taken by `Clone`.
#[doc(hidden)]
#[derive(Debug)]
pub struct InArc;

#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
impl<V: Clone + Send + Sync + 'static> Keep<V> for InArc {
    fn keep(value: V) -> AnyValue {
        Arc::new(value)
    }

    #[inline]
    fn take(kept: AnyValue) -> Result<V, AnyValue> {
        match kept.downcast_ref::<V>() {
            Some(value) => Ok(value.clone()),
            None => Err(kept),
        }
    }

    fn take_last(kept: AnyValue) -> Result<V, AnyValue> {
        kept.downcast().map(Arc::unwrap_or_clone)
    }

    fn with<R>(kept: &AnyValue, show: impl FnOnce(Option<&V>) -> R) -> R {
        show(kept.downcast_ref())
    }
}

/// What is an `Arc` already, as itself: a hit is one count of references and not two.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsArc;

#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
impl<T: Send + Sync + 'static> Keep<Arc<T>> for AsArc {
    fn keep(value: Arc<T>) -> AnyValue {
        value
    }

    #[inline]
    fn take(kept: AnyValue) -> Result<Arc<T>, AnyValue> {
        kept.downcast()
    }

    fn with<R>(kept: &AnyValue, show: impl FnOnce(Option<&Arc<T>>) -> R) -> R {
        show(Self::take(Arc::clone(kept)).ok().as_ref())
    }
}

/// With a label, whatever it is: of functions that have tags.
#[doc(hidden)]
#[derive(Debug)]
pub struct InLabel;

#[allow(private_interfaces, reason = "the trait is for the attributes alone")]
impl<V: Clone + Send + Sync + 'static> Keep<V> for InLabel {
    fn keep(value: V) -> AnyValue {
        Arc::new(Labelled::of(value))
    }

    fn take(kept: AnyValue) -> Result<V, AnyValue> {
        match kept.downcast_ref::<Labelled<V>>() {
            Some(labelled) => Ok(labelled.value.clone()),
            None => Err(kept),
        }
    }

    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "else it is a call in every hit, as `scripts/bench tags` shows"
    )]
    fn take_noted(kept: AnyValue) -> Result<V, AnyValue> {
        let labelled = kept.downcast::<Labelled<V>>()?;
        if labelled.label.is_noted() { Ok(labelled.value.clone()) } else { Err(labelled) }
    }

    fn take_current(kept: AnyValue, call: &Call) -> Result<V, AnyValue> {
        match kept.downcast_ref::<Labelled<V>>() {
            Some(labelled) if labelled.label.is_current(call) => Ok(labelled.value.clone()),
            _ => Err(call.without_outdated_none(kept)),
        }
    }

    fn take_last(kept: AnyValue) -> Result<V, AnyValue> {
        let labelled = kept.downcast::<Labelled<V>>()?;
        Ok(match Arc::try_unwrap(labelled) {
            Ok(labelled) => labelled.value,
            Err(labelled) => labelled.value.clone(),
        })
    }

    fn label(kept: &AnyValue) -> Option<&Label> {
        kept.downcast_ref::<Labelled<V>>().map(|labelled| &labelled.label)
    }

    fn with<R>(kept: &AnyValue, show: impl FnOnce(Option<&V>) -> R) -> R {
        show(kept.downcast_ref::<Labelled<V>>().map(|labelled| &labelled.value))
    }
}

/// How an output is taken apart and put together.
#[doc(hidden)]
pub trait Shape: Copy {
    type Output;
    type Value: Clone + Send + Sync + 'static;
    type Error;
    type Keep: Keep<Self::Value>;
    const READS_NONE: bool;
    fn codec(self) -> &'static Codec;
    fn split(output: Self::Output) -> Split<Self::Value, Self::Error>;
    fn value(value: Self::Value) -> Self::Output;
    fn none() -> Option<Self::Output>;
    fn error(error: Self::Error) -> Self::Output;
    fn is_failure(output: &Self::Output) -> bool;
}

/// A shape that has a `None`.
#[diagnostic::on_unimplemented(
    message = "`none_ttl` needs a function that returns `Option` or `Result<Option<_>, _>`",
    label = "this has no `None`"
)]
#[doc(hidden)]
pub trait HasNone {}

/// A shape that has an error.
#[diagnostic::on_unimplemented(
    message = "`share_error` needs a function that returns `Result`",
    label = "this has no `Err`"
)]
#[doc(hidden)]
pub trait HasError {}

/// The return type of a function, before it is known which shape it has.
#[doc(hidden)]
pub struct Output<R>(PhantomData<fn() -> R>);

impl<R> Output<R> {
    pub const OF: Self = Self(PhantomData);
}

impl<R> fmt::Debug for Output<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// What a shape carries, cacheable or not.
#[doc(hidden)]
pub trait Carries {
    type Value;
    type Keep;
    /// The same with tags.
    type WithTags: Carries<Value = Self::Value>;
    fn with(codec: &'static Codec) -> Self;
}

/// The shape of an output. Implemented at four depths of references: method look-up on
/// `&&&&Output<R>` takes the deepest that fits. The bound is on the method, not on the impl, so
/// that a value without it is an error here and not the next shape.
#[doc(hidden)]
pub trait ShapeOf<S: Carries> {
    fn shape(&self) -> S
    where
        S::Value: Cacheable,
        S::Keep: Keep<S::Value>,
    {
        S::with(S::Value::codec::<S::Keep>())
    }

    fn memory_shape(&self) -> S
    where
        S::Value: CacheableInMemory,
        S::Keep: Keep<S::Value>,
    {
        S::with(S::Value::memory_codec::<S::Keep>())
    }

    fn tagged_shape(&self) -> S::WithTags
    where
        S::Value: Cacheable,
    {
        S::WithTags::with(S::Value::codec::<InLabel>())
    }

    fn tagged_memory_shape(&self) -> S::WithTags
    where
        S::Value: CacheableInMemory,
    {
        S::WithTags::with(S::Value::memory_codec::<InLabel>())
    }
}

macro_rules! shapes {
    ($(
        $(#[$doc:meta])*
        $shape:ident<$value_type:ident $(, $param:ident)?> for $target:ty, in_arc: $target_in_arc:ty;
        $output:ty, $error:ty;
        |$split:ident| $split_as:expr, |$value:ident| $value_as:expr,
        none: $none:expr, |$failure:ident| $error_as:expr,
        |$tested:ident| $is_failure:expr, reads_none: $reads_none:expr
    )*) => {$(
        $(#[$doc])*
        #[doc(hidden)]
        pub struct $shape<$value_type, $($param,)? K>(
            &'static Codec,
            PhantomData<fn() -> ($value_type, $($param,)? K)>,
        );

        impl<$value_type, $($param,)? K> Copy for $shape<$value_type, $($param,)? K> {}

        impl<$value_type, $($param,)? K> Clone for $shape<$value_type, $($param,)? K> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$value_type, $($param,)? K> fmt::Debug for $shape<$value_type, $($param,)? K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($shape))
            }
        }

        impl<$value_type, $($param,)? K> Carries for $shape<$value_type, $($param,)? K> {
            type Value = $value_type;
            type Keep = K;
            type WithTags = $shape<$value_type, $($param,)? InLabel>;

            fn with(codec: &'static Codec) -> Self {
                Self(codec, PhantomData)
            }
        }

        impl<$value_type, $($param)?> ShapeOf<$shape<$value_type, $($param,)? InArc>> for $target {}

        impl<$value_type, $($param)?> ShapeOf<$shape<Arc<$value_type>, $($param,)? AsArc>>
            for $target_in_arc
        {
        }

        impl<$value_type, $($param,)? K> Shape for $shape<$value_type, $($param,)? K>
        where
            $value_type: Clone + Send + Sync + 'static,
            K: Keep<$value_type>,
        {
            type Output = $output;
            type Value = $value_type;
            type Error = $error;
            type Keep = K;
            const READS_NONE: bool = $reads_none;

            fn codec(self) -> &'static Codec {
                self.0
            }

            fn split($split: $output) -> Split<$value_type, $error> {
                $split_as
            }

            fn value($value: $value_type) -> $output {
                $value_as
            }

            fn none() -> Option<$output> {
                $none
            }

            fn error($failure: $error) -> $output {
                $error_as
            }

            fn is_failure($tested: &$output) -> bool {
                $is_failure
            }
        }
    )*};
}

shapes! {
    /// `Result<Option<T>, E>`
    FallibleOptional<T, E> for
        &&Output<Result<Option<T>, E>>, in_arc: &&&Output<Result<Option<Arc<T>>, E>>;
    Result<Option<T>, E>, E;
    |output| match output {
        Ok(Some(value)) => Split::Value(value),
        Ok(None) => Split::None,
        Err(error) => Split::Error(error),
    },
    |value| Ok(Some(value)), none: Some(Ok(None)), |error| Err(error), |output| output.is_err(),
    reads_none: true

    /// `Option<T>`
    Optional<T> for &&Output<Option<T>>, in_arc: &&&Output<Option<Arc<T>>>;
    Option<T>, Infallible;
    |output| output.map_or(Split::None, Split::Value),
    |value| Some(value), none: Some(None), |error| match error {}, |_output| false,
    reads_none: true

    /// `Result<T, E>`
    Fallible<T, E> for &Output<Result<T, E>>, in_arc: &&&Output<Result<Arc<T>, E>>;
    Result<T, E>, E;
    |output| match output {
        Ok(value) => Split::Value(value),
        Err(error) => Split::Error(error),
    },
    |value| Ok(value), none: None, |error| Err(error), |output| output.is_err(),
    reads_none: false

    /// `T`
    Plain<T> for Output<T>, in_arc: &&&Output<Arc<T>>;
    T, Infallible;
    |output| Split::Value(output),
    |value| value, none: None, |error| match error {}, |_output| false, reads_none: false
}

/// Of a batch, which is the output itself.
#[diagnostic::do_not_recommend]
impl<T, E> HasError for Result<T, E> {}
#[diagnostic::do_not_recommend]
impl<T, K> HasNone for Optional<T, K> {}
#[diagnostic::do_not_recommend]
impl<T, E, K> HasNone for FallibleOptional<T, E, K> {}
#[diagnostic::do_not_recommend]
impl<T, E, K> HasError for Fallible<T, E, K> {}
#[diagnostic::do_not_recommend]
impl<T, E, K> HasError for FallibleOptional<T, E, K> {}

impl<T: Cacheable, E, K: Keep<T>> Fallible<T, E, K> {
    /// The shape of what a loader returns.
    pub(crate) fn of_loader() -> Self {
        Self(T::codec::<K>(), PhantomData)
    }
}
