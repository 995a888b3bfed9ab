use super::*;

const PAUSE: Duration = Duration::from_secs(3);

#[test]
fn a_lease_is_removed() {
    for pause in [Duration::ZERO, PAUSE] {
        let mut entry = Entry::with(&lease(MINE));
        assert!(entry.release(MINE, pause));
        assert_eq!(entry.get(), None);
        assert_eq!(entry.heard(), [""; 0]);
    }
}

#[test]
fn a_refresh_is_given_back_and_the_value_stays() {
    for before in [fresh(), stale(), kept()] {
        let mut entry = Entry::with(&value(&refreshed(before, MINE, 5_000)));
        assert!(entry.release(MINE, Duration::ZERO));
        assert_eq!(entry.get(), Some(value(&before)));
        assert!(entry.left() > 50_000);
        assert!(!entry.release(MINE, Duration::ZERO));
    }
}

#[test]
fn after_an_error_the_value_is_not_refreshed_for_a_while() {
    let before = stale();
    let mut entry = Entry::with(&value(&refreshed(before, MINE, 5_000)));
    let asked = now();
    assert!(entry.release(MINE, PAUSE));
    let after = entry.header();
    assert!((asked + 3_000..=now() + 3_000).contains(&after.refresh_until));
    assert_eq!(Header { refresh_until: 0, ..after }, before);
    assert!(matches!(entry.load(OTHER), Leased::Stale(_)));
    assert!(matches!(entry.ask(Ask::Early, OTHER), Leased::Stale(_)));
    assert_eq!(entry.ask(Ask::Refresh, OTHER), Leased::Granted(Grant::Refresh));
}

#[test]
fn a_value_past_its_life_is_removed_like_a_lease() {
    let mut entry = Entry::with(&awaited(value(&refreshed(dead(), MINE, 5_000))));
    assert!(entry.release(MINE, PAUSE));
    assert_eq!(entry.get(), None);
    assert_eq!(entry.heard(), ["wake"]);
}

#[test]
fn another_token_changes_nothing_and_is_told() {
    let values = [fresh(), paused(stale(), 5_000), refreshed(stale(), OTHER, 5_000)];
    let values = values.iter().map(value);
    let others = [awaited(lease(OTHER)), hold(&[MINE]), newer()];
    for bytes in values.chain(others).chain(foreign()).chain(over()) {
        let mut entry = Entry::with(&bytes);
        assert!(!entry.release(MINE, PAUSE), "{bytes:?}");
        assert_eq!(entry.get(), Some(bytes));
        assert_eq!(entry.heard(), [""; 0]);
    }
    assert!(!Entry::new().release(MINE, PAUSE));
}

#[test]
fn other_types_are_left_alone() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        let before = entry.type_of();
        assert!(!entry.release(MINE, PAUSE));
        assert_eq!(entry.type_of(), before);
    }
}

#[test]
fn who_waits_is_woken_and_nobody_is_awaited_any_more() {
    let mut entry = Entry::with(&awaited(lease(MINE)));
    assert!(entry.release(MINE, PAUSE));
    assert_eq!(entry.heard(), ["wake"]);
    let before = kept();
    entry.set(&awaited(value(&refreshed(before, MINE, 5_000))), LONG);
    assert!(entry.release(MINE, Duration::ZERO));
    assert_eq!(entry.heard(), ["wake"]);
    assert_eq!(entry.get(), Some(value(&before)));
}
