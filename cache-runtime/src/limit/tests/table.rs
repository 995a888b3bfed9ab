//! What is remembered of names: how many at most, and which of them.

use super::{
    super::{
        claim::NAMES,
        name::{Name, Scope, Title},
        table::{Table, Until},
    },
    *,
};
use crate::key::{KeyBytes, KeyPart};

fn scope() -> Scope {
    Scope::new(Title::Named("login"), Rule::new(Algorithm::Gcra, 10, Duration::from_secs(60), None))
}

fn name(key: &(impl KeyPart + ?Sized)) -> Name {
    let mut bytes = KeyBytes::new();
    bytes.writer().part(key);
    Name::new(scope(), &bytes)
}

impl<T: Copy> Table<T> {
    fn set(&self, name: &Name, now: u64, value: T, over: u64) {
        self.change(name, now, |_, _| (Some(Until { value, over }), ()));
    }
}

#[test]
fn a_million_names_leave_as_many_as_are_remembered() {
    let table = Table::new(NAMES);
    for key in 0..1_000_000_u64 {
        table.set(&name(&key), 0, key, 1_000 + key);
        if key % 16 == 0 {
            assert_eq!(table.find(&name(&key)).unwrap().value, key);
        }
    }
    let (names, bytes) = table.size();
    assert!(names <= NAMES, "{names}");
    println!("{bytes} bytes for {names} names");
    assert!(bytes <= NAMES * 180, "{bytes}");
}

#[test]
fn a_million_long_names_take_no_more() {
    let table = Table::new(NAMES);
    let mut long = "x".repeat(1 << 10);
    for key in 0..1_000_000_u64 / 16 {
        long.replace_range(..8, &format!("{key:08}"));
        table.set(&name(&*long), 0, key, 1_000 + key);
    }
    assert!(table.size().1 <= NAMES * 180);
    assert_eq!(size_of::<Name>(), 56);
}

#[test]
fn who_has_taken_the_most_is_remembered_whoever_comes() {
    let (table, hour) = (Table::new(NAMES), 3_600 * SECOND);
    let heavy: Vec<_> = (0..1_000_u64).map(|key| name(&("heavy", key))).collect();
    for (at, heavy) in (0..).zip(&heavy) {
        table.set(heavy, 0, at, hour);
    }
    for key in 0..200_000_u64 {
        table.set(&name(&key), key, 0, key + SECOND);
    }
    for (at, heavy) in (0..).zip(&heavy) {
        assert_eq!(table.find(heavy), Some(Until { value: at, over: hour }));
    }
}

#[test]
fn who_takes_more_later_is_remembered_by_that() {
    let (table, hour) = (Table::new(NAMES), 3_600 * SECOND);
    // When they come they are the next to go, and then they are not any more.
    for key in 0..1_000_u64 {
        table.set(&name(&("heavy", key)), 0, key, 1);
        table.set(&name(&("heavy", key)), 0, key, hour);
    }
    for key in 0..200_000_u64 {
        table.set(&name(&key), 0, 0, SECOND);
    }
    assert!((0..1_000_u64).all(|key| table.find(&name(&("heavy", key))).is_some()));
}

#[test]
fn what_is_over_makes_room_before_anything_grows() {
    let table = Table::new(NAMES);
    let mut most = 0;
    // 10,000 are of use at each moment.
    for key in 0..200_000_u64 {
        table.set(&name(&key), key, 0, key + 10_000);
        if key % 500 == 0 {
            most = most.max(table.size().0);
        }
    }
    assert!(most <= 30_000, "{most}");
    for key in 190_001..200_000_u64 {
        assert!(table.find(&name(&key)).is_some());
    }
}

#[test]
fn what_was_forgotten_is_not_found_and_makes_room() {
    let table = Table::new(64);
    for round in 0..1_000_u64 {
        for key in 0..10_u64 {
            table.set(&name(&key), round, round, round + 5);
            table.forget(&name(&key));
            assert_eq!(table.find(&name(&key)), None);
        }
    }
    assert!(table.size().0 <= 64);
}

#[test]
fn time_does_not_go_back_for_who_was_held_up() {
    let table = Table::new(NAMES);
    let seen =
        |now| table.change(&name("a"), now, |_, now| (Some(Until { value: (), over: 9 }), now));
    assert_eq!((seen(5), seen(3), seen(6)), (5, 5, 6));
}

#[test]
fn what_was_asked_before_something_was_forgotten_is_not_kept() {
    let table = Table::new(NAMES);
    let known = Until { value: (), over: 9 };
    let before = table.forgets(&name("a"));
    table.forget(&name("a"));
    table.keep(&name("a"), known, 0, before);
    assert_eq!(table.find(&name("a")), None);
    table.keep(&name("a"), known, 0, table.forgets(&name("a")));
    assert_eq!(table.find(&name("a")), Some(known));
}

#[test]
fn short_names_are_compared_whole_and_long_ones_by_their_digest() {
    let bytes: Vec<_> = (0..60).map(|length| "a".repeat(length)).collect();
    for one in &bytes {
        for other in &bytes {
            assert_eq!(name(&**one) == name(&**other), one == other);
        }
    }
    // What stands for a long one can be written by a caller, and is another name then.
    let mut digest = KeyBytes::new();
    digest.writer().tagged(5, &[0; 38]);
    assert_ne!(Name::new(scope(), &digest), name(&*"a".repeat(60)));
}

proptest! {
    /// A table that nothing has to go from is a map.
    #[test]
    fn a_table_with_room_is_a_map(
        steps in prop::collection::vec((0..40_u64, any::<bool>(), 1..50_u64), 1..400)
    ) {
        let (table, mut map) = (Table::new(NAMES), std::collections::HashMap::new());
        for (now, (key, is_set, lasts)) in (0..).zip(steps) {
            let expected = map.get(&key).copied().filter(|(_, over)| *over > now);
            let found = table.find(&name(&key)).filter(|known| known.over > now);
            prop_assert_eq!(found.map(|known| (known.value, known.over)), expected);
            if is_set {
                table.set(&name(&key), now, now, now + lasts);
                map.insert(key, (now, now + lasts));
            } else {
                table.forget(&name(&key));
                map.remove(&key);
            }
        }
    }

    /// Of what is over first so many go as there is no room for.
    #[test]
    fn those_go_that_are_over_first(
        ends in prop::collection::vec(1..1_000_u64, 1..100)
    ) {
        let table = Table::new(16 * 3);
        for (key, over) in (0..).zip(&ends) {
            let before: Vec<_> = (0..key).filter(|key: &u64| table.find(&name(key)).is_some()).collect();
            table.set(&name(&key), 0, (), *over);
            let gone: Vec<_> = before.into_iter().filter(|key| table.find(&name(key)).is_none()).collect();
            prop_assert!(gone.len() <= 1);
            // Nobody in the same part of the table is over before who has gone.
            if let [gone] = gone[..] {
                let shard = table.shard_of(&name(&gone));
                for other in (0..key).filter(|key| table.shard_of(&name(key)) == shard) {
                    if table.find(&name(&other)).is_some() {
                        prop_assert!(ends[other as usize] >= ends[gone as usize]);
                    }
                }
            }
        }
    }
}
