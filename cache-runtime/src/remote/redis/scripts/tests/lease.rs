use super::*;

const LEASE: Leased = Leased::Granted(Grant::Lease);
const REFRESH: Leased = Leased::Granted(Grant::Refresh);

#[test]
fn an_absent_key_is_leased_for_the_term() {
    for ask in FIRST_ASKS {
        let mut entry = Entry::new();
        assert_eq!(entry.ask(ask, MINE), LEASE, "{ask:?}");
        assert_eq!(entry.get(), Some(lease(MINE)));
        assert!(is_about(entry.left(), TERM_MS));
    }
}

#[test]
fn the_answer_has_the_servers_time() {
    let mut entry = Entry::new();
    let key = entry.key.clone();
    let before = now();
    let command =
        Lease { key: &key, token: MINE, term: TERM, not_after: None, ask: Ask::Load, seen: &[] };
    let answer = entry.run(&command);
    assert!((before..=now()).contains(&answer.now));
}

#[test]
fn a_second_caller_is_told_to_wait_and_the_lease_is_awaited() {
    for ask in [Ask::Load, Ask::Early] {
        let mut entry = Entry::with(&lease(OTHER));
        for _ in 0..2 {
            let Leased::Busy(left) = entry.ask(ask, MINE) else { panic!("{ask:?}") };
            assert!(left <= Duration::from_millis(LONG) && left > Duration::from_secs(50));
            assert_eq!(entry.get(), Some(awaited(lease(OTHER))));
        }
        assert!(is_about(entry.left(), LONG));
    }
}

#[test]
fn a_lease_without_an_end_gets_one() {
    let mut entry = Entry::with(&lease(OTHER));
    let key = entry.key.clone();
    entry.redis::<()>(&[b"PERSIST", key.as_bytes()]);
    assert_eq!(entry.load(MINE), Leased::Busy(TERM));
    assert!(is_about(entry.left(), TERM_MS));
}

#[test]
fn a_lease_that_has_expired_is_granted_anew() {
    let mut entry = Entry::new();
    entry.set(&lease(OTHER), 1);
    thread::sleep(Duration::from_millis(5));
    assert_eq!(entry.load(MINE), LEASE);
}

#[test]
fn a_fresh_value_is_found_whole() {
    let bytes = value(&fresh());
    let mut entry = Entry::with(&bytes);
    assert_eq!(entry.load(MINE), Leased::Found(bytes.clone()));
    assert_eq!(entry.get(), Some(bytes));
}

#[test]
fn a_stale_value_elects_one_caller_to_refresh_and_stays() {
    for ask in [Ask::Load, Ask::Early] {
        let before = stale();
        let mut entry = Entry::with(&value(&before));
        let asked = now();
        assert_eq!(entry.ask(ask, MINE), REFRESH, "{ask:?}");
        let after = entry.header();
        assert!((asked + TERM_MS..=now() + TERM_MS).contains(&after.refresh_until));
        assert_eq!(after.token, Some(MINE));
        assert_eq!(Header { refresh_until: 0, token: None, ..after }, before);
        assert_eq!(entry.get().unwrap()[84..], [b'7'; 300]);
        let standing = awaited(entry.get().unwrap());
        assert_eq!(entry.ask(ask, OTHER), Leased::Stale(standing.clone()));
        assert_eq!(entry.get(), Some(standing));
    }
}

#[test]
fn who_is_told_that_a_stale_value_is_refreshed_may_wait_and_is_woken() {
    for ends_with_a_value in [true, false] {
        let mut entry = Entry::with(&value(&stale()));
        assert_eq!(entry.load(MINE), REFRESH);
        for _ in 0..2 {
            assert!(matches!(entry.load(OTHER), Leased::Stale(_)));
        }
        if ends_with_a_value {
            assert!(entry.fill(MINE, &value(&fresh())));
        } else {
            assert!(entry.release(MINE, TERM));
        }
        assert_eq!(entry.heard(), ["wake"]);
        assert_eq!(entry.header().token, None);
    }
    // Nobody waits for a value that nobody refreshes, or while there is a fresh one.
    for bytes in [value(&paused(stale(), 5_000)), value(&refreshed(fresh(), OTHER, 5_000))] {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.ask(Ask::Early, MINE), Leased::Stale(bytes.clone()));
        assert_eq!(entry.get(), Some(bytes));
    }
}

#[test]
fn a_refresh_that_takes_too_long_is_granted_to_the_next() {
    let mut entry = Entry::with(&value(&refreshed(stale(), OTHER, -1)));
    assert_eq!(entry.load(MINE), REFRESH);
    assert_eq!(entry.header().token, Some(MINE));
}

#[test]
fn after_an_error_nobody_refreshes_for_a_while() {
    for header in [stale(), kept()] {
        let bytes = value(&paused(header, 5_000));
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.load(MINE), Leased::Stale(bytes.clone()));
        assert_eq!(entry.get(), Some(bytes));
        entry.set(&value(&paused(header, -1)), LONG);
        assert_eq!(entry.load(MINE), REFRESH);
    }
}

#[test]
fn early_elects_one_caller_for_a_fresh_value() {
    let mut entry = Entry::with(&value(&fresh()));
    assert_eq!(entry.ask(Ask::Early, MINE), REFRESH);
    let standing = entry.get().unwrap();
    assert_eq!(entry.ask(Ask::Early, OTHER), Leased::Stale(standing.clone()));
    assert_eq!(entry.load(OTHER), Leased::Found(standing));
}

#[test]
fn nobody_refreshes_a_value_early_in_the_first_half_of_its_life() {
    for before in [fresh(), refreshed(fresh(), OTHER, 5_000)] {
        let created = now() - 10_000;
        let bytes = value(&Header { created, ..before });
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.ask(Ask::Early, MINE), Leased::Found(bytes.clone()));
        assert_eq!(entry.get(), Some(bytes));
    }
}

#[test]
fn a_value_for_errors_alone_is_refreshed_by_one_and_awaited_by_the_others() {
    let mut entry = Entry::with(&value(&kept()));
    assert_eq!(entry.load(MINE), REFRESH);
    let standing = entry.get().unwrap();
    let Leased::Busy(left) = entry.load(OTHER) else { panic!("it is not busy") };
    assert!(left <= TERM && left > TERM / 2);
    assert_eq!(entry.get(), Some(awaited(standing)));
    entry.load(OTHER);
    assert!(entry.fill(MINE, &value(&fresh())));
    assert_eq!(entry.heard(), ["wake"]);
}

#[test]
fn past_its_life_a_value_counts_as_absent() {
    for header in [dead(), paused(dead(), 5_000), refreshed(dead(), OTHER, -1)] {
        for ask in FIRST_ASKS {
            let mut entry = Entry::with(&value(&header));
            assert_eq!(entry.ask(ask, MINE), LEASE, "{ask:?}");
            assert_eq!(entry.get(), Some(lease(MINE)));
            assert!(is_about(entry.left(), TERM_MS));
        }
    }
}

#[test]
fn past_its_life_a_value_with_a_token_counts_as_a_lease() {
    for ask in [Ask::Load, Ask::Early] {
        let bytes = value(&refreshed(dead(), OTHER, 5_000));
        let mut entry = Entry::with(&bytes);
        let Leased::Busy(left) = entry.ask(ask, MINE) else { panic!("{ask:?}") };
        assert!(left <= Duration::from_secs(5) && left > Duration::from_secs(2));
        assert_eq!(entry.get(), Some(awaited(bytes.clone())));
        // Also for one who rejects it.
        assert!(matches!(entry.ask_after(ask, MINE, &awaited(bytes)), Leased::Busy(_)));
    }
}

#[test]
fn refresh_takes_a_lease_over_with_those_who_wait() {
    for (before, after) in
        [(lease(OTHER), lease(MINE)), (awaited(lease(OTHER)), awaited(lease(MINE)))]
    {
        let mut entry = Entry::with(&before);
        assert_eq!(entry.ask(Ask::Refresh, MINE), LEASE);
        assert_eq!(entry.get(), Some(after));
        assert!(is_about(entry.left(), TERM_MS));
        assert!(!entry.fill(OTHER, &value(&fresh())));
    }
}

#[test]
fn refresh_takes_over_what_counts_as_a_lease() {
    let mut entry = Entry::with(&awaited(value(&refreshed(dead(), OTHER, 5_000))));
    assert_eq!(entry.ask(Ask::Refresh, MINE), LEASE);
    assert_eq!(entry.get(), Some(awaited(lease(MINE))));
}

#[test]
fn refresh_puts_its_token_into_a_value_that_stays_served() {
    for before in [fresh(), stale(), kept(), paused(stale(), 5_000)] {
        for before in [before, refreshed(before, OTHER, 5_000)] {
            let mut entry = Entry::with(&value(&before));
            assert_eq!(entry.ask(Ask::Refresh, MINE), REFRESH);
            let after = entry.header();
            assert_eq!(after.token, Some(MINE));
            let Header { refresh_until, token, .. } = before;
            assert_eq!(Header { refresh_until, token, ..after }, before);
            assert!(!entry.fill(OTHER, &value(&fresh())));
            assert!(entry.fill(MINE, &value(&fresh())));
        }
    }
}

#[test]
fn a_refresh_extends_the_keys_life_to_the_term_and_never_shortens_it() {
    let mut entry = Entry::new();
    entry.set(&value(&stale()), 500);
    assert_eq!(entry.load(MINE), REFRESH);
    assert!(is_about(entry.left(), TERM_MS));
    entry.set(&value(&stale()), LONG);
    assert_eq!(entry.load(MINE), REFRESH);
    assert!(is_about(entry.left(), LONG));
}

#[test]
fn what_was_seen_and_still_stands_is_replaced() {
    for header in [fresh(), stale(), kept(), refreshed(fresh(), OTHER, 5_000)] {
        for ask in FIRST_ASKS {
            let bytes = value(&header);
            // Whole, as much as is compared, and the header alone.
            for seen in [bytes.len(), SEEN, header.len()] {
                let mut entry = Entry::with(&bytes);
                assert_eq!(entry.ask_after(ask, MINE, &bytes[..seen]), LEASE, "{ask:?}");
                assert_eq!(entry.get(), Some(lease(MINE)));
                assert!(is_about(entry.left(), TERM_MS));
                assert!(!entry.fill(OTHER, &bytes));
            }
        }
    }
}

#[test]
fn those_who_wait_for_a_value_that_is_rejected_are_not_forgotten() {
    let bytes = awaited(value(&refreshed(kept(), OTHER, 5_000)));
    let mut entry = Entry::with(&bytes);
    assert_eq!(entry.ask_after(Ask::Load, MINE, &bytes), LEASE);
    assert_eq!(entry.get(), Some(awaited(lease(MINE))));
}

#[test]
fn what_was_seen_and_is_gone_gets_the_normal_answer() {
    let seen = value(&Header { fingerprint: 1, ..fresh() });
    let found = value(&fresh());
    let mut entry = Entry::with(&found);
    assert_eq!(entry.ask_after(Ask::Load, MINE, &seen), Leased::Found(found.clone()));
    assert_eq!(entry.get(), Some(found));
    let elected = awaited(value(&refreshed(stale(), OTHER, 5_000)));
    entry.set(&elected, LONG);
    assert_eq!(entry.ask_after(Ask::Load, MINE, &seen), Leased::Stale(elected.clone()));
    assert_eq!(entry.get(), Some(elected));
    entry.set(&lease(OTHER), LONG);
    assert!(matches!(entry.ask_after(Ask::Load, MINE, &seen), Leased::Busy(_)));
    entry.invalidate();
    assert_eq!(entry.ask_after(Ask::Load, MINE, &seen), LEASE);
}

#[test]
fn a_value_that_was_elected_or_awaited_meanwhile_is_another() {
    // The caller is told what stands there now, and can reject that.
    let seen = value(&fresh());
    for bytes in [value(&refreshed(fresh(), OTHER, 5_000)), awaited(value(&fresh()))] {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.ask_after(Ask::Load, MINE, &seen), Leased::Found(bytes.clone()));
        assert_eq!(entry.ask_after(Ask::Load, MINE, &bytes), LEASE);
    }
}

#[test]
fn a_difference_past_what_is_compared_is_none() {
    let bytes = value(&fresh());
    let mut seen = bytes.clone();
    seen[SEEN] ^= 1;
    let mut entry = Entry::with(&bytes);
    assert_eq!(entry.ask_after(Ask::Load, MINE, &seen), LEASE);
}

#[test]
fn what_was_seen_of_something_shorter_fits_no_value() {
    // A truncated value was seen; meanwhile another caller has repaired it.
    let bytes = value(&fresh());
    for length in 1..76 {
        let mut entry = Entry::with(&bytes);
        let leased = entry.ask_after(Ask::Load, MINE, &bytes[..length]);
        assert_eq!(leased, Leased::Found(bytes.clone()), "{length} bytes");
    }
}

#[test]
fn a_lease_is_not_replaced_by_what_was_seen() {
    let mut entry = Entry::with(&awaited(lease(OTHER)));
    for seen in [&b"\0"[..], &awaited(lease(OTHER))] {
        assert!(matches!(entry.ask_after(Ask::Load, MINE, seen), Leased::Busy(_)));
    }
}

#[test]
fn a_hold_is_left_alone() {
    for bytes in [hold(&[OTHER]), hold(&[OTHER, MINE]), hold(&[MINE; 5])] {
        let mut entry = Entry::with(&bytes);
        for ask in FIRST_ASKS {
            assert_eq!(entry.ask(ask, MINE), Leased::Held, "{ask:?}");
            assert_eq!(entry.ask_after(ask, MINE, &bytes), Leased::Held, "{ask:?}");
        }
        assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
        assert_eq!(entry.get(), Some(bytes));
        assert!(is_about(entry.left(), LONG));
    }
}

#[test]
fn a_hold_ends_when_it_expires() {
    let mut entry = Entry::new();
    entry.set(&hold(&[OTHER]), 1);
    thread::sleep(Duration::from_millis(5));
    assert_eq!(entry.load(MINE), LEASE);
}

#[test]
fn a_hold_without_an_end_gets_one() {
    let mut entry = Entry::with(&hold(&[OTHER]));
    let key = entry.key.clone();
    entry.redis::<()>(&[b"PERSIST", key.as_bytes()]);
    assert_eq!(entry.load(MINE), Leased::Held);
    assert_eq!(entry.get(), Some(hold(&[OTHER])));
    assert!(is_about(entry.left(), TERM_MS));
}

#[test]
fn a_newer_format_is_left_alone() {
    for bytes in [newer(), vec![1, 2], vec![1, 255]] {
        let mut entry = Entry::with(&bytes);
        for ask in FIRST_ASKS {
            assert_eq!(entry.ask(ask, MINE), Leased::Newer, "{ask:?}");
            assert_eq!(entry.ask_after(ask, MINE, &bytes), Leased::Newer, "{ask:?}");
        }
        assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
        assert_eq!(entry.get(), Some(bytes));
        assert!(is_about(entry.left(), LONG));
    }
}

#[test]
fn foreign_bytes_are_replaced_by_any_ask_but_a_renewal() {
    for bytes in foreign() {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost, "{bytes:?}");
        assert_eq!(entry.get().as_ref(), Some(&bytes));
        for ask in FIRST_ASKS {
            entry.set(&bytes, LONG);
            assert_eq!(entry.ask(ask, MINE), LEASE, "{ask:?} {bytes:?}");
            assert_eq!(entry.get(), Some(lease(MINE)));
            assert!(is_about(entry.left(), TERM_MS));
        }
    }
}

#[test]
fn other_types_are_replaced_by_any_ask_but_a_renewal() {
    for args in other_types() {
        for ask in FIRST_ASKS {
            let mut entry = Entry::with_type(args);
            let before = entry.type_of();
            assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
            assert_eq!(entry.type_of(), before);
            assert_eq!(entry.ask(ask, MINE), LEASE, "{ask:?} {args:?}");
            assert_eq!(entry.get(), Some(lease(MINE)));
            assert!(is_about(entry.left(), TERM_MS));
        }
    }
}

#[test]
fn a_command_that_comes_too_late_does_nothing() {
    for bytes in [lease(MINE), lease(OTHER), value(&stale()), hold(&[OTHER]), b"42".to_vec()] {
        let mut entry = Entry::with(&bytes);
        let key = entry.key.clone();
        for ask in ASKS {
            for not_after in [0, 1, now() - 1] {
                let command = Lease {
                    key: &key,
                    token: MINE,
                    term: TERM,
                    not_after: Some(not_after),
                    ask,
                    seen: &bytes,
                };
                assert_eq!(entry.run(&command).outcome, Leased::Late, "{ask:?}");
            }
        }
        assert_eq!(entry.get(), Some(bytes));
        assert!(is_about(entry.left(), LONG));
    }
}

#[test]
fn a_command_that_comes_in_time_is_carried_out() {
    let mut entry = Entry::new();
    let key = entry.key.clone();
    let not_after = Some(now() + LONG);
    let command =
        Lease { key: &key, token: MINE, term: TERM, not_after, ask: Ask::Load, seen: &[] };
    assert_eq!(entry.run(&command).outcome, LEASE);
}

#[test]
fn the_token_that_stands_renews_whatever_is_asked() {
    for ask in ASKS {
        for bytes in [lease(MINE), awaited(lease(MINE))] {
            let mut entry = Entry::new();
            entry.set(&bytes, 500);
            assert_eq!(entry.ask(ask, MINE), LEASE, "{ask:?}");
            assert_eq!(entry.get(), Some(bytes));
            assert!(is_about(entry.left(), TERM_MS));
        }
        for (before, grant) in
            [(fresh(), REFRESH), (stale(), REFRESH), (kept(), REFRESH), (dead(), LEASE)]
        {
            // Also after its time, if nobody else came.
            for left in [500, -1] {
                let mut entry = Entry::new();
                entry.set(&value(&refreshed(before, MINE, left)), 500);
                assert_eq!(entry.ask(ask, MINE), grant, "{ask:?}");
                let after = entry.header();
                assert_eq!(after.token, Some(MINE));
                assert!(after.refresh_until > now() + TERM_MS - 5_000);
                assert!(is_about(entry.left(), TERM_MS));
            }
        }
    }
}

#[test]
fn a_renewal_with_a_lost_token_grants_nothing_and_changes_nothing() {
    let values = [fresh(), stale(), kept(), dead(), refreshed(dead(), OTHER, 5_000)];
    let values = values.iter().map(value).chain([value(&refreshed(stale(), OTHER, 5_000))]);
    for bytes in values.chain([lease(OTHER), hold(&[MINE])]) {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
        assert_eq!(entry.ask_after(Ask::Renew, MINE, &bytes), Leased::Lost);
        assert_eq!(entry.get(), Some(bytes));
    }
    let mut entry = Entry::new();
    assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
    assert_eq!(entry.get(), None);
}
