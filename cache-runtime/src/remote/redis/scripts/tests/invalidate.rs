use super::*;

#[test]
fn whatever_stands_there_is_removed() {
    let values = [fresh(), stale(), dead(), refreshed(stale(), OTHER, 5_000)];
    let values = values.iter().map(value);
    for bytes in values.chain([lease(OTHER), newer()]).chain(foreign()).chain(over()) {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.invalidate(), Invalidated::Removed, "{bytes:?}");
        assert_eq!(entry.get(), None);
    }
}

#[test]
fn other_types_are_removed() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        assert_eq!(entry.invalidate(), Invalidated::Removed);
        assert_eq!(entry.type_of(), "none");
    }
}

#[test]
fn a_hold_stays_and_is_contended() {
    let mut entry = Entry::with(&hold(&[MINE, OTHER]));
    let mut contended = hold(&[MINE, OTHER]);
    contended[1] = 1;
    for _ in 0..2 {
        assert_eq!(entry.invalidate(), Invalidated::Held);
        assert_eq!(entry.get().as_ref(), Some(&contended));
        assert!(entry.lasts_until(*HELD_UNTIL));
    }
}

#[test]
fn every_process_is_told_whatever_stood_there() {
    let mut entry = Entry::new();
    assert_eq!(entry.invalidate(), Invalidated::Absent);
    assert_eq!(entry.heard(), ["invalidated"]);
    for bytes in [lease(MINE), value(&fresh()), hold(&[MINE]), newer(), b"42".to_vec()] {
        entry.set(&bytes, LONG);
        entry.invalidate();
        assert_eq!(entry.heard(), ["invalidated"]);
    }
}
