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
        assert_eq!(entry.get(), Some(hold(&[MINE])), "{bytes:?}");
        assert!(is_about(entry.left(), TERM_MS));
        assert_eq!(entry.heard(), ["held"]);
    }
}

#[test]
fn a_hold_kills_other_types() {
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        assert_eq!(entry.begin(MINE), Held::Alone);
        assert_eq!(entry.get(), Some(hold(&[MINE])));
        assert!(is_about(entry.left(), TERM_MS));
    }
}

#[test]
fn a_second_token_contends_and_all_stand() {
    let mut entry = Entry::new();
    assert_eq!(entry.begin(MINE), Held::Alone);
    assert_eq!(entry.begin(OTHER), Held::Contended);
    assert_eq!(entry.begin(THIRD), Held::Contended);
    assert_eq!(entry.get(), Some(contended(hold(&[MINE, OTHER, THIRD]))));
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
        assert_eq!(entry.get(), Some(bytes));
        assert_eq!(entry.heard(), [""; 0]);
    }
}

#[test]
fn a_renewal_that_finds_its_token_extends_the_expiry_and_tells_nobody() {
    for (bytes, said) in [
        (hold(&[MINE]), Held::Alone),
        (contended(hold(&[MINE])), Held::Contended),
        (contended(hold(&[OTHER, MINE])), Held::Contended),
        (contended(hold(&[OTHER, MINE, THIRD])), Held::Contended),
    ] {
        let mut entry = Entry::new();
        entry.set(&bytes, 2_000);
        assert_eq!(entry.renew(MINE), said);
        assert_eq!(entry.get(), Some(bytes));
        assert!(is_about(entry.left(), TERM_MS));
        assert_eq!(entry.heard(), [""; 0]);
    }
}

#[test]
fn a_renewal_that_does_not_find_its_token_puts_it_back_and_contends() {
    let lost = contended(hold(&[MINE]));
    let others = [hold(&[OTHER]), contended(hold(&[OTHER]))]
        .map(|bytes| (Some(bytes), contended(hold(&[OTHER, MINE]))));
    let no_holds = no_holds().into_iter().map(|bytes| (Some(bytes), lost.clone()));
    let mut entry = Entry::new();
    for (bytes, after) in no_holds.chain([(None, lost.clone())]).chain(others) {
        entry.unlink();
        if let Some(bytes) = &bytes {
            entry.set(bytes, 2_000);
        }
        assert_eq!(entry.renew(MINE), Held::Contended, "{bytes:?}");
        assert_eq!(entry.get(), Some(after), "{bytes:?}");
        assert!(is_about(entry.left(), TERM_MS));
        assert_eq!(entry.heard(), ["held"]);
    }
    for args in other_types() {
        let mut entry = Entry::with_type(args);
        assert_eq!(entry.renew(MINE), Held::Contended);
        assert_eq!(entry.get().as_ref(), Some(&lost));
    }
}

#[test]
fn no_hold_shortens_what_is_left_and_none_lasts_for_ever() {
    for token in [MINE, OTHER] {
        for is_renewal in [false, true] {
            let mut entry = Entry::with(&hold(&[MINE]));
            entry.hold_for(token, is_renewal, None);
            assert!(is_about(entry.left(), LONG), "{token:?} {is_renewal}");
            let key = entry.key.clone();
            entry.redis::<()>(&[b"PERSIST", key.as_bytes()]);
            entry.hold_for(token, is_renewal, None);
            assert!(is_about(entry.left(), TERM_MS), "{token:?} {is_renewal}");
        }
    }
}

#[test]
fn a_hold_that_comes_after_its_time_does_nothing() {
    let (before, after) = (now() - 1, now() + LONG);
    for is_renewal in [false, true] {
        for bytes in [value(&fresh()), lease(OTHER), hold(&[MINE]), hold(&[OTHER])] {
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
