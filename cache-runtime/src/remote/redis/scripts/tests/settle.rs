use super::*;

fn new() -> Vec<u8> {
    value(&Header { fingerprint: 0xbeef, ..fresh() })
}

#[test]
fn a_writer_that_was_alone_stores_its_value_with_its_life() {
    let mut entry = Entry::with(&value(&stale()));
    let new = new();
    entry.begin(MINE);
    assert_eq!(entry.renew(MINE), Held::Alone);
    assert!(entry.settle(MINE, Some(&new)));
    assert_eq!(entry.get().as_ref(), Some(&new));
    assert!(is_about(entry.left(), LONG), "not what was left of the hold");
    assert_eq!(entry.load(OTHER), Leased::Found(new));
}

#[test]
fn a_writer_that_was_alone_and_has_no_value_opens_the_key() {
    let mut entry = Entry::with(&value(&fresh()));
    entry.begin(MINE);
    assert!(entry.settle(MINE, None));
    assert_eq!(entry.get(), None);
    assert_eq!(entry.load(OTHER), Leased::Granted(Grant::Lease));
}

#[test]
fn a_writer_that_was_not_alone_stores_nothing() {
    let contentions: [Change; 5] = [
        |entry| assert_eq!(entry.invalidate(), Invalidated::Held),
        // Another writer that comes and goes.
        |entry| {
            entry.begin(OTHER);
            entry.settle(OTHER, Some(&new()));
        },
        // One whose hold has ended by itself.
        |entry| assert!(!entry.settle(OTHER, Some(&new()))),
        // Its own has, for a while.
        |entry| {
            entry.unlink();
            entry.renew(MINE);
        },
        |entry| {
            entry.renew(OTHER);
            entry.settle(OTHER, None);
        },
    ];
    for (number, contend) in contentions.into_iter().enumerate() {
        for value in [None, Some(new())] {
            let mut entry = Entry::new();
            entry.begin(MINE);
            contend(&mut entry);
            assert_eq!(entry.who(), Some((1, vec![MINE])), "{number}");
            assert!(is_about(entry.left(), TERM_MS), "{number}");
            assert!(!entry.settle(MINE, value.as_deref()), "{number}");
            assert_eq!(entry.get(), None, "{number}");
        }
    }
}

#[test]
fn the_first_of_several_leaves_the_holds_of_the_others_and_the_last_one_opens() {
    let all = [MINE, OTHER, THIRD];
    for (first, second, third) in [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)] {
        let mut entry = Entry::with(&contended(hold(&all)));
        let mut left = all.to_vec();
        for at in [first, second] {
            assert!(!entry.settle(all[at], Some(&new())));
            left.retain(|token| *token != all[at]);
            assert_eq!(entry.get(), Some(contended(hold(&left))));
            assert!(entry.lasts_until(*HELD_UNTIL));
            assert_eq!(entry.load(Token(7)), Leased::Held);
        }
        assert!(!entry.settle(all[third], Some(&new())));
        assert_eq!(entry.get(), None);
    }
}

#[test]
fn after_a_hold_that_has_ended_by_itself_whatever_stands_there_is_removed() {
    let mut entry = Entry::new();
    for bytes in no_holds().into_iter().map(Some).chain([None]) {
        for value in [None, Some(new())] {
            if let Some(bytes) = &bytes {
                entry.set(bytes, LONG);
            }
            assert!(!entry.settle(MINE, value.as_deref()), "{bytes:?}");
            assert_eq!(entry.get(), None, "{bytes:?}");
            assert_eq!(entry.heard(), ["settled"]);
        }
    }
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        assert!(!entry.settle(MINE, Some(&new())));
        assert_eq!(entry.type_of(), "none");
    }
}

#[test]
fn a_hold_without_the_token_stays_and_is_contended() {
    for bytes in [hold(&[OTHER]), contended(hold(&[OTHER])), hold(&[OTHER, THIRD])] {
        for value in [None, Some(new())] {
            let mut entry = Entry::with(&bytes);
            assert!(!entry.settle(MINE, value.as_deref()));
            assert_eq!(entry.get(), Some(contended(bytes.clone())));
            assert!(entry.lasts_until(*HELD_UNTIL));
            assert!(!entry.settle(OTHER, Some(&new())));
        }
    }
}

#[test]
fn every_process_is_told_once_whatever_stood_there() {
    let all = [&[MINE][..], &[OTHER], &[MINE, OTHER], &[OTHER, MINE], &[OTHER, THIRD]].map(hold);
    let all = all.iter().flat_map(|hold| [hold.clone(), contended(hold.clone())]);
    let mut entry = Entry::new();
    for bytes in all.chain(no_holds()) {
        for value in [None, Some(new())] {
            entry.set(&bytes, LONG);
            entry.settle(MINE, value.as_deref());
            assert_eq!(entry.heard(), ["settled"], "{bytes:?}");
        }
    }
}

#[test]
fn after_a_foreign_unlink_within_the_hold_nothing_is_stored() {
    // Nobody came, a reader runs, has stored, or another writer is there.
    let meanwhile: [Change; 4] = [
        |_| {},
        |entry| assert_eq!(entry.load(OTHER), Leased::Granted(Grant::Lease)),
        |entry| {
            entry.load(OTHER);
            assert!(entry.fill(OTHER, &value(&stale())));
        },
        |entry| {
            entry.begin(OTHER);
            assert!(entry.settle(OTHER, Some(&value(&stale()))));
        },
    ];
    for meanwhile in meanwhile {
        let mut entry = Entry::new();
        entry.begin(MINE);
        entry.unlink();
        meanwhile(&mut entry);
        assert!(!entry.settle(MINE, Some(&new())));
        assert_eq!(entry.get(), None);
        assert!(!entry.fill(OTHER, &value(&stale())));
    }
}

#[test]
fn a_settlement_that_comes_twice_stores_nothing() {
    let mut entry = Entry::new();
    entry.begin(MINE);
    assert!(entry.settle(MINE, Some(&new())));
    assert!(!entry.settle(MINE, Some(&new())));
    assert_eq!(entry.get(), None);
}

#[test]
fn a_settlement_leaves_the_key_only_as_long_as_the_last_writer_left() {
    let now = now();
    let all = [(MINE, now + 20_000), (OTHER, now + 40_000), (THIRD, now + LONG)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut entry = Entry::with(&contended(hold_of(&all)));
        let mut left = all.to_vec();
        for at in &order[..2] {
            let (token, _) = all[*at];
            assert!(!entry.settle(token, Some(&new())));
            left.retain(|(of, _)| *of != token);
            entry.assert_held(1, &left);
        }
        // Nor does one that does not find itself, or an invalidation.
        assert!(!entry.settle(Token(7), None));
        entry.assert_held(1, &left);
        assert_eq!(entry.invalidate(), Invalidated::Held);
        entry.assert_held(1, &left);
    }
    // Each with the time that it asked for.
    let mut entry = Entry::new();
    entry.hold(MINE, Duration::from_millis(LONG), false, None);
    entry.begin(OTHER);
    let end = entry.answered + TERM_MS;
    assert!(is_about(entry.left(), LONG));
    assert!(!entry.settle(MINE, None));
    entry.assert_held(1, &[(OTHER, end)]);
}

#[test]
fn a_writer_that_died_does_not_hold_the_key_while_others_come_and_go() {
    let mut entry = Entry::new();
    assert_eq!(entry.hold(MINE, Duration::from_secs(1), false, None), Held::Alone);
    let end = entry.answered + 1_000;
    for _ in 0..3 {
        assert_eq!(entry.begin(OTHER), Held::Contended);
        entry.assert_held(1, &[(MINE, end), (OTHER, entry.answered + TERM_MS)]);
        assert!(!entry.settle(OTHER, Some(&new())));
        entry.assert_held(1, &[(MINE, end)]);
        assert_eq!(entry.load(Token(7)), Leased::Held);
    }
    thread::sleep(Duration::from_millis((end + 20).saturating_sub(now())));
    assert_eq!(entry.get(), None);
    assert_eq!(entry.load(Token(7)), Leased::Granted(Grant::Lease));
    for _ in 0..3 {
        let new = new();
        assert_eq!(entry.begin(OTHER), Held::Alone);
        assert!(entry.settle(OTHER, Some(&new)));
        assert_eq!(entry.get(), Some(new));
    }
}

#[test]
fn a_writer_that_died_does_not_hold_a_key_that_others_hold_without_a_break() {
    let mut entry = Entry::new();
    assert_eq!(entry.hold(MINE, Duration::from_secs(1), false, None), Held::Alone);
    let end = entry.answered + 1_000;
    assert_eq!(entry.begin(OTHER), Held::Contended);
    let (mut inside, mut next) = (OTHER, THIRD);
    for is_over in [false, false, false, true, true, true] {
        if is_over {
            thread::sleep(Duration::from_millis((end + 20).saturating_sub(now())));
        }
        assert_eq!(entry.begin(next), Held::Contended);
        assert!(!entry.settle(inside, Some(&new())));
        (inside, next) = (next, inside);
        let dead = if is_over { vec![] } else { vec![MINE] };
        assert_eq!(entry.who(), Some((1, [dead, vec![inside]].concat())));
        assert_eq!(entry.load(Token(7)), Leased::Held);
    }
    // The last one opens the key, and whoever comes then is alone.
    assert!(!entry.settle(inside, Some(&new())));
    assert_eq!(entry.get(), None);
    assert_eq!(entry.begin(next), Held::Alone);
    let new = new();
    assert!(entry.settle(next, Some(&new)));
    assert_eq!(entry.get(), Some(new));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Hold(u8),
    Renew(u8),
    Settle(u8),
    Invalidate,
    /// By another program, or the end of the key's expiry.
    Unlink,
}

/// All orders of the steps of several that each take theirs in order.
fn orders(of: &[Vec<Step>]) -> Vec<Vec<Step>> {
    if of.iter().all(Vec::is_empty) {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for at in 0..of.len() {
        let mut rest = of.to_vec();
        if !rest[at].is_empty() {
            let step = rest[at].remove(0);
            found.extend(orders(&rest).into_iter().map(|rest| [vec![step], rest].concat()));
        }
    }
    found
}

#[test]
fn of_writers_in_every_order_only_one_that_is_wholly_after_the_others_leaves_a_value() {
    let writer = |number| vec![Step::Hold(number), Step::Settle(number)];
    let renewing = |number| vec![Step::Hold(number), Step::Renew(number), Step::Settle(number)];
    let (invalidate, unlink) = (vec![Step::Invalidate], vec![Step::Unlink]);
    let all = [
        orders(&[writer(1), writer(2)]),
        orders(&[writer(1), writer(2), writer(3)]),
        orders(&[writer(1), writer(2), invalidate.clone()]),
        orders(&[writer(1), writer(2), invalidate, unlink.clone()]),
        orders(&[renewing(1), renewing(2), unlink]),
    ];
    assert_eq!(all.each_ref().map(Vec::len), [6, 90, 30, 180, 140]);
    let value = |number: u8| value(&Header { fingerprint: number.into(), ..fresh() });
    let values = [1, 2, 3].map(value);
    let value = |number: u8| &values[usize::from(number) - 1];
    let mut entry = Entry::new();
    for order in all.concat() {
        entry.unlink();
        let mut stored = Vec::new();
        for step in &order {
            match *step {
                Step::Hold(number) => drop(entry.begin(Token(number.into()))),
                Step::Renew(number) => drop(entry.renew(Token(number.into()))),
                Step::Settle(number) => {
                    if entry.settle(Token(number.into()), Some(value(number))) {
                        stored.push(number);
                    }
                }
                Step::Invalidate => drop(entry.invalidate()),
                Step::Unlink => entry.unlink(),
            }
        }
        let last = match order[..] {
            [.., Step::Hold(one), Step::Settle(other)] if one == other => Some(one),
            [.., Step::Hold(one), Step::Renew(same), Step::Settle(other)]
                if one == same && one == other =>
            {
                Some(one)
            }
            _ => None,
        };
        assert_eq!(entry.get().as_ref(), last.map(value), "{order:?}");
        assert!(last.is_none() || stored.last() == last.as_ref(), "{order:?} {stored:?}");
    }
}
