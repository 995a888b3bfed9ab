//! Values past their lives, those who are elected to refresh them, and the pauses after errors.

use super::*;
use crate::blob::{Header, Stamps};

/// The lease of the processes here.
const TERM: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_secs(3);

/// Whether so many seconds are left, or have passed, but for what a test may have taken since.
#[track_caller]
fn assert_about(time: Duration, seconds: u64) {
    let of = Duration::from_secs(seconds);
    let slack = Duration::from_secs(2);
    assert!(time <= of + slack && time + slack >= of, "{time:?} is not about {of:?}");
}

/// The server's clock, in milliseconds.
fn now(server: &RedisServer) -> u64 {
    let time = server.command(&["TIME"]);
    let numbers: Vec<u64> = time.lines().map(|line| line.parse().unwrap()).collect();
    numbers[0] * 1000 + numbers[1] / 1000
}

/// A value that is fresh, stale and servable for so many seconds from now on.
fn header(server: &RedisServer, [fresh, stale, servable]: [i64; 3]) -> Header {
    let now = now(server);
    let at = |seconds: i64| now.saturating_add_signed(seconds * 1000);
    Header {
        created: at(fresh - 60),
        fresh_until: at(fresh),
        stale_until: at(stale),
        servable_until: at(servable),
        refresh_until: 0,
        token: None,
        cost: 5_000,
        fingerprint: 7,
        stamps: Stamps::of_service(server.command(&["HGET", SERVICE, "stamp"]).parse().unwrap()),
        codec: Codec::Json,
        compression: Compression::None,
        negative: false,
        tagged: false,
    }
}

fn set(server: &RedisServer, header: &Header, px: u64) {
    let bytes = blob::encode(header, b"1").unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("SET").arg(KEY).arg(bytes).arg("PX").arg(px).exec(&mut connection).unwrap();
}

/// Puts such a value there.
fn age(server: &RedisServer, times: [i64; 3]) {
    set(server, &header(server, times), 60_000);
}

const FRESH: [i64; 3] = [20, 30, 40];
const STALE: [i64; 3] = [-5, 30, 40];
/// Kept for the case of an error.
const KEPT: [i64; 3] = [-20, -10, 40];

/// The header of the value that stands there.
fn standing(server: &RedisServer) -> Header {
    let bytes = raw(server, KEY).unwrap();
    match blob::decode(&bytes, 1 << 20) {
        Decoded::Value { header, .. } => header,
        other => panic!("{other:?} is no value"),
    }
}

fn left(server: &RedisServer) -> Duration {
    Duration::from_millis(server.command(&["PTTL", KEY]).parse().unwrap())
}

/// What is said of a value that somebody refreshes, or nobody for a while.
#[track_caller]
fn refreshed(leased: Leased) -> (Found, Duration, bool) {
    match leased {
        Leased::Stale { found, pause, is_refreshed } => (found, pause, is_refreshed),
        leased => panic!("{leased:?}"),
    }
}

async fn ask(tier: &RedisTier, token: Token, seen: Seen) -> Leased {
    tier.ask(KEY, token, seen, AMPLE).await.unwrap()
}

async fn release(tier: &RedisTier, token: Token, pause: Duration) -> bool {
    tier.release(vec![lease(KEY, token)], pause).await.remove(0).unwrap()
}

/// By a read of one and of several, which are the same.
async fn got(tier: &RedisTier) -> Got {
    let read = ReadOf { key: KEY.to_owned(), tags: Tags::NONE };
    let (several, read) = tier.get_all(vec![read], AMPLE).await.remove(0).unwrap();
    assert_eq!(read, None);
    let one = tier.read(KEY, AMPLE).await.unwrap();
    assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&several));
    several
}

#[tokio::test]
async fn a_value_past_its_life_is_found_with_its_times() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let times = async |times| {
        age(&server, times);
        let Got::Found(found) = got(&one).await else { panic!("{times:?}") };
        assert_eq!((&*found.payload, found.cost), (&b"1"[..], Duration::from_millis(5)));
        found
    };
    let found = times(FRESH).await;
    assert_about(found.life, 20);
    assert_about(found.stale, 30);
    assert_about(found.age, 40);
    assert_eq!(found.overdue, Duration::ZERO);
    let found = times(STALE).await;
    assert_about(found.overdue, 5);
    assert_about(found.stale, 30);
    assert_about(found.age, 65);
    assert_eq!(found.life, Duration::ZERO);
    let found = times(KEPT).await;
    assert_about(found.overdue, 20);
    assert_eq!((found.life, found.stale), (Duration::ZERO, Duration::ZERO));
    age(&server, [-30, -20, -10]);
    assert_eq!(got(&one).await, Got::Nothing);
}

#[tokio::test]
async fn a_value_is_stored_with_the_times_of_its_fill() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    for (stale, stale_if_error, servable) in [(0, 0, 0), (5, 0, 5), (5, 20, 20), (20, 5, 20)] {
        let seconds = Duration::from_secs;
        let (stale, stale_if_error) = (seconds(stale), seconds(stale_if_error));
        let fill = Fill { stale, stale_if_error, ..value("1") };
        ask(&one, MINE, Seen::Refresh).await;
        assert!(one.put(KEY, MINE, fill.clone(), AMPLE).await.unwrap());
        let by_lease = (standing(&server), left(&server));
        let hold = hold(KEY, MINE);
        begin(&one, std::slice::from_ref(&hold)).await;
        assert_eq!(settle(&one, vec![Settlement { hold, value: Some(fill) }]).await, [true]);
        for (header, left) in [by_lease, (standing(&server), self::left(&server))] {
            let past = |until: u64| Duration::from_millis(until - header.fresh_until);
            assert_eq!(header.fresh_until - header.created, 60_300);
            assert_eq!(past(header.stale_until), stale);
            assert_eq!(past(header.servable_until), seconds(servable));
            assert_about(left, 60 + servable);
        }
    }
}

#[tokio::test]
async fn a_value_ages_until_nobody_is_served_it() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let tenths = |count: u64| Duration::from_millis(count * 100);
    let (stale, stale_if_error) = (tenths(3), tenths(6));
    let fill = Fill { life: tenths(3), stale, stale_if_error, ..value("1") };
    ask(&one, MINE, Seen::Nothing).await;
    assert!(one.put(KEY, MINE, fill, AMPLE).await.unwrap());
    // By the header, and not by the expiry of the key.
    server.command(&["PERSIST", KEY]);
    let mut seen = Vec::new();
    until(async || {
        let now = match one.read(KEY, AMPLE).await.unwrap() {
            Got::Found(found) if !found.life.is_zero() => "fresh",
            Got::Found(found) if !found.stale.is_zero() => "stale",
            Got::Found(_) => "kept",
            got => {
                assert_eq!(got, Got::Nothing);
                "nothing"
            }
        };
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        now == "nothing"
    })
    .await;
    assert_eq!(seen, ["fresh", "stale", "kept", "nothing"]);
    // What is known here of the server's clock may be ahead of it by a few milliseconds.
    sleep(tenths(1)).await;
    assert_eq!(ask(&one, OTHER, Seen::Nothing).await, LEASED);
}

#[tokio::test]
async fn of_a_stale_value_one_caller_refreshes_and_the_others_have_it_meanwhile() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    age(&server, STALE);
    assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
    for seen in [Seen::Nothing, Seen::Early] {
        let (found, pause, is_refreshed) = refreshed(ask(&two, OTHER, seen).await);
        assert_eq!((&*found.payload, found.life), (&b"1"[..], Duration::ZERO));
        assert_about(found.overdue, 5);
        assert_about(pause, TERM.as_secs());
        assert!(is_refreshed);
    }
    assert!(matches!(got(&two).await, Got::Found(_)));
    // A renewal is one of the election.
    server.command(&["PEXPIRE", KEY, "500"]);
    assert!(one.renew(KEY, MINE).await.unwrap());
    assert_about(left(&server), TERM.as_secs());
    assert!(one.put(KEY, MINE, value("2"), AMPLE).await.unwrap());
    match ask(&two, OTHER, Seen::Nothing).await {
        Leased::Found(found) => assert_eq!(found.payload, b"2"),
        leased => panic!("{leased:?}"),
    }
    assert!(lock(&two.inner.parked).is_empty() && two.inner.ears.waiters.len() == 0);
}

#[tokio::test]
async fn a_fresh_value_is_refreshed_early_by_one_caller() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    age(&server, FRESH);
    assert_eq!(ask(&one, MINE, Seen::Early).await, REFRESHED);
    let (found, pause, is_refreshed) = refreshed(ask(&two, OTHER, Seen::Early).await);
    assert_about(found.life, 20);
    assert_about(pause, TERM.as_secs());
    assert!(is_refreshed);
    // To whom it is fresh enough nothing has changed.
    assert!(matches!(ask(&two, OTHER, Seen::Nothing).await, Leased::Found(_)));
    assert!(one.put(KEY, MINE, value("2"), AMPLE).await.unwrap());
    assert_eq!(found_payload(&two).await, b"2");
    // Of nothing, there is nothing to refresh early.
    server.command(&["DEL", KEY]);
    assert_eq!(ask(&one, MINE, Seen::Early).await, LEASED);
    assert_eq!(ask(&two, OTHER, Seen::Early).await, Leased::Busy);
}

async fn found_payload(tier: &RedisTier) -> Vec<u8> {
    found(tier).await.payload.to_vec()
}

// Trace 17.
#[tokio::test]
async fn a_refresh_at_the_end_of_a_value_is_stored() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    for is_served in [true, false] {
        let mut header = header(&server, STALE);
        if !is_served {
            header.servable_until = now(&server) + 300;
        }
        set(&server, &header, 300);
        assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
        assert_about(left(&server), TERM.as_secs());
        sleep(Duration::from_millis(400)).await;
        // It is served for as long as it may be, and nobody else runs meanwhile.
        assert_eq!(matches!(got(&two).await, Got::Found(_)), is_served);
        let leased = ask(&two, OTHER, Seen::Nothing).await;
        if is_served {
            assert!(refreshed(leased).2);
        } else {
            assert_eq!(leased, Leased::Busy);
        }
        assert!(one.put(KEY, MINE, value("2"), AMPLE).await.unwrap());
        assert_eq!(found_payload(&two).await, b"2");
    }
}

#[tokio::test]
async fn after_an_error_nobody_refreshes_a_value_for_as_long_as_the_pause() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    for times in [STALE, KEPT] {
        age(&server, times);
        assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
        assert!(release(&one, MINE, PAUSE).await);
        let until = standing(&server).refresh_until;
        for seen in [Seen::Nothing, Seen::Early] {
            let (found, pause, is_refreshed) = refreshed(ask(&two, OTHER, seen).await);
            assert_eq!((&*found.payload, found.life), (&b"1"[..], Duration::ZERO));
            assert_eq!(found.stale.is_zero(), times == KEPT);
            assert_about(pause, PAUSE.as_secs());
            assert!(!is_refreshed);
        }
        // Who has no token any more ends no pause, and begins none.
        for (tier, token) in [(&one, MINE), (&two, OTHER)] {
            assert!(!release(tier, token, Duration::ZERO).await);
            assert!(!tier.put(KEY, token, value("2"), AMPLE).await.unwrap());
        }
        let header = standing(&server);
        assert_eq!((header.refresh_until, header.token), (until, None));
        // `refresh()` runs in any case.
        assert_eq!(ask(&two, OTHER, Seen::Refresh).await, REFRESHED);
        assert!(release(&two, OTHER, Duration::from_millis(50)).await);
        until_granted(&one, REFRESHED).await;
        assert!(release(&one, MINE, Duration::ZERO).await);
        assert_eq!(ask(&two, OTHER, Seen::Nothing).await, REFRESHED, "there is no pause");
    }
}

async fn until_granted(tier: &RedisTier, granted: Leased) {
    until(async || ask(tier, MINE, Seen::Nothing).await == granted).await;
}

#[tokio::test]
async fn an_invalidation_ends_a_refresh_and_a_pause() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    for is_over in [false, true] {
        age(&server, STALE);
        assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
        if is_over {
            assert!(release(&one, MINE, PAUSE).await);
        }
        invalidate(&two, KEY).await.unwrap();
        assert_eq!(got(&one).await, Got::Nothing);
        assert!(!release(&one, MINE, PAUSE).await, "what it had must not be served any more");
        assert_eq!(ask(&two, OTHER, Seen::Nothing).await, LEASED);
        assert!(release(&two, OTHER, PAUSE).await);
        assert!(!exists(&server, KEY), "there is nothing for a pause to be of");
    }
}

#[tokio::test]
async fn who_waits_for_a_refresh_is_woken_by_its_end() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    for times in [STALE, KEPT] {
        for is_stored in [true, false] {
            age(&server, times);
            assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
            match ask(&two, OTHER, Seen::Nothing).await {
                Leased::Busy => assert_eq!(times, KEPT, "there is nothing to serve as yet"),
                leased => assert!(refreshed(leased).2 && times == STALE),
            }
            let woken = until(async || two.changed(KEY).await.unwrap() == Reason::Woken);
            let ended = async {
                // It waits by then.
                until(async || two.inner.ears.waiters.len() > 0).await;
                sleep(Duration::from_millis(100)).await;
                if is_stored {
                    assert!(one.put(KEY, MINE, value("2"), AMPLE).await.unwrap());
                } else {
                    assert!(release(&one, MINE, PAUSE).await);
                }
            };
            tokio::join!(woken, ended);
            match ask(&two, OTHER, Seen::Nothing).await {
                Leased::Found(found) => assert!(is_stored && found.payload == b"2"),
                leased => assert!(!refreshed(leased).2 && !is_stored),
            }
            assert!(lock(&two.inner.parked).is_empty());
        }
    }
}

#[tokio::test]
async fn a_stale_value_that_nobody_can_use_is_replaced_though_it_is_refreshed() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    for (is_refreshed, is_seen) in [(true, true), (true, false), (false, true), (false, false)] {
        age(&server, STALE);
        assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
        if !is_refreshed {
            assert!(release(&one, MINE, PAUSE).await);
        }
        two.clear().await.unwrap();
        let seen = if is_seen { Seen::Rejected(rejected(&two).await) } else { Seen::Nothing };
        assert_eq!(ask(&two, OTHER, seen).await, LEASED);
        assert!(!release(&one, MINE, PAUSE).await);
        assert!(two.put(KEY, OTHER, value("2"), AMPLE).await.unwrap());
    }
}

#[tokio::test]
async fn a_pause_that_could_not_be_said_is_said_on_the_next_connection() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    age(&server, STALE);
    assert_eq!(ask(&one, MINE, Seen::Nothing).await, REFRESHED);
    proxy.set(Mode::Cut);
    until(async || !one.is_usable()).await;
    assert!(one.release(vec![lease(KEY, MINE)], PAUSE).await.remove(0).is_err());
    proxy.set(Mode::Pass);
    until(async || standing(&server).token.is_none()).await;
    let pause = standing(&server).refresh_until.saturating_sub(now(&server));
    assert_about(Duration::from_millis(pause), PAUSE.as_secs());
}
