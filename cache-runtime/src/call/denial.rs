//! Whether a guard has denied something inside of a run: the error that comes of it says when its caller
//! may come back, and is nobody else's.
//!
//! What a function makes of a denial is a type of its own, so it is noted beside it: on the thread, for
//! the time of one poll.

use std::cell::Cell;

thread_local! {
    static IS_DENIED: Cell<bool> = const { Cell::new(false) };
}

/// Something is denied now.
pub(super) fn note() {
    IS_DENIED.set(true);
}

/// Whether something was denied meanwhile. It was then in what is around this, too.
pub(super) fn during<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let before = IS_DENIED.replace(false);
    let polled = poll();
    let is_denied = IS_DENIED.get();
    IS_DENIED.set(before || is_denied);
    (polled, is_denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_inside_is_one_of_all_around_it() {
        let (inner, outer) = during(|| {
            let before = during(|| ()).1;
            let inside = during(note).1;
            let after = during(|| ()).1;
            (before, inside, after)
        });
        assert_eq!(inner, (false, true, false));
        assert!(outer);
        IS_DENIED.set(false);
    }
}
