use super::*;

#[test]
fn the_token_of_a_lease_stores() {
    let mut entry = Entry::with(&lease(MINE));
    assert!(entry.fill(MINE, &value(&fresh())));
    assert!(matches!(entry.load(OTHER), Leased::Found(_)));
    assert_eq!(entry.header().token, None);
    let left = entry.left();
    assert!((50_000..=60_000).contains(&left), "{left}");
}

#[test]
fn the_token_of_a_refresh_stores_also_past_the_values_life() {
    let new = value(&Header { fingerprint: 2, ..fresh() });
    for old in [fresh(), stale(), kept(), dead()] {
        for left in [5_000, -1] {
            let mut entry = Entry::with(&value(&refreshed(old, MINE, left)));
            assert!(entry.fill(MINE, &new));
            assert_eq!(entry.get().as_ref(), Some(&new));
        }
    }
}

#[test]
fn another_token_stores_nothing() {
    let values = [fresh(), paused(stale(), 5_000), refreshed(stale(), OTHER, 5_000)];
    let values = values.iter().map(value);
    for bytes in values.chain([lease(OTHER), hold(&[MINE]), newer()]).chain(foreign()).chain(over())
    {
        let mut entry = Entry::with(&bytes);
        assert!(!entry.fill(MINE, &value(&fresh())), "{bytes:?}");
        assert_eq!(entry.get(), Some(bytes));
    }
    let mut entry = Entry::new();
    assert!(!entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.get(), None);
}

#[test]
fn no_other_type_is_stored_over() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        let before = entry.type_of();
        assert!(!entry.fill(MINE, &value(&fresh())));
        assert_eq!(entry.type_of(), before);
    }
}

#[test]
fn zeros_are_nobodys_token() {
    for bytes in [value(&fresh()), lease(Token(0))] {
        let mut entry = Entry::with(&bytes);
        assert!(!entry.fill(Token(0), &value(&stale())));
        assert!(!entry.release(Token(0), Duration::ZERO));
        assert_eq!(entry.get(), Some(bytes));
    }
}

#[test]
fn a_run_is_stored_once() {
    let mut entry = Entry::with(&lease(MINE));
    assert!(entry.fill(MINE, &value(&fresh())));
    assert!(!entry.fill(MINE, &value(&stale())));
}

#[test]
fn who_waits_is_woken_by_a_value_and_by_a_refusal() {
    let mut entry = Entry::with(&lease(MINE));
    assert!(entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.heard(), [""; 0]);
    for bytes in [lease(MINE), value(&refreshed(dead(), MINE, 5_000))] {
        entry.set(&awaited(bytes), LONG);
        assert!(entry.fill(MINE, &value(&fresh())));
        assert_eq!(entry.heard(), ["wake"]);
    }
    assert!(!entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.heard(), ["wake"]);
}
