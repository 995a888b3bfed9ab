//! Hostile bytes through the scripts, against the same rules said a second time.

use super::*;

const INPUTS: usize = 20_000;
const BATCH: usize = 500;

/// What a rule makes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Foreign,
    Lease(Token),
    /// Of at least one writer whose time is not over.
    Hold,
    /// A hold whose writers are all over.
    Over,
    Newer,
    Value(Times),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    created: u64,
    fresh: u64,
    stale: u64,
    servable: u64,
    refresh: u64,
    token: Token,
}

fn is(bytes: &[u8], now: u64) -> Is {
    let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let token_at = |at: usize| Token(u128::from_be_bytes(bytes[at..at + 16].try_into().unwrap()));
    match bytes {
        [0, ..] if bytes.len() == 18 => Is::Lease(token_at(2)),
        [2, _, writers @ ..] if !writers.is_empty() && writers.len().is_multiple_of(24) => {
            if holding(bytes, now).is_empty() {
                Is::Over
            } else {
                Is::Hold
            }
        }
        [1, 2..=255, ..] => Is::Newer,
        [1, 1, _, stamps @ 1..=9, ..] if bytes.len() >= 76 + 8 * usize::from(*stamps) => {
            Is::Value(Times {
                created: u64_at(4),
                fresh: u64_at(12),
                stale: u64_at(20),
                servable: u64_at(28),
                refresh: u64_at(36),
                token: token_at(44),
            })
        }
        _ => Is::Foreign,
    }
}

/// The writers of a hold whose time has not come, and is not more than a century away.
fn holding(hold: &[u8], now: u64) -> Vec<(Token, u64)> {
    let ahead = |end: u64| end.checked_sub(now).is_some_and(|left| (1..=CENTURY).contains(&left));
    writers(hold).into_iter().filter(|(_, end)| ahead(*end)).collect()
}

fn inputs() -> Vec<Vec<u8>> {
    let mut seeds = vec![lease(MINE), awaited(lease(OTHER)), newer()];
    // What stands at a tag's key.
    for stamp in [1_700_000_000_000_001, (1 << 53) - 1, 1 << 53, 7, 0] {
        seeds.push(u64::to_string(&stamp).into_bytes());
    }
    for tokens in [&[MINE][..], &[OTHER], &[MINE, OTHER], &[OTHER, MINE, THIRD], &[OTHER; 9]] {
        seeds.extend([hold(tokens), contended(hold(tokens))]);
    }
    // Some of their writers are over, or have a time that none can have.
    let (ahead, past, absurd) = (*HELD_UNTIL, now() - LONG, now() + CENTURY + 10 * LONG);
    for writers in [
        &[(MINE, past)][..],
        &[(OTHER, absurd)],
        &[(MINE, past), (OTHER, ahead)],
        &[(OTHER, past), (MINE, ahead)],
        &[(MINE, u64::MAX), (OTHER, ahead), (THIRD, 0)],
        &[(MINE, now() + 2 * LONG), (THIRD, absurd), (OTHER, ahead)],
        // The same one twice: what is over of it is nothing.
        &[(MINE, past), (OTHER, 1 << 53), (MINE, ahead)],
    ] {
        seeds.extend([hold_of(writers), contended(hold_of(writers))]);
    }
    for header in [fresh(), stale(), kept(), dead()] {
        seeds.push(value(&header));
        seeds.push(value(&paused(header, 60_000)));
        for token in [MINE, OTHER] {
            seeds.push(value(&refreshed(header, token, 60_000)));
            seeds.push(awaited(value(&refreshed(header, token, -60_000))));
        }
    }
    let mut random = fastrand::Rng::with_seed(11);
    let mut inputs = Vec::new();
    while inputs.len() < INPUTS {
        let mut bytes = if random.u8(..4) == 0 {
            let length = random.usize(..120);
            let noise = std::iter::repeat_with(|| random.u8(..)).take(length).collect::<Vec<_>>();
            [[random.u8(..4), random.u8(..3)].as_slice(), &noise].concat()
        } else {
            seeds[random.usize(..seeds.len())].clone()
        };
        if random.u8(..3) == 0 {
            bytes.truncate(random.usize(..=bytes.len()));
        }
        for _ in 0..random.u8(..3) {
            if !bytes.is_empty() {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
            }
        }
        inputs.push(bytes);
    }
    inputs
}

/// What stands at a key, and for how long, in milliseconds.
struct After {
    bytes: Option<Vec<u8>>,
    left: i64,
}

impl After {
    /// That a script left this, and if it is a hold, that it lasts until the latest of its times.
    #[track_caller]
    fn assert_is(self, expected: Option<Vec<u8>>, now: u64, bytes: &[u8]) {
        assert_eq!(self.bytes, expected, "{bytes:?}");
        if let Some(hold) = expected.filter(|after| is(after, now) == Is::Hold) {
            let latest = writers(&hold).into_iter().map(|(_, end)| end).max().unwrap();
            let (left, lasts) = (u64::try_from(self.left).unwrap(), latest - now);
            // The time between the script and the look at it.
            assert!((lasts.saturating_sub(5_000)..=lasts).contains(&left), "{left} {bytes:?}");
        }
    }
}

/// Puts each input at a key, sends the command, and hands over what it answered and what stands
/// there then.
fn through<C: super::Command>(
    command: impl Fn(&'static str) -> C,
    check: impl Fn(&[u8], Answer<C::Outcome>, After),
) {
    // Keys of the pipeline; the tests run beside each other.
    static COUNT: AtomicU64 = AtomicU64::new(0);

    let key: &str = format!("fuzz:{}", COUNT.fetch_add(1, Relaxed)).leak();
    let command = command(key);
    let mut connection = SERVER.connect();
    redis::cmd("SCRIPT").arg("LOAD").arg(command.script().body).exec(&mut connection).unwrap();
    for batch in inputs().chunks(BATCH) {
        let mut pipe = redis::pipe();
        for bytes in batch {
            pipe.cmd("SET").arg(key).arg(bytes).arg("PX").arg(LONG).ignore();
            pipe.add_command(command.by_sha()).cmd("GET").arg(key).cmd("PTTL").arg(key);
        }
        // An error reply to any of them fails the whole.
        let replies: Vec<Value> = pipe.query(&mut connection).unwrap();
        assert_eq!(replies.len(), batch.len() * 3);
        let mut replies = replies.into_iter();
        for bytes in batch {
            let answer = C::answer(replies.next().unwrap());
            let after = After {
                bytes: redis::from_redis_value(replies.next().unwrap()).unwrap(),
                left: redis::from_redis_value(replies.next().unwrap()).unwrap(),
            };
            check(bytes, answer.unwrap_or_else(|| panic!("{bytes:?}")), after);
        }
    }
}

#[test]
fn hostile_bytes_through_lease() {
    for ask in ASKS {
        through(
            |key| Lease { key, token: MINE, term: TERM, not_after: None, ask, seen: &[] },
            |bytes, Answer { now, outcome }, after| {
                let after = after.bytes.unwrap();
                let (code, result) = leased(bytes, ask, now);
                let answered = match &outcome {
                    Leased::Granted(grant) => format!("Granted({grant:?})"),
                    Leased::Found(whole) | Leased::Stale(whole) => {
                        assert_eq!(*whole, after);
                        format!("{outcome:?}").split('(').next().unwrap().to_owned()
                    }
                    Leased::Busy(_) => "Busy".to_owned(),
                    other => format!("{other:?}"),
                };
                assert_eq!(answered, code, "{ask:?} {bytes:?}");
                assert_eq!(after, result, "{ask:?} {bytes:?}");
            },
        );
    }
}

/// What LEASE says and leaves behind.
fn leased(bytes: &[u8], ask: Ask, now: u64) -> (&'static str, Vec<u8>) {
    let same = bytes.to_vec();
    let with_token = || {
        let mut value = same.clone();
        value[36..44].copy_from_slice(&(now + TERM_MS).to_be_bytes());
        value[44..60].copy_from_slice(&super::bytes(MINE));
        value
    };
    let is_awaited = match is(bytes, now) {
        Is::Lease(_) => bytes[1] & 1 == 1,
        Is::Value(_) => bytes[2] & 64 != 0,
        _ => false,
    };
    let mine = || if is_awaited { awaited(lease(MINE)) } else { lease(MINE) };
    // Flags of a lease that nobody knows are lost when it is marked.
    let busy = || match (is(bytes, now), is_awaited) {
        (Is::Lease(token), false) => ("Busy", awaited(lease(token))),
        _ => ("Busy", awaited(same.clone())),
    };
    match is(bytes, now) {
        Is::Lease(MINE) => ("Granted(Lease)", same),
        Is::Value(Times { token: MINE, servable, .. }) if now < servable => {
            ("Granted(Refresh)", with_token())
        }
        Is::Value(Times { token: MINE, .. }) => ("Granted(Lease)", with_token()),
        _ if ask == Ask::Renew => ("Lost", same),
        Is::Hold => ("Held", same),
        Is::Newer => ("Newer", same),
        Is::Foreign | Is::Over => ("Granted(Lease)", lease(MINE)),
        Is::Lease(_) if ask == Ask::Refresh => ("Granted(Lease)", mine()),
        Is::Lease(_) => busy(),
        Is::Value(times) => {
            let is_refreshed = times.token != Token(0) && times.refresh > now;
            let is_paused = times.token == Token(0) && times.refresh > now;
            let since = |then: u64| i128::from(now) - i128::from(then);
            let is_young = since(times.created) < -since(times.fresh);
            if now >= times.servable {
                if is_refreshed && ask != Ask::Refresh {
                    busy()
                } else {
                    ("Granted(Lease)", mine())
                }
            } else if ask == Ask::Refresh {
                ("Granted(Refresh)", with_token())
            } else if now < times.fresh && (ask == Ask::Load || is_young) {
                ("Found", same)
            } else if is_refreshed && now >= times.fresh && now < times.stale {
                ("Stale", awaited(same))
            } else if is_paused || (is_refreshed && now < times.stale) {
                ("Stale", same)
            } else if is_refreshed {
                busy()
            } else {
                ("Granted(Refresh)", with_token())
            }
        }
    }
}

#[test]
fn hostile_bytes_through_lease_that_rejects_them() {
    // What was seen is one value; the inputs are others, or none.
    let seen = value(&Header { fingerprint: 0xdead, ..fresh() });
    through(
        |key| Lease { key, token: MINE, term: TERM, not_after: None, ask: Ask::Load, seen: &seen },
        |bytes, Answer { now, outcome }, after| {
            let (code, result) = leased(bytes, Ask::Load, now);
            assert_eq!(matches!(outcome, Leased::Granted(_)), code.starts_with("Granted"));
            assert_eq!(after.bytes, Some(result), "{bytes:?}");
        },
    );
}

#[test]
fn hostile_bytes_through_fill() {
    let new = value(&fresh());
    through(
        |key| Fill { key, token: MINE, value: &new, life: TERM, channel: "fuzz", wake: WAKE },
        |bytes, Answer { now, outcome }, after| {
            let stands = stands(bytes, now);
            assert_eq!(outcome, stands, "{bytes:?}");
            let result = if stands { &new } else { bytes };
            assert_eq!(after.bytes.as_deref(), Some(result), "{bytes:?}");
        },
    );
}

fn stands(bytes: &[u8], now: u64) -> bool {
    matches!(is(bytes, now), Is::Lease(MINE) | Is::Value(Times { token: MINE, .. }))
}

#[test]
fn hostile_bytes_through_release() {
    through(
        |key| Release { key, token: MINE, pause: TERM, channel: "fuzz", wake: WAKE },
        |bytes, Answer { now, outcome }, after| {
            assert_eq!(outcome, stands(bytes, now), "{bytes:?}");
            let result = match is(bytes, now) {
                _ if !stands(bytes, now) => Some(bytes.to_vec()),
                Is::Value(times) if now < times.servable => {
                    let mut value = bytes.to_vec();
                    value[2] &= !64;
                    value[36..44].copy_from_slice(&(now + TERM_MS).to_be_bytes());
                    value[44..60].fill(0);
                    Some(value)
                }
                _ => None,
            };
            assert_eq!(after.bytes, result, "{bytes:?}");
        },
    );
}

#[test]
fn hostile_bytes_through_invalidate() {
    through(
        |key| Invalidate { key, channel: "fuzz", message: b"" },
        |bytes, Answer { now, outcome }, after| {
            let (said, result) = if is(bytes, now) == Is::Hold {
                (Invalidated::Held, Some(flagged(bytes[1] | 1, &holding(bytes, now))))
            } else {
                (Invalidated::Removed, None)
            };
            assert_eq!(outcome, said, "{bytes:?}");
            after.assert_is(result, now, bytes);
        },
    );
}

/// A hold of these flags and writers.
fn flagged(flags: u8, writers: &[(Token, u64)]) -> Vec<u8> {
    [&[2, flags], &hold_of(writers)[2..]].concat()
}

/// Takes the first writer with this token out, and says until when it holds.
fn take(writers: &mut Vec<(Token, u64)>, token: Token) -> Option<u64> {
    let at = writers.iter().position(|(of, _)| *of == token)?;
    Some(writers.remove(at).1)
}

#[test]
fn hostile_bytes_through_hold() {
    for is_renewal in [false, true] {
        let (channel, message) = ("fuzz", b"".as_slice());
        through(
            |key| Hold {
                key,
                token: MINE,
                term: TERM,
                not_after: None,
                is_renewal,
                channel,
                message,
            },
            |bytes, Answer { now, outcome }, after| {
                let (said, result) = held(bytes, is_renewal, now);
                assert_eq!(outcome, said, "{is_renewal} {bytes:?}");
                after.assert_is(Some(result), now, bytes);
            },
        );
    }
}

/// What HOLD says and leaves behind.
fn held(bytes: &[u8], is_renewal: bool, now: u64) -> (Held, Vec<u8>) {
    let end = now + TERM_MS;
    let (flags, writers) = match is(bytes, now) {
        Is::Hold => {
            let mut writers = holding(bytes, now);
            let before = take(&mut writers, MINE);
            writers.push((MINE, before.map_or(end, |before| before.max(end))));
            (if before.is_some() { bytes[1] } else { bytes[1] | 1 }, writers)
        }
        _ => (u8::from(is_renewal), vec![(MINE, end)]),
    };
    let said = if flags & 1 == 0 { Held::Alone } else { Held::Contended };
    (said, flagged(flags, &writers))
}

#[test]
fn hostile_bytes_through_settle() {
    let new = value(&fresh());
    for value in [None, Some(new.as_slice())] {
        let stored = value.map(|value| (value, TERM));
        through(
            |key| Settle { key, token: MINE, value: stored, channel: "fuzz", message: b"" },
            |bytes, Answer { now, outcome }, after| {
                let (alone, result) = settled(bytes, value, now);
                assert_eq!(outcome, alone, "{bytes:?}");
                after.assert_is(result, now, bytes);
            },
        );
    }
}

/// What SETTLE says and leaves behind.
fn settled(bytes: &[u8], value: Option<&[u8]>, now: u64) -> (bool, Option<Vec<u8>>) {
    if is(bytes, now) != Is::Hold {
        return (false, None);
    }
    let mut others = holding(bytes, now);
    if take(&mut others, MINE).is_none() {
        return (false, Some(flagged(bytes[1] | 1, &others)));
    }
    let alone = bytes[1] & 1 == 0;
    match others[..] {
        [] if alone => (true, value.map(<[u8]>::to_vec)),
        [] => (false, None),
        _ => (false, Some(flagged(bytes[1], &others))),
    }
}

#[test]
fn hostile_bytes_through_seed() {
    through(
        |key| Seed { key, keep: Duration::from_millis(2 * LONG) },
        |bytes, Answer { now, outcome }, after| match (is(bytes, now), outcome) {
            (Is::Hold, Seeded::Held) => {
                assert_eq!(after.bytes.as_deref(), Some(bytes));
                assert!(is_about(after.left, LONG), "{bytes:?}");
            }
            (Is::Hold, Seeded::Stamp(_)) | (_, Seeded::Held) => panic!("{outcome:?} of {bytes:?}"),
            (_, Seeded::Stamp(stamp)) => {
                let text = stamp.to_string().into_bytes();
                assert!(is_about(after.left, 2 * LONG), "{bytes:?}");
                assert_eq!(after.bytes, Some(standing(bytes).unwrap_or(text)), "{bytes:?}");
                match standing(bytes) {
                    Some(bytes) => assert_eq!(stamp, number(&bytes)),
                    None => assert_eq!(stamp / 1000, now, "{bytes:?}"),
                }
            }
        },
    );
}

/// The text of a stamp, if this is one.
fn standing(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_number = (1..=16).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    let is_stamp = is_number && (1..1 << 53).contains(&number(bytes));
    is_stamp.then(|| bytes.to_vec())
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

#[test]
fn the_script_takes_for_a_value_whatever_the_decoder_does() {
    for bytes in inputs() {
        let decoded = blob::decode(&bytes, 1 << 20);
        match is(&bytes, now()) {
            // A decoder looks further, and rejects more.
            Is::Value(_) => assert!(matches!(decoded, Decoded::Value { .. } | Decoded::Foreign)),
            Is::Lease(_) => assert_eq!(decoded, Decoded::Lease),
            // When its writers are over is the server's to say.
            Is::Hold | Is::Over => assert_eq!(decoded, Decoded::Hold),
            Is::Newer => assert_eq!(decoded, Decoded::Newer),
            Is::Foreign => assert_eq!(decoded, Decoded::Foreign),
        }
    }
}

#[test]
fn the_inputs_are_holds_of_every_kind() {
    let now = now();
    let inputs = inputs();
    let count = |is_one: &dyn Fn(&[u8]) -> bool| inputs.iter().filter(|one| is_one(one)).count();
    let has = |writers: &[(Token, u64)]| writers.iter().any(|(token, _)| *token == MINE);
    let holds = |bytes: &[u8]| is(bytes, now) == Is::Hold;
    // Nobody is over, somebody is, the caller is, and all are.
    let counts = [
        count(&|bytes| holds(bytes) && holding(bytes, now) == writers(bytes)),
        count(&|bytes| holds(bytes) && holding(bytes, now) != writers(bytes)),
        count(&|bytes| holds(bytes) && has(&writers(bytes)) && !has(&holding(bytes, now))),
        count(&|bytes| is(bytes, now) == Is::Over),
    ];
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}

#[test]
fn the_inputs_are_stamps_and_what_looks_like_them() {
    let texts = inputs().into_iter().filter(|bytes| bytes.first().is_some_and(u8::is_ascii_digit));
    let (stamps, none): (Vec<_>, Vec<_>) = texts.partition(|bytes| standing(bytes).is_some());
    let counts = (stamps.len(), none.len());
    assert!(counts.0 > 300 && counts.1 > 300, "{counts:?}");
}
