use std::time::Instant;

use super::*;

#[test]
fn a_hold_kills_whatever_stands_there() {
    let mut entry = Entry::new();
    for bytes in no_holds().into_iter().map(Some).chain([None]) {
        entry.unlink();
        if let Some(bytes) = &bytes {
            entry.set(bytes, LONG);
        }
        assert_eq!(entry.begin(MINE), Held::Alone, "{bytes:?}");
        entry.assert_held(0, &[(MINE, entry.answered + TERM_MS)]);
        assert_eq!(entry.heard(), ["held"]);
    }
}

#[test]
fn a_hold_kills_other_types() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        assert_eq!(entry.begin(MINE), Held::Alone);
        entry.assert_held(0, &[(MINE, entry.answered + TERM_MS)]);
    }
}

#[test]
fn a_second_token_contends_and_all_stand() {
    let mut entry = Entry::new();
    let mut writers = Vec::new();
    for (token, said) in [(MINE, Held::Alone), (OTHER, Held::Contended), (THIRD, Held::Contended)] {
        assert_eq!(entry.begin(token), said);
        writers.push((token, entry.answered + TERM_MS));
        entry.assert_held(u8::from(said == Held::Contended), &writers);
    }
    assert_eq!(entry.heard(), ["held"; 3]);
    for token in [MINE, OTHER, THIRD] {
        assert_eq!(entry.renew(token), Held::Contended, "each learns of it");
    }
}

#[test]
fn a_repeated_begin_does_not_contend() {
    for (bytes, said) in
        [(hold(&[MINE]), Held::Alone), (contended(hold(&[OTHER, MINE])), Held::Contended)]
    {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.begin(MINE), said);
        assert_eq!(entry.get(), Some(bytes), "its time is not made shorter");
        assert!(entry.lasts_until(*HELD_UNTIL));
        assert_eq!(entry.heard(), [""; 0]);
    }
}

#[test]
fn a_renewal_that_finds_its_token_extends_its_own_time_and_tells_nobody() {
    for (bytes, said) in [
        (of_two_seconds(&[MINE]), Held::Alone),
        (contended(of_two_seconds(&[MINE])), Held::Contended),
        (contended(of_two_seconds(&[OTHER, MINE])), Held::Contended),
        (contended(of_two_seconds(&[OTHER, MINE, THIRD])), Held::Contended),
    ] {
        let mut entry = Entry::new();
        entry.set(&bytes, 2_000);
        assert_eq!(entry.renew(MINE), said);
        let mut after = writers(&bytes);
        after.retain(|(token, _)| *token != MINE);
        after.push((MINE, entry.answered + TERM_MS));
        entry.assert_held(bytes[1], &after);
        assert_eq!(entry.heard(), [""; 0]);
    }
}

/// A hold whose writers have about so long.
fn of_two_seconds(tokens: &[Token]) -> Vec<u8> {
    hold_until(now() + 2_000, tokens)
}

#[test]
fn a_renewal_that_does_not_find_its_token_puts_it_back_and_contends() {
    let others = [of_two_seconds(&[OTHER]), contended(of_two_seconds(&[OTHER])), hold(&[OTHER])]
        .map(|bytes| (Some(bytes.clone()), writers(&bytes)));
    let no_holds = no_holds().into_iter().map(|bytes| (Some(bytes), Vec::new()));
    let mut entry = Entry::new();
    for (bytes, mut after) in others.into_iter().chain(no_holds).chain([(None, Vec::new())]) {
        entry.unlink();
        if let Some(bytes) = &bytes {
            entry.set(bytes, 2_000);
        }
        assert_eq!(entry.renew(MINE), Held::Contended, "{bytes:?}");
        after.push((MINE, entry.answered + TERM_MS));
        entry.assert_held(1, &after);
        assert_eq!(entry.heard(), ["held"]);
    }
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        assert_eq!(entry.renew(MINE), Held::Contended);
        entry.assert_held(1, &[(MINE, entry.answered + TERM_MS)]);
    }
}

#[test]
fn no_hold_shortens_what_is_left_and_none_lasts_for_ever() {
    for token in [MINE, OTHER] {
        for is_renewal in [false, true] {
            // The time of its writer is further ahead than this hold's, and not so far.
            for (end, lasts) in [(now() + LONG, LONG), (now() + 2_000, TERM_MS)] {
                let mut entry = Entry::with(&hold_until(end, &[MINE]));
                entry.hold_for(token, is_renewal, None);
                assert!(is_about(entry.left(), lasts), "{token:?} {is_renewal}");
                let key = entry.key.clone();
                entry.redis::<()>(&[b"PERSIST", key.as_bytes()]);
                entry.hold_for(token, is_renewal, None);
                assert!(is_about(entry.left(), lasts), "{token:?} {is_renewal}");
                let mine = if token == MINE { end.max(entry.answered + TERM_MS) } else { end };
                let after = writers(&entry.get().unwrap());
                assert!(after.contains(&(MINE, mine)), "{after:?}");
                assert!(entry.lasts_until(after.iter().map(|(_, end)| *end).max().unwrap()));
            }
        }
    }
}

#[test]
fn a_hold_is_never_made_shorter_by_its_own_writer() {
    for is_renewal in [false, true] {
        let mut entry = Entry::new();
        entry.begin(MINE);
        let end = entry.answered + TERM_MS;
        let term = Duration::from_millis(100);
        assert_eq!(entry.hold(MINE, term, is_renewal, None), Held::Alone);
        entry.assert_held(0, &[(MINE, end)]);
        // One that comes for a shorter time has that time.
        assert_eq!(entry.hold(OTHER, term * 20, is_renewal, None), Held::Contended);
        entry.assert_held(1, &[(MINE, end), (OTHER, entry.answered + 2_000)]);
    }
}

#[test]
fn a_hold_may_last_for_a_century_and_no_longer() {
    let longest = hold_until(now() + CENTURY - LONG, &[OTHER]);
    let mut entry = Entry::with(&longest);
    assert_eq!(entry.load(MINE), Leased::Held);
    assert_eq!(entry.begin(OTHER), Held::Alone);
    assert_eq!(entry.get().as_ref(), Some(&longest));
    entry.set(&hold_until(now() + CENTURY + LONG, &[OTHER]), LONG);
    assert_eq!(entry.load(MINE), Leased::Granted(Grant::Lease));
}

#[test]
fn a_writer_whose_time_is_over_is_dropped_from_the_hold_of_others() {
    for end in [1, now(), now() + CENTURY + 10 * LONG, u64::MAX] {
        for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
            let all = [(THIRD, end), (OTHER, *HELD_UNTIL), (MINE, now() + 2_000)];
            let before = contended(hold_of(&order.map(|at| all[at])));
            let others = order.map(|at| all[at]).into_iter().filter(|(token, _)| *token != THIRD);
            let mut entry = Entry::with(&before);
            assert_eq!(entry.invalidate(), Invalidated::Held);
            entry.assert_held(1, &others.collect::<Vec<_>>());
            entry.set(&before, LONG);
            assert_eq!(entry.renew(MINE), Held::Contended);
            entry.assert_held(1, &[all[1], (MINE, entry.answered + TERM_MS)]);
            entry.set(&before, LONG);
            assert!(!entry.settle(OTHER, None));
            entry.assert_held(1, &all[2..]);
        }
    }
}

#[test]
fn a_writer_whose_time_was_over_finds_that_it_is_gone_and_contends() {
    let (ends, new) = (now() - 1, value(&fresh()));
    let other = (OTHER, *HELD_UNTIL);
    // Another one holds the key on. The second says that nobody contends, as no script does.
    for bytes in [contended(hold_of(&[(MINE, ends), other])), hold_of(&[other, (MINE, ends)])] {
        let mut entry = Entry::with(&bytes);
        assert_eq!(entry.renew(MINE), Held::Contended);
        assert_eq!(entry.heard(), ["held"]);
        entry.assert_held(1, &[other, (MINE, entry.answered + TERM_MS)]);
        assert!(!entry.settle(MINE, Some(&new)));
        entry.assert_held(1, &[other]);

        entry.set(&bytes, LONG);
        assert!(!entry.settle(MINE, Some(&new)));
        entry.assert_held(1, &[other]);
        assert!(!entry.settle(OTHER, Some(&new)), "nor was the other one alone");
        assert_eq!(entry.get(), None);
    }
    // Another one came when the time was over, and took itself for alone.
    for end in [Entry::renew as fn(&mut Entry, Token) -> Held, |entry, token| {
        assert!(!entry.settle(token, Some(&value(&fresh()))));
        Held::Contended
    }] {
        let mut entry = Entry::with(&hold_until(ends, &[MINE]));
        assert_eq!(entry.begin(OTHER), Held::Alone);
        assert_eq!(end(&mut entry, MINE), Held::Contended);
        assert_eq!(entry.renew(OTHER), Held::Contended);
        assert!(!entry.settle(OTHER, Some(&new)));
        assert!(!entry.settle(MINE, Some(&new)));
        assert_eq!(entry.get(), None);
    }
    // Nobody came.
    let mut entry = Entry::with(&hold_until(ends, &[MINE]));
    assert_eq!(entry.renew(MINE), Held::Contended);
    entry.assert_held(1, &[(MINE, entry.answered + TERM_MS)]);
    assert!(!entry.settle(MINE, Some(&new)));
    assert_eq!(entry.get(), None);
}

#[test]
fn a_hold_whose_writers_are_all_over_is_absent_to_every_script() {
    let new = value(&fresh());
    for bytes in over() {
        let mut entry = Entry::new();
        let stands = |entry: &mut Entry| {
            entry.set(&bytes, LONG);
            entry.heard();
        };
        for ask in FIRST_ASKS {
            for token in [MINE, OTHER] {
                stands(&mut entry);
                assert_eq!(entry.ask(ask, token), Leased::Granted(Grant::Lease), "{bytes:?}");
                assert_eq!(entry.get(), Some(lease(token)), "nobody waits for a hold");
                assert!(is_about(entry.left(), TERM_MS));
                assert!(entry.fill(token, &new));
            }
        }
        stands(&mut entry);
        assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
        assert!(!entry.fill(MINE, &new));
        assert!(!entry.release(MINE, Duration::ZERO));
        assert_eq!(entry.get().as_ref(), Some(&bytes));
        assert_eq!(entry.heard(), ["wake"]);

        assert_eq!(entry.invalidate(), Invalidated::Removed);
        assert_eq!(entry.get(), None);
        assert_eq!(entry.heard(), ["invalidated"]);

        for (token, is_renewal, said) in [
            (MINE, false, Held::Alone),
            (OTHER, false, Held::Alone),
            (MINE, true, Held::Contended),
            (OTHER, true, Held::Contended),
        ] {
            stands(&mut entry);
            assert_eq!(entry.hold_for(token, is_renewal, None), said, "{bytes:?}");
            entry.assert_held(u8::from(is_renewal), &[(token, entry.answered + TERM_MS)]);
            assert_eq!(entry.heard(), ["held"]);
            assert_eq!(entry.settle(token, Some(&new)), !is_renewal);
        }

        for token in [MINE, OTHER] {
            stands(&mut entry);
            assert!(!entry.settle(token, Some(&new)));
            assert_eq!(entry.get(), None, "{bytes:?}");
            assert_eq!(entry.heard(), ["settled"]);
        }
    }
}

#[test]
fn a_hold_that_comes_after_its_time_does_nothing() {
    let (before, after) = (now() - 1, now() + LONG);
    for is_renewal in [false, true] {
        let held = [MINE, OTHER].map(|token| hold_until(now() + 6_000, &[token]));
        for bytes in held.into_iter().chain([value(&fresh()), lease(OTHER)]) {
            let mut entry = Entry::new();
            entry.set(&bytes, 6_000);
            assert_eq!(entry.hold_for(MINE, is_renewal, Some(before)), Held::Late);
            assert_eq!(entry.get(), Some(bytes));
            assert!(is_about(entry.left(), 6_000));
            assert_eq!(entry.heard(), [""; 0]);
            assert_ne!(entry.hold_for(MINE, is_renewal, Some(after)), Held::Late);
            assert!(is_about(entry.left(), TERM_MS));
        }
        let mut entry = Entry::new();
        assert_eq!(entry.hold_for(MINE, is_renewal, Some(before)), Held::Late);
        assert_eq!(entry.get(), None);
    }
}

#[test]
fn the_answer_has_the_servers_time() {
    let mut entry = Entry::new();
    let (key, channel, message) = (entry.key.clone(), "channel", b"".as_slice());
    let before = now();
    let mut times = Vec::new();
    for is_renewal in [false, true] {
        for not_after in [None, Some(1)] {
            let hold = Hold {
                key: &key,
                token: MINE,
                term: TERM,
                not_after,
                is_renewal,
                channel,
                message,
            };
            times.push(entry.run(&hold).now);
        }
    }
    let settle = Settle { key: &key, token: MINE, value: None, channel, message };
    times.push(entry.run(&settle).now);
    times.push(now());
    assert!(times[0] >= before && times.is_sorted(), "{before} {times:?}");
}

#[test]
fn during_a_hold_nothing_is_stored_and_nobody_is_granted_anything() {
    let old = value(&stale());
    for held in [hold(&[OTHER]), contended(hold(&[OTHER])), contended(hold(&[OTHER, THIRD]))] {
        // Also the writer's own token is none of a reader.
        for token in [MINE, OTHER] {
            let mut entry = Entry::with(&held);
            for ask in FIRST_ASKS {
                assert_eq!(entry.ask(ask, token), Leased::Held, "{ask:?}");
                assert_eq!(entry.ask_after(ask, token, &old), Leased::Held, "{ask:?}");
                assert_eq!(entry.ask_after(ask, token, &held), Leased::Held, "{ask:?}");
            }
            assert_eq!(entry.ask(Ask::Renew, token), Leased::Lost);
            assert!(!entry.fill(token, &value(&fresh())));
            assert_eq!(entry.heard(), ["wake"], "whoever waits for the run waits in vain");
            assert!(!entry.release(token, Duration::ZERO));
            assert_eq!(entry.heard(), [""; 0]);
            assert_eq!(entry.get().as_ref(), Some(&held));
            assert!(is_about(entry.left(), LONG));
        }
    }
}

#[test]
fn a_token_from_before_a_hold_can_neither_store_nor_renew() {
    for bytes in [None, Some(value(&stale()))] {
        for new in [None, Some(value(&fresh()))] {
            let mut entry = Entry::new();
            if let Some(bytes) = &bytes {
                entry.set(bytes, LONG);
            }
            assert!(matches!(entry.load(MINE), Leased::Granted(_)));
            entry.begin(OTHER);
            assert!(!entry.fill(MINE, &value(&stale())));
            assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
            assert!(entry.settle(OTHER, new.as_deref()));
            assert!(!entry.fill(MINE, &value(&stale())));
            assert_eq!(entry.ask(Ask::Renew, MINE), Leased::Lost);
            assert!(!entry.release(MINE, Duration::ZERO));
            assert_eq!(entry.get(), new);
        }
    }
}

#[test]
fn a_hold_of_very_many_writers_keeps_no_server_busy() {
    // A mebibyte. What takes time by the square of it takes half a minute.
    let tokens: Vec<_> = (1..=43_690).map(Token).collect();
    let mut entry = Entry::with(&hold(&tokens));
    let started = Instant::now();
    assert_eq!(entry.load(MINE), Leased::Held);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
