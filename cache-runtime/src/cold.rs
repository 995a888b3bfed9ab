use std::ops::{Deref, DerefMut};

/// Something that is seldom there, and is dropped out of line. A call has a few such parts, and to
/// drop one that was a hit has to be a few comparisons; where the compiler drops them itself, each
/// is a function that is called to find nothing.
#[derive(Clone, Debug)]
pub(crate) struct Cold<T>(Option<T>);

impl<T> Cold<T> {
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Deref for Cold<T> {
    type Target = Option<T>;

    #[inline]
    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T> DerefMut for Cold<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.0
    }
}

impl<T> Drop for Cold<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            drop_cold(value);
        }
    }
}

#[cold]
#[inline(never)]
pub(crate) fn drop_cold<T>(value: T) {
    drop(value);
}
