use super::*;

impl Entry {
    fn seed(&mut self, keep_ms: u64) -> Seeded {
        let key = self.key.clone();
        self.run(&Seed { key: &key, keep: Duration::from_millis(keep_ms) }).outcome
    }

    /// That a stamp is made of this moment, and kept for so long.
    #[track_caller]
    fn assert_made(&mut self, keep_ms: u64) -> u64 {
        let Seeded::Stamp(stamp) = self.seed(keep_ms) else { panic!("held") };
        assert_eq!(stamp / 1000, self.answered);
        assert_eq!(self.get(), Some(stamp.to_string().into_bytes()));
        assert!(is_about(self.left(), keep_ms), "{}", self.left());
        stamp
    }
}

/// A stamp that was made long ago.
const STAMP: u64 = 1_600_000_000_000_001;

fn stamp() -> Vec<u8> {
    STAMP.to_string().into_bytes()
}

/// What is no stamp though it looks like one.
fn no_stamps() -> Vec<Vec<u8>> {
    let huge = (1u64 << 53).to_string();
    let texts = ["0", "-1", "+1", "1.5", "1e9", "0x1", " 1", "1 ", "1\n", "abc", "nan", "inf"];
    let longer = ["99999999999999999999", "9999999999999999", "00000000000000001", &huge];
    texts.iter().chain(&longer).map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_tag_without_a_stamp_gets_the_servers_time_in_microseconds() {
    let mut entry = Entry::new();
    let before = now();
    let stamp = entry.assert_made(LONG);
    assert!((before * 1000..(now() + 1) * 1000).contains(&stamp), "{stamp}");
    assert_eq!(entry.heard(), [""; 0], "nobody has to be told");
}

#[test]
fn the_stamp_that_stands_is_read() {
    let mut entry = Entry::new();
    let made = entry.assert_made(LONG);
    assert_eq!(entry.seed(LONG), Seeded::Stamp(made));
    for stamp in [1, STAMP, (1 << 53) - 1] {
        entry.set(stamp.to_string().as_bytes(), LONG);
        assert_eq!(entry.seed(LONG), Seeded::Stamp(stamp));
        assert_eq!(entry.get(), Some(stamp.to_string().into_bytes()));
    }
}

#[test]
fn a_stamp_is_kept_at_least_as_long_as_asked_and_never_shorter() {
    let mut entry = Entry::with(&stamp());
    for (keep, left) in [(1, LONG), (LONG / 2, LONG), (2 * LONG, 2 * LONG), (LONG, 2 * LONG)] {
        assert_eq!(entry.seed(keep), Seeded::Stamp(STAMP));
        assert!(is_about(entry.left(), left), "{keep} {}", entry.left());
    }
    // A century is as long as anything lasts.
    let key = entry.key.clone();
    let for_ever = Seed { key: &key, keep: Duration::MAX };
    assert_eq!(entry.run(&for_ever).outcome, Seeded::Stamp(STAMP));
    assert!(is_about(entry.left(), CENTURY));
    entry.unlink();
    assert!(matches!(entry.run(&for_ever).outcome, Seeded::Stamp(_)));
    assert!(is_about(entry.left(), CENTURY));
}

#[test]
fn a_stamp_that_another_program_keeps_for_ever_is_kept_as_long_as_asked() {
    let mut entry = Entry::with(&stamp());
    let key = entry.key.clone();
    entry.redis::<()>(&[b"PERSIST", key.as_bytes()]);
    assert_eq!(entry.seed(LONG), Seeded::Stamp(STAMP));
    assert!(is_about(entry.left(), LONG));
}

#[test]
fn what_is_no_stamp_is_replaced() {
    for bytes in no_stamps().into_iter().chain(no_holds()).filter(|bytes| bytes != b"42") {
        let mut entry = Entry::with(&bytes);
        // Longer than what stood there was to last, and shorter.
        let made = entry.assert_made(2 * LONG);
        assert_eq!(entry.seed(LONG), Seeded::Stamp(made), "{bytes:?}");
        entry.set(&bytes, LONG);
        entry.assert_made(LONG / 2);
    }
}

#[test]
fn what_is_of_another_type_is_replaced() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        entry.assert_made(LONG);
        assert_eq!(entry.type_of(), "string");
    }
}

#[test]
fn a_tag_that_writers_hold_has_no_stamp_and_is_left_as_it_is() {
    for bytes in [hold(&[MINE]), contended(hold(&[OTHER])), contended(hold(&[MINE, OTHER]))] {
        let mut entry = Entry::with(&bytes);
        for keep in [1, 20 * LONG] {
            assert_eq!(entry.seed(keep), Seeded::Held);
            assert_eq!(entry.get().as_ref(), Some(&bytes));
            assert!(is_about(entry.left(), LONG), "a hold ends when it said so");
        }
    }
}

#[test]
fn a_hold_whose_time_is_over_is_none() {
    for bytes in over() {
        Entry::with(&bytes).assert_made(LONG);
    }
    // One writer of two still holds it.
    let one_left = hold_of(&[(MINE, now() - LONG), (OTHER, *HELD_UNTIL)]);
    assert_eq!(Entry::with(&one_left).seed(LONG), Seeded::Held);
}

#[test]
fn a_bump_takes_the_stamp_and_the_next_one_is_unlike_it() {
    let mut entry = Entry::new();
    let mut stamps = vec![entry.assert_made(LONG)];
    for _ in 0..100 {
        assert_eq!(entry.invalidate(), Invalidated::Removed);
        assert_eq!(entry.get(), None);
        assert_eq!(entry.heard(), ["invalidated"]);
        assert_eq!(entry.invalidate(), Invalidated::Absent, "a tag that nobody has asked for");
        assert_eq!(entry.heard(), ["invalidated"], "and everybody is told all the same");
        let made = entry.assert_made(LONG);
        assert!(!stamps.contains(&made), "{made}");
        stamps.push(made);
    }
}

#[test]
fn a_bump_of_a_tag_that_is_held_marks_the_hold_and_keeps_it() {
    let mut entry = Entry::new();
    entry.assert_made(LONG);
    assert_eq!(entry.begin(MINE), Held::Alone);
    let end = entry.answered + TERM_MS;
    assert_eq!(entry.seed(LONG), Seeded::Held, "its bytes replace the stamp");
    assert_eq!(entry.invalidate(), Invalidated::Held);
    entry.assert_held(1, &[(MINE, end)]);
    assert_eq!(entry.seed(LONG), Seeded::Held);
    assert_eq!(entry.renew(MINE), Held::Contended);
    assert!(!entry.settle(MINE, None));
    assert_eq!(entry.get(), None);
    assert_eq!(entry.heard(), ["held", "invalidated", "settled"]);
}

#[test]
fn a_hold_of_a_tag_ends_with_no_stamp_and_the_next_one_is_unlike_that_before() {
    let ends: [(Change, bool); 3] = [
        (|entry| assert!(entry.settle(MINE, None)), true),
        // Its time is over before it is settled.
        (Entry::unlink, false),
        (|entry| assert_eq!(entry.begin(OTHER), Held::Contended), false),
    ];
    for (end, is_alone) in ends {
        let mut entry = Entry::new();
        let before = entry.assert_made(LONG);
        assert_eq!(entry.begin(MINE), Held::Alone);
        end(&mut entry);
        if !is_alone {
            assert!(!entry.settle(MINE, None));
            // Of two the last one opens the tag.
            entry.settle(OTHER, None);
        }
        assert_eq!(entry.get(), None);
        assert_ne!(entry.assert_made(LONG), before);
    }
}

#[test]
fn a_settlement_after_the_end_of_its_hold_takes_the_stamp_that_was_made_since() {
    // What was stored with it may be from before the change.
    let mut entry = Entry::new();
    entry.begin(MINE);
    entry.unlink();
    let between = entry.assert_made(LONG);
    assert!(!entry.settle(MINE, None));
    assert_eq!(entry.get(), None);
    assert_ne!(entry.assert_made(LONG), between);
}

#[test]
fn a_renewal_that_does_not_find_its_hold_takes_the_stamp_that_was_made_since() {
    let mut entry = Entry::new();
    entry.begin(MINE);
    entry.unlink();
    let between = entry.assert_made(LONG);
    assert_eq!(entry.renew(MINE), Held::Contended);
    assert_eq!(entry.seed(LONG), Seeded::Held);
    assert!(!entry.settle(MINE, None));
    assert_ne!(entry.assert_made(LONG), between);
}
