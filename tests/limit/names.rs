//! What counts together, and what does not, whatever a caller sends.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use larder::{KeyPart, KeyWriter};
use proptest::prelude::*;

use super::*;

/// A megabyte.
const LONG: usize = 1 << 20;

fn hostile_keys() -> Vec<String> {
    let long = "x".repeat(LONG);
    let mut keys: Vec<String> = [
        "",
        "a",
        "a:b",
        "a%3Ab",
        "a%",
        "%",
        "%_",
        "%#",
        "{}",
        "{",
        "}",
        "{a}",
        "a\0",
        "\0a",
        "a\n",
        "a\r\n",
        "\u{1b}[2J",
        "a,b",
        "(a)",
        "[a]",
        "'a",
        "~(a)",
        " a",
        "a ",
        "A",
        "ä",
        "a\u{308}",
        "*",
        "?",
        "login:1",
        ":limit:test:gcra:3600000000:login:a",
        "gcra",
        "fixed:60000000",
        "null",
        "None",
        "0",
        "00",
        "-0",
    ]
    .map(str::to_owned)
    .to_vec();
    // They differ at one place alone: at the end, at the beginning, beyond what stays readable.
    for at in [0, 100, 129, LONG / 2, LONG - 1] {
        let mut long = long.clone();
        long.replace_range(at..=at, "y");
        keys.push(long);
    }
    keys.extend(
        [37, 38, 39, 40, 41, 127, 128, 199, 200, 201, 254, 255, 256]
            .map(|length| "z".repeat(length)),
    );
    keys.push(long);
    keys
}

#[tokio::test]
async fn no_two_keys_are_one_in_memory() {
    let (cache, _clock) = in_memory();
    let limiter = Limiter::new(&cache, "login", 1, HOUR);
    for key in hostile_keys() {
        assert!(limiter.check(&key).await.is_ok(), "{key:.60}");
        assert!(limiter.check(&key).await.is_err(), "{key:.60}");
    }
}

#[tokio::test]
async fn no_two_keys_are_one_in_the_fleet_and_none_is_long() {
    let (server, _process, cache) = in_fleet();
    let (_other, second) = process(&server, "b");
    let limiter = Limiter::new(&cache, "login", 1, HOUR);
    let keys = hostile_keys();
    for key in &keys {
        assert!(limiter.check(key).await.is_ok(), "{key:.60}");
    }
    // Another process is of the same opinion.
    let limiter = Limiter::new(&second, "login", 1, HOUR);
    for key in &keys {
        assert!(limiter.check(key).await.is_err(), "{key:.60}");
    }
    let sent = server.keys_of("a LIMIT").concat();
    assert_eq!(sent.iter().collect::<HashSet<_>>().len(), keys.len());
    for key in sent {
        assert!(key.starts_with(":limit:test:gcra:3600000000:login:") && key.len() < 256, "{key}");
        assert!(!key.contains(|char: char| char.is_control()), "{key}");
    }
}

#[tokio::test]
async fn a_digest_that_a_caller_writes_himself_is_another_key() {
    let (server, _process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "login", 1, HOUR);
    limiter.check("x".repeat(LONG)).await.unwrap();
    let sent = server.keys_of("a LIMIT").concat().remove(0);
    let written = sent.strip_prefix(":limit:test:gcra:3600000000:login:").unwrap();
    assert!(limiter.check(written).await.is_ok());
    let name = sent.strip_prefix(":limit:test:gcra:3600000000:").unwrap();
    assert!(Limiter::new(&cache, name, 1, HOUR).check(()).await.is_ok());
    assert_eq!(server.keys_of("a LIMIT").concat().iter().collect::<HashSet<_>>().len(), 3);
}

#[tokio::test]
async fn names_algorithms_and_windows_are_apart() {
    for is_in_fleet in [false, true] {
        let cache = if is_in_fleet { in_fleet().2 } else { virtual_memory() };
        let limiter = |name: &str, per| Limiter::new(&cache, name, 1, per);
        let mut limiters = vec![
            limiter("login", HOUR),
            limiter("login:1", HOUR),
            limiter("Login", HOUR),
            limiter("", HOUR),
            limiter(":", HOUR),
            limiter("login{}", HOUR),
            limiter("login{{}}", HOUR),
            limiter("gcra:login", HOUR),
            limiter("fixed:3600000000:login", HOUR),
        ];
        limiters.push(limiter("login", 2 * HOUR));
        for per in [HOUR, 2 * HOUR] {
            limiters.push(limiter("login", per).algorithm(Algorithm::FixedWindow));
            limiters.push(limiter("login", per).algorithm(Algorithm::SlidingWindow));
        }
        for limiter in &limiters {
            assert!(limiter.check("a").await.is_ok(), "{limiter:?}");
        }
        for limiter in limiters {
            assert!(limiter.check("a").await.is_err(), "{limiter:?}");
        }
    }
}

#[tokio::test]
async fn limiters_of_one_name_count_together() {
    for is_in_fleet in [false, true] {
        let cache = if is_in_fleet { in_fleet().2 } else { virtual_memory() };
        for algorithm in ALGORITHMS {
            let limiter = || Limiter::new(&cache, "login", 2, HOUR).algorithm(algorithm);
            assert!(limiter().check(1_u64).await.is_ok());
            assert!(limiter().clone().check(1_u64).await.is_ok());
            assert!(limiter().check(1_u64).await.is_err());
        }
    }
}

/// Anything that can be written by hand.
#[derive(Debug)]
struct ByHand(&'static str, Option<u8>);

impl KeyPart for ByHand {
    fn write(&self, out: &mut KeyWriter<'_>) {
        out.part(self.0);
        out.part(&self.1);
    }
}

#[tokio::test]
async fn keys_of_any_type_are_told_apart() {
    let (server, _process, cache) = in_fleet();
    let limiter = Limiter::new(&cache, "any", 1, HOUR);
    limiter.check(()).await.unwrap();
    limiter.check(7_u8).await.unwrap();
    limiter.check(-7_i64).await.unwrap();
    limiter.check(u128::MAX).await.unwrap();
    limiter.check(Some("a")).await.unwrap();
    limiter.check(None::<u8>).await.unwrap();
    limiter.check(("a", 1_u8)).await.unwrap();
    limiter.check(["a", "b"]).await.unwrap();
    limiter.check(Vec::<u8>::new()).await.unwrap();
    limiter.check(IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap();
    limiter.check(IpAddr::V6(Ipv6Addr::LOCALHOST)).await.unwrap();
    limiter.check(Ipv4Addr::LOCALHOST.to_ipv6_mapped()).await.unwrap();
    limiter.check(ByHand("a", None)).await.unwrap();
    limiter.check(ByHand("a", Some(0))).await.unwrap();
    let sent = server.keys_of("a LIMIT").concat();
    assert_eq!(sent.iter().collect::<HashSet<_>>().len(), sent.len(), "{sent:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However many keys there are, each has its own.
    #[test]
    fn what_one_key_takes_no_other_loses(keys in prop::collection::hash_set(".{0,60}", 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for cache in [virtual_memory(), in_fleet().2] {
                let limiter = Limiter::new(&cache, "login", 2, HOUR);
                for (at, key) in keys.iter().enumerate() {
                    for _ in 0..at % 3 {
                        limiter.check(key).await.unwrap();
                    }
                }
                for (at, key) in keys.iter().enumerate() {
                    assert_eq!(limiter.peek(key).await.remaining as usize, 2 - at % 3);
                }
            }
        });
    }
}
