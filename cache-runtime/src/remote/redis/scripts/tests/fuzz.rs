//! Hostile bytes through the scripts, against the same rules said a second time.

use super::*;

const INPUTS: usize = 20_000;
const BATCH: usize = 500;

/// What a rule makes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Foreign,
    Lease(Token),
    Hold,
    Newer,
    Value(Times),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    fresh: u64,
    stale: u64,
    servable: u64,
    refresh: u64,
    token: Token,
}

fn is(bytes: &[u8]) -> Is {
    let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let token_at = |at: usize| Token(u128::from_be_bytes(bytes[at..at + 16].try_into().unwrap()));
    match bytes {
        [0, ..] if bytes.len() == 18 => Is::Lease(token_at(2)),
        [2, ..] if bytes.len() >= 18 && (bytes.len() - 2).is_multiple_of(16) => Is::Hold,
        [1, 2..=255, ..] => Is::Newer,
        [1, 1, _, stamps @ 1..=9, ..] if bytes.len() >= 76 + 8 * usize::from(*stamps) => {
            Is::Value(Times {
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

fn inputs() -> Vec<Vec<u8>> {
    let mut seeds = vec![lease(MINE), awaited(lease(OTHER)), newer()];
    for tokens in [&[MINE][..], &[OTHER], &[MINE, OTHER], &[OTHER, MINE, THIRD], &[OTHER; 9]] {
        seeds.extend([hold(tokens), contended(hold(tokens))]);
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

/// Puts each input at a key, sends the command, and hands over what it answered and what stands
/// there then.
fn through<C: super::Command>(
    command: impl Fn(&'static str) -> C,
    check: impl Fn(&[u8], Answer<C::Outcome>, Option<Vec<u8>>),
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
            pipe.add_command(command.by_sha()).cmd("GET").arg(key);
        }
        // An error reply to any of them fails the whole.
        let replies: Vec<Value> = pipe.query(&mut connection).unwrap();
        assert_eq!(replies.len(), batch.len() * 2);
        let mut replies = replies.into_iter();
        for bytes in batch {
            let answer = C::answer(replies.next().unwrap());
            let after = redis::from_redis_value(replies.next().unwrap()).unwrap();
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
                let after = after.unwrap();
                let (code, result) = leased(bytes, ask, now);
                let answered = match &outcome {
                    Leased::Granted(grant) => format!("Granted({grant:?})"),
                    Leased::Found(whole) | Leased::Stale(whole) => {
                        assert_eq!(whole, bytes);
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
    let is_awaited = match is(bytes) {
        Is::Lease(_) => bytes[1] & 1 == 1,
        Is::Value(_) => bytes[2] & 64 != 0,
        _ => false,
    };
    let mine = || if is_awaited { awaited(lease(MINE)) } else { lease(MINE) };
    // Flags of a lease that nobody knows are lost when it is marked.
    let busy = || match (is(bytes), is_awaited) {
        (Is::Lease(token), false) => ("Busy", awaited(lease(token))),
        _ => ("Busy", awaited(same.clone())),
    };
    match is(bytes) {
        Is::Lease(MINE) => ("Granted(Lease)", same),
        Is::Value(Times { token: MINE, servable, .. }) if now < servable => {
            ("Granted(Refresh)", with_token())
        }
        Is::Value(Times { token: MINE, .. }) => ("Granted(Lease)", with_token()),
        _ if ask == Ask::Renew => ("Lost", same),
        Is::Hold => ("Held", same),
        Is::Newer => ("Newer", same),
        Is::Foreign => ("Granted(Lease)", lease(MINE)),
        Is::Lease(_) if ask == Ask::Refresh => ("Granted(Lease)", mine()),
        Is::Lease(_) => busy(),
        Is::Value(times) => {
            let is_refreshed = times.token != Token(0) && times.refresh > now;
            let is_paused = times.token == Token(0) && times.refresh > now;
            if now >= times.servable {
                if is_refreshed && ask != Ask::Refresh {
                    busy()
                } else {
                    ("Granted(Lease)", mine())
                }
            } else if ask == Ask::Refresh {
                ("Granted(Refresh)", with_token())
            } else if now < times.fresh && ask == Ask::Load {
                ("Found", same)
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
            assert_eq!(after, Some(result), "{bytes:?}");
        },
    );
}

#[test]
fn hostile_bytes_through_fill() {
    let new = value(&fresh());
    through(
        |key| Fill { key, token: MINE, value: &new, life: TERM, channel: "fuzz", wake: WAKE },
        |bytes, Answer { outcome, .. }, after| {
            let stands = stands(bytes);
            assert_eq!(outcome, stands, "{bytes:?}");
            assert_eq!(after.as_deref(), Some(if stands { &new } else { bytes }), "{bytes:?}");
        },
    );
}

fn stands(bytes: &[u8]) -> bool {
    matches!(is(bytes), Is::Lease(MINE) | Is::Value(Times { token: MINE, .. }))
}

#[test]
fn hostile_bytes_through_release() {
    through(
        |key| Release { key, token: MINE, pause: TERM, channel: "fuzz", wake: WAKE },
        |bytes, Answer { now, outcome }, after| {
            assert_eq!(outcome, stands(bytes), "{bytes:?}");
            let result = match is(bytes) {
                _ if !stands(bytes) => Some(bytes.to_vec()),
                Is::Value(times) if now < times.servable => {
                    let mut value = bytes.to_vec();
                    value[2] &= !64;
                    value[36..44].copy_from_slice(&(now + TERM_MS).to_be_bytes());
                    value[44..60].fill(0);
                    Some(value)
                }
                _ => None,
            };
            assert_eq!(after, result, "{bytes:?}");
        },
    );
}

#[test]
fn hostile_bytes_through_invalidate() {
    through(
        |key| Invalidate { key, channel: "fuzz", message: b"" },
        |bytes, Answer { outcome, .. }, after| {
            if is(bytes) == Is::Hold {
                let mut contended = bytes.to_vec();
                contended[1] |= 1;
                assert_eq!((outcome, after), (Invalidated::Held, Some(contended)));
            } else {
                assert_eq!((outcome, after), (Invalidated::Removed, None), "{bytes:?}");
            }
        },
    );
}

/// The tokens of a hold.
fn tokens(bytes: &[u8]) -> Vec<Token> {
    let tokens = bytes[2..].chunks_exact(16);
    tokens.map(|token| Token(u128::from_be_bytes(token.try_into().unwrap()))).collect()
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
            |bytes, Answer { outcome, .. }, after| {
                let (said, result) = held(bytes, is_renewal);
                assert_eq!(outcome, said, "{is_renewal} {bytes:?}");
                assert_eq!(after, Some(result), "{is_renewal} {bytes:?}");
            },
        );
    }
}

/// What HOLD says and leaves behind.
fn held(bytes: &[u8], is_renewal: bool) -> (Held, Vec<u8>) {
    match is(bytes) {
        Is::Hold if tokens(bytes).contains(&MINE) => {
            let said = if bytes[1] & 1 == 0 { Held::Alone } else { Held::Contended };
            (said, bytes.to_vec())
        }
        Is::Hold => {
            let both = [bytes, &super::bytes(MINE)].concat();
            (Held::Contended, contended(both))
        }
        _ if is_renewal => (Held::Contended, contended(hold(&[MINE]))),
        _ => (Held::Alone, hold(&[MINE])),
    }
}

#[test]
fn hostile_bytes_through_settle() {
    let new = value(&fresh());
    for value in [None, Some(new.as_slice())] {
        let stored = value.map(|value| (value, TERM));
        through(
            |key| Settle { key, token: MINE, value: stored, channel: "fuzz", message: b"" },
            |bytes, Answer { outcome, .. }, after| {
                let (alone, result) = settled(bytes, value);
                assert_eq!(outcome, alone, "{bytes:?}");
                assert_eq!(after, result, "{bytes:?}");
            },
        );
    }
}

/// What SETTLE says and leaves behind.
fn settled(bytes: &[u8], value: Option<&[u8]>) -> (bool, Option<Vec<u8>>) {
    if is(bytes) != Is::Hold {
        return (false, None);
    }
    let mut tokens = tokens(bytes);
    let Some(at) = tokens.iter().position(|token| *token == MINE) else {
        return (false, Some(contended(bytes.to_vec())));
    };
    tokens.remove(at);
    let alone = bytes[1] & 1 == 0;
    match tokens[..] {
        [] if alone => (true, value.map(<[u8]>::to_vec)),
        [] => (false, None),
        _ => (false, Some([&bytes[..2], &hold(&tokens)[2..]].concat())),
    }
}

#[test]
fn the_script_takes_for_a_value_whatever_the_decoder_does() {
    for bytes in inputs() {
        let decoded = blob::decode(&bytes, 1 << 20);
        match is(&bytes) {
            // A decoder looks further, and rejects more.
            Is::Value(_) => assert!(matches!(decoded, Decoded::Value { .. } | Decoded::Foreign)),
            Is::Lease(_) => assert_eq!(decoded, Decoded::Lease),
            Is::Hold => assert_eq!(decoded, Decoded::Hold),
            Is::Newer => assert_eq!(decoded, Decoded::Newer),
            Is::Foreign => assert_eq!(decoded, Decoded::Foreign),
        }
    }
}
