//! The traces that broke simpler versions of the protocol, by their numbers in its review, as far
//! as they can be told at the scripts.

use super::*;

/// What a writer leaves in the database, and in the key if it may.
fn written(number: u64) -> Vec<u8> {
    value(&Header { fingerprint: number, ..fresh() })
}

#[test]
fn trace_1a_writers_that_land_in_another_order_than_in_the_database_leave_a_miss() {
    // MINE writes 1, OTHER writes 2, and OTHER's value comes first.
    let mut entry = Entry::new();
    entry.begin(MINE);
    entry.begin(OTHER);
    assert!(!entry.settle(OTHER, Some(&written(2))));
    assert!(!entry.settle(MINE, Some(&written(1))));
    assert_eq!(entry.get(), None);
}

#[test]
fn trace_1a_one_token_per_key_would_not_do() {
    // The first one ends while the second is there, which then is the only one.
    let mut entry = Entry::new();
    entry.begin(MINE);
    entry.begin(OTHER);
    assert!(!entry.settle(MINE, Some(&written(2))));
    assert_eq!(entry.load(THIRD), Leased::Held);
    assert!(!entry.settle(OTHER, Some(&written(1))));
    assert_eq!(entry.get(), None);
}

#[test]
fn trace_1b_a_value_from_before_an_invalidation_is_not_stored_after_it() {
    let mut entry = Entry::new();
    entry.begin(MINE);
    entry.invalidate();
    assert!(!entry.settle(MINE, Some(&written(1))));
    assert_eq!(entry.get(), None);
}

#[test]
fn trace_1c_a_settlement_that_lands_late_stores_nothing_over_a_later_change() {
    // Within the hold, after it, and after a reader or a writer has stored what is newer.
    let later: [Change; 5] = [
        |_| {},
        Entry::unlink,
        |entry| {
            entry.unlink();
            entry.load(OTHER);
        },
        |entry| {
            entry.unlink();
            entry.load(OTHER);
            assert!(entry.fill(OTHER, &written(2)));
        },
        |entry| {
            entry.unlink();
            entry.begin(OTHER);
            assert!(entry.settle(OTHER, Some(&written(2))));
        },
    ];
    for later in later {
        let mut entry = Entry::new();
        entry.begin(MINE);
        entry.invalidate();
        later(&mut entry);
        assert!(!entry.settle(MINE, Some(&written(1))));
        assert_eq!(entry.get(), None);
    }
}

#[test]
fn trace_2_the_first_of_two_holders_does_not_open_the_key() {
    let mut entry = Entry::new();
    entry.begin(MINE);
    entry.begin(OTHER);
    entry.settle(MINE, None);
    // The second may crash between its commit and its end: a reader finds nothing to fill.
    assert_eq!(entry.load(THIRD), Leased::Held);
    assert!(!entry.fill(THIRD, &written(0)));
    assert_eq!(entry.who(), Some((1, vec![OTHER])));
    assert!(is_about(entry.left(), TERM_MS));
}

#[test]
fn trace_2_a_hold_is_renewed_while_the_body_runs_and_does_not_expire_within() {
    let mut entry = Entry::new();
    let key = entry.key.clone();
    entry.begin(MINE);
    for _ in 0..3 {
        entry.redis::<()>(&[b"PEXPIRE", key.as_bytes(), b"2000"]);
        assert_eq!(entry.renew(MINE), Held::Alone);
        assert!(is_about(entry.left(), TERM_MS));
    }
}

#[test]
fn trace_2_a_reader_that_came_after_an_expired_hold_stores_nothing_once_it_is_renewed_or_ended() {
    let ends: [Change; 2] = [
        |entry| {
            entry.settle(MINE, Some(&written(1)));
        },
        |entry| {
            entry.renew(MINE);
        },
    ];
    for end in ends {
        let mut entry = Entry::new();
        entry.set(&hold(&[MINE]), 1);
        thread::sleep(Duration::from_millis(5));
        assert_eq!(entry.load(OTHER), Leased::Granted(Grant::Lease));
        // It has read the old data by now.
        end(&mut entry);
        assert!(!entry.fill(OTHER, &written(0)));
        assert!(!entry.settle(MINE, Some(&written(1))));
        assert_eq!(entry.get(), None);
    }
}

#[test]
fn trace_2_the_ordinary_invalidation_of_another_writer_does_not_end_a_hold() {
    let mut entry = Entry::new();
    entry.begin(MINE);
    assert_eq!(entry.invalidate(), Invalidated::Held);
    assert_eq!(entry.load(OTHER), Leased::Held);
    assert!(is_about(entry.left(), TERM_MS));
}

#[test]
fn trace_2_the_memory_of_others_is_told_when_a_hold_begins() {
    let mut entry = Entry::with(&written(0));
    entry.begin(MINE);
    assert_eq!(entry.heard(), ["held"]);
    // And nobody takes what stands there for a value.
    assert_eq!(entry.load(OTHER), Leased::Held);
}

#[test]
fn trace_6_what_a_reader_rejects_can_be_replaced() {
    // The reader found another type in a value that is fresh for a long time yet.
    let rejected = value(&fresh());
    let mut entry = Entry::with(&rejected);
    assert_eq!(entry.load(MINE), Leased::Found(rejected.clone()));
    assert_eq!(entry.ask_after(Ask::Load, MINE, &rejected), Leased::Granted(Grant::Lease),);
    let repaired = value(&Header { fingerprint: 2, ..fresh() });
    assert!(entry.fill(MINE, &repaired));
    // A slower reader that had seen the same does not destroy what has replaced it.
    assert_eq!(entry.ask_after(Ask::Load, OTHER, &rejected), Leased::Found(repaired));
}

#[test]
fn trace_6_what_another_program_stored_raises_no_error_and_is_repaired() {
    for bytes in [&b"{\"a\":1}"[..], &value(&fresh())[..40], &[0x01; 34], &[b'x'; 500]] {
        let mut entry = Entry::with(bytes);
        assert_eq!(entry.load(MINE), Leased::Granted(Grant::Lease));
        assert!(entry.fill(MINE, &value(&fresh())));
    }
    let mut entry = Entry::with_type(other_types()[0]);
    assert_eq!(entry.load(MINE), Leased::Granted(Grant::Lease));
    assert!(entry.fill(MINE, &value(&fresh())));
}

#[test]
fn trace_6_an_early_refresh_of_a_fresh_value_is_granted() {
    let mut entry = Entry::with(&value(&fresh()));
    assert_eq!(entry.ask(Ask::Early, MINE), Leased::Granted(Grant::Refresh));
    assert!(entry.fill(MINE, &value(&fresh())));
}

#[test]
fn trace_6_a_lost_token_does_not_come_back_by_renewal() {
    let mut entry = Entry::new();
    assert_eq!(entry.load(MINE), Leased::Granted(Grant::Lease));
    entry.invalidate();
    assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
    assert_eq!(entry.load(OTHER), Leased::Granted(Grant::Lease));
    assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
    assert!(!entry.fill(MINE, &value(&fresh())));
    assert!(entry.fill(OTHER, &value(&fresh())));
}

#[test]
fn trace_12_who_waits_is_woken_by_all_that_ends_a_run() {
    let mut entry = Entry::new();
    let wait = |entry: &mut Entry| {
        entry.set(&lease(MINE), LONG);
        assert!(matches!(entry.load(OTHER), Leased::Busy(_)));
    };
    wait(&mut entry);
    assert!(entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.heard(), ["wake"]);
    wait(&mut entry);
    assert!(entry.release(MINE, Duration::ZERO));
    assert_eq!(entry.heard(), ["wake"]);
    wait(&mut entry);
    entry.invalidate();
    assert_eq!(entry.heard(), ["invalidated"]);
    assert!(!entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.heard(), ["wake"]);
}

#[test]
fn trace_12_nobody_is_woken_who_does_not_wait() {
    let mut entry = Entry::new();
    entry.load(MINE);
    assert!(entry.fill(MINE, &value(&fresh())));
    entry.ask(Ask::Refresh, MINE);
    assert!(entry.release(MINE, Duration::ZERO));
    assert_eq!(entry.heard(), [""; 0]);
}

#[test]
fn trace_14_a_change_and_its_message_are_one() {
    // There is no moment at which one is there without the other, and both are by the answer.
    let changes: [(Change, &str); 3] = [
        (|entry| assert_eq!(entry.invalidate(), Invalidated::Removed), "invalidated"),
        (|entry| assert_eq!(entry.begin(MINE), Held::Alone), "held"),
        (|entry| assert!(!entry.settle(MINE, None)), "settled"),
    ];
    for (change, message) in changes {
        let old = written(0);
        let mut entry = Entry::with(&old);
        change(&mut entry);
        assert_ne!(entry.get(), Some(old));
        assert_eq!(entry.heard(), [message]);
    }
}

#[test]
fn trace_17_a_refresh_elected_at_the_end_of_life_is_stored() {
    // Elected 20 ms before the key would go, and the function takes longer.
    let mut entry = Entry::new();
    entry.set(&value(&header(10, 20, 20)), 20);
    assert_eq!(entry.ask(Ask::Early, MINE), Leased::Granted(Grant::Refresh));
    thread::sleep(Duration::from_millis(30));
    // Meanwhile nobody runs it a second time, and nobody is served a dead value.
    assert!(matches!(entry.load(OTHER), Leased::Busy(_)));
    assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Granted(Grant::Lease));
    assert!(entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.heard(), ["wake"]);
    assert!(matches!(entry.load(OTHER), Leased::Found(_)));
}

#[test]
fn trace_17_what_is_refreshed_as_its_key_ends_is_served_meanwhile() {
    // The key would go in 20 ms, though the value may be served for longer.
    let mut entry = Entry::new();
    entry.set(&value(&stale()), 20);
    assert_eq!(entry.load(MINE), Leased::Granted(Grant::Refresh));
    thread::sleep(Duration::from_millis(30));
    assert!(matches!(entry.load(OTHER), Leased::Stale(_)));
    assert!(is_about(entry.left(), TERM_MS));
    // Also after the run has failed.
    assert!(entry.release(MINE, TERM));
    assert!(matches!(entry.load(OTHER), Leased::Stale(_)));
}

#[test]
fn trace_17_after_an_error_the_origin_is_not_hammered() {
    let mut entry = Entry::with(&value(&stale()));
    assert_eq!(entry.load(MINE), Leased::Granted(Grant::Refresh));
    assert!(entry.release(MINE, Duration::from_millis(40)));
    assert!(matches!(entry.load(OTHER), Leased::Stale(_)));
    thread::sleep(Duration::from_millis(50));
    assert_eq!(entry.load(OTHER), Leased::Granted(Grant::Refresh));
}

#[test]
fn trace_18_the_servers_clock_decides_what_is_fresh() {
    // A reader whose clock is an hour behind takes this for fresh.
    let mut entry = Entry::with(&value(&stale()));
    assert_eq!(entry.load(MINE), Leased::Granted(Grant::Refresh));
    // And one whose clock is an hour ahead takes this for stale.
    let bytes = value(&fresh());
    entry.set(&bytes, LONG);
    let key = entry.key.clone();
    let command =
        Lease { key: &key, token: OTHER, term: TERM, not_after: None, ask: Ask::Load, seen: &[] };
    let answer = entry.run(&command);
    assert_eq!(answer.outcome, Leased::Found(bytes));
    assert!(answer.now < entry.header().fresh_until);
}

#[test]
fn trace_21_an_invalidation_reaches_the_values_of_every_version() {
    // What the old processes of a deploy stored, what the new ones did, and what those of the
    // next format did.
    for bytes in [value(&fresh()), value(&Header { fingerprint: 2, ..fresh() }), newer()] {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.invalidate(), Invalidated::Removed);
        assert_eq!(entry.get(), None);
        assert_eq!(entry.heard(), ["invalidated"]);
    }
}

#[test]
fn trace_21_a_run_of_another_version_stores_nothing_after_an_invalidation() {
    let mut entry = Entry::with(&value(&Header { fingerprint: 2, ..stale() }));
    assert_eq!(entry.load(OTHER), Leased::Granted(Grant::Refresh));
    entry.invalidate();
    assert!(!entry.fill(OTHER, &value(&Header { fingerprint: 2, ..fresh() })));
    assert_eq!(entry.get(), None);
}

#[test]
fn trace_23_a_server_with_old_data_is_outdated_once_for_all() {
    let mut service = Entry::new();
    let before = service.service("run-1 repl-1", Policy::Clear).outcome.stamp;
    let old = value(&Header { stamps: Stamps::of_service(before), ..fresh() });
    // It came back with the old file, in which the old stamp is, too.
    let first = service.service("run-2 repl-1", Policy::Clear).outcome;
    assert!(first.changed);
    assert_ne!(first.stamp, before);
    // The second process does not move it again.
    let second = service.service("run-2 repl-1", Policy::Clear).outcome;
    assert_eq!(second.stamp, first.stamp);
    // To a reader the old value's stamp is not the current one, and it replaces it.
    let mut entry = Entry::with(&old);
    assert_ne!(*entry.header().stamps, [first.stamp]);
    assert_eq!(entry.ask_after(Ask::Load, MINE, &old), Leased::Granted(Grant::Lease));
}

#[test]
fn sixty_four_callers_at_once_get_one_lease() {
    let key = Entry::new().key;
    let granted: usize = thread::scope(|scope| {
        let callers: Vec<_> = (1..=64)
            .map(|caller| {
                let key = key.clone();
                scope.spawn(move || {
                    let mut connection = SERVER.connect();
                    let command = Lease {
                        key: &key,
                        token: Token(caller),
                        term: TERM,
                        not_after: None,
                        ask: Ask::Load,
                        seen: &[],
                    };
                    let reply = by_body(&command).query(&mut connection).unwrap();
                    matches!(Lease::answer(reply).unwrap().outcome, Leased::Granted(_))
                })
            })
            .collect();
        callers.into_iter().map(|caller| usize::from(caller.join().unwrap())).sum()
    });
    assert_eq!(granted, 1);
}
