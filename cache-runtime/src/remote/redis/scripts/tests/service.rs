use super::*;

impl Entry {
    /// A field of the service's key.
    fn field(&mut self, name: &str) -> Option<String> {
        let key = self.key.clone();
        self.redis(&[b"HGET", key.as_bytes(), name.as_bytes()])
    }

    pub(super) fn set_field(&mut self, name: &str, value: &str) {
        let key = self.key.clone();
        self.redis::<()>(&[b"HSET", key.as_bytes(), name.as_bytes(), value.as_bytes()]);
    }
}

#[test]
fn a_service_without_a_stamp_gets_the_servers_time() {
    let mut entry = Entry::new();
    let before = now();
    let Answer { now: at, outcome } = entry.service("one", Policy::Clear);
    assert!((before..=now()).contains(&at));
    assert_eq!(outcome.stamp / 1000, at);
    assert!(!outcome.changed);
    assert_eq!(entry.field("stamp"), Some(outcome.stamp.to_string()));
    assert_eq!(entry.field("server").as_deref(), Some("one"));
    assert_eq!(entry.left(), -1);
}

#[test]
fn the_stamp_stays_with_the_server() {
    let mut entry = Entry::new();
    let first = entry.service("one", Policy::Clear).outcome;
    for policy in [Policy::Clear, Policy::Trust] {
        assert_eq!(entry.service("one", policy).outcome, first);
    }
}

#[test]
fn another_server_moves_the_stamp_once() {
    let mut entry = Entry::new();
    let first = entry.service("one", Policy::Clear).outcome;
    let second = entry.service("two", Policy::Clear).outcome;
    assert!(second.changed && second.stamp > first.stamp);
    let third = entry.service("two", Policy::Clear).outcome;
    assert_eq!(third, Serving { changed: false, ..second });
}

#[test]
fn another_server_that_is_trusted_is_recorded_and_moves_nothing() {
    let mut entry = Entry::new();
    let first = entry.service("one", Policy::Trust).outcome;
    let second = entry.service("two", Policy::Trust).outcome;
    assert_eq!(second, Serving { changed: true, ..first });
    assert_eq!(entry.field("server").as_deref(), Some("two"));
}

#[test]
fn a_stamp_that_lies_in_the_future_still_moves() {
    let mut entry = Entry::new();
    let future = (now() + LONG) * 1000;
    entry.set_field("stamp", &future.to_string());
    assert_eq!(entry.service("one", Policy::Clear).outcome.stamp, future);
    assert_eq!(entry.service("two", Policy::Clear).outcome.stamp, future + 1);
    assert_eq!(entry.clear().outcome, future + 2);
}

#[test]
fn what_is_no_stamp_is_replaced() {
    for text in ["", "0", "-1", "1.5", "1e9", "abc", "99999999999999999999", "9007199254740991"] {
        let mut entry = Entry::new();
        entry.set_field("stamp", text);
        entry.set_field("server", "one");
        let Answer { now, outcome } = entry.service("one", Policy::Clear);
        assert_eq!(outcome.stamp / 1000, now, "{text}");
        assert_eq!(entry.service("one", Policy::Clear).outcome, outcome);
    }
}

#[test]
fn what_is_no_service_is_replaced() {
    for args in other_types().into_iter().filter(|args| args[0] != "HSET") {
        let mut entry = Entry::with_type(args);
        let Answer { now, outcome } = entry.service("one", Policy::Clear);
        assert_eq!(outcome.stamp / 1000, now);
        assert_eq!(entry.type_of(), "hash");
    }
    let mut entry = Entry::with(b"42");
    let Answer { now, outcome } = entry.clear();
    assert_eq!(outcome / 1000, now);
}
