//! Several keys with one request.

use super::*;

/// So many keys, of which the first is number one.
fn keys(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("shop:user:{number}")).collect()
}

fn reads(keys: &[String]) -> Vec<ReadOf> {
    keys.iter().map(|key| ReadOf { key: key.clone(), tags: Tags::NONE }).collect()
}

/// With a token each.
fn leases(keys: &[String], Token(first): Token) -> Vec<Lease> {
    keys.iter().zip(first..).map(|(key, token)| lease(key, Token(token))).collect()
}

fn asks(leases: &[Lease], seen: &Seen) -> Vec<Ask> {
    let ask = |lease: &Lease| Ask { lease: lease.clone(), seen: seen.clone(), tags: Tags::NONE };
    leases.iter().map(ask).collect()
}

fn fills(leases: &[Lease]) -> Vec<(Lease, Fill)> {
    leases.iter().map(|lease| (lease.clone(), value(&lease.key))).collect()
}

fn all<T>(answers: Vec<Result<T, Error>>) -> Vec<T> {
    answers.into_iter().map(Result::unwrap).collect()
}

fn without_stamps<T>(answers: Vec<Result<(T, ReadStamps), Error>>) -> Vec<Result<T, Error>> {
    answers.into_iter().map(|answer| Ok(answer?.0)).collect()
}

impl RedisTier {
    async fn read_all(&self, keys: &[String]) -> Vec<Result<Got, Error>> {
        without_stamps(self.get_all(reads(keys), AMPLE).await)
    }

    async fn ask_all(&self, leases: &[Lease], seen: &Seen) -> Vec<Result<Leased, Error>> {
        without_stamps(self.lease(asks(leases, seen), AMPLE).await)
    }

    async fn fill_all(&self, leases: &[Lease]) -> Vec<Result<bool, Error>> {
        self.fill(fills(leases), AMPLE).await
    }

    async fn release_all(&self, leases: &[Lease]) -> Vec<Result<bool, Error>> {
        self.release(leases.to_vec(), Duration::ZERO).await
    }
}

/// How many of these keys there are.
fn count(server: &RedisServer, keys: &[String]) -> usize {
    keys.iter().filter(|key| exists(server, key)).count()
}

#[tokio::test]
async fn a_hundred_keys_are_read_leased_filled_and_released_with_one_request_each() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let keys = keys(100);
    let mine = leases(&keys, MINE);
    let requests = || one.connection().counts().sent;
    let (before, gets) = (requests(), calls(&server, "get"));
    assert_eq!(all(one.read_all(&keys).await), vec![Got::Nothing; 100]);
    assert_eq!([calls(&server, "mget"), calls(&server, "get")], [1, gets]);
    assert_eq!(all(one.ask_all(&mine, &Seen::Nothing).await), vec![LEASED; 100]);
    assert_eq!(all(two.ask_all(&mine, &Seen::Nothing).await), vec![LEASED; 100], "renewed");
    let (filled, released) = mine.split_at(50);
    assert_eq!(all(one.fill_all(filled).await), [true; 50]);
    assert_eq!(all(one.release_all(released).await), [true; 50]);
    assert_eq!(requests() - before, 4);
    assert_eq!(count(&server, &keys), 50);
    let found = two.read_all(&keys).await;
    assert_eq!([calls(&server, "mget"), calls(&server, "get")], [2, gets]);
    for ((key, got), number) in keys.iter().zip(all(found)).zip(0..) {
        match got {
            Got::Found(found) => assert!(number < 50 && found.payload == key.as_bytes()),
            got => assert!(number >= 50 && got == Got::Nothing, "{got:?}"),
        }
    }
    assert!(lock(&one.inner.grants).is_empty() && lock(&one.inner.parked).is_empty());
    assert_eq!(one.inner.ears.waiters.len(), 0);
}

#[tokio::test]
async fn a_list_of_nothing_asks_nothing() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let before = one.connection().counts().sent;
    assert!(one.get_all(Vec::new(), AMPLE).await.is_empty());
    assert!(one.lease(Vec::new(), AMPLE).await.is_empty());
    assert!(one.fill(Vec::new(), AMPLE).await.is_empty());
    assert!(one.release(Vec::new(), AMPLE).await.is_empty());
    assert_eq!(one.connection().counts().sent, before);
}

/// Whatever a key may be: a value, a lease of another process, nothing, a hold, a later format, bytes
/// of another program, and no string.
async fn everything(server: &RedisServer, other: &RedisTier) -> Vec<String> {
    let keys = keys(7);
    let mine = leases(&keys, OTHER);
    assert_eq!(all(other.ask_all(&mine[..2], &Seen::Nothing).await), [LEASED; 2]);
    assert_eq!(all(other.fill_all(&mine[..1]).await), [true]);
    begin(other, &[hold(&keys[3], OTHER)]).await;
    server.command(&["SET", &keys[4], "\u{1}\u{2}of a later format"]);
    server.command(&["SET", &keys[5], "{\"a\":1}"]);
    server.command(&["RPUSH", &keys[6], "a list"]);
    keys
}

#[tokio::test]
async fn a_read_of_several_keys_says_of_each_what_it_is() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let keys = everything(&server, &two).await;
    let got = all(one.read_all(&keys).await);
    assert!(
        matches!(
            &got[..],
            [
                Got::Found(found),
                Got::Nothing,
                Got::Nothing,
                Got::Nothing,
                Got::Newer,
                Got::Rejected(_),
                Got::Nothing,
            ] if found.payload == keys[0].as_bytes()
        ),
        "{got:?}"
    );
}

#[tokio::test]
async fn of_several_leases_each_has_its_own_answer() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let keys = everything(&server, &two).await;
    let mine = leases(&keys, MINE);
    let requests = || one.connection().counts().sent;
    let before = requests();
    let leased = all(one.ask_all(&mine, &Seen::Nothing).await);
    assert_eq!(requests() - before, 1);
    assert!(matches!(&leased[0], Leased::Found(found) if found.payload == keys[0].as_bytes()));
    let rest = [Leased::Busy, LEASED, Leased::Held, Leased::Newer, LEASED, LEASED];
    assert_eq!(leased[1..], rest);
    let parked: Vec<_> = lock(&one.inner.parked).keys().cloned().collect();
    assert_eq!(parked, keys[1..2], "nobody else waits");
    // All of the first to the last are stored, or are not.
    let filled = all(one.fill_all(&mine).await);
    assert_eq!(filled, [false, false, true, false, false, true, true]);
    assert_eq!(all(one.ask_all(&mine[..1], &Seen::Refresh).await), [REFRESHED]);
    assert!(lock(&one.inner.grants).len() == 1);
}

#[tokio::test]
async fn only_of_those_that_cannot_be_used_it_is_asked_twice() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server.url()).await, patient(&server.url()).await);
    let keys = keys(5);
    let (mine, others) = (leases(&keys, MINE), leases(&keys, OTHER));
    // Two are from before a clear, one from after it, one is leased, and one is not there.
    all(two.ask_all(&others[..2], &Seen::Nothing).await);
    assert_eq!(all(two.fill_all(&others[..2]).await), [true; 2]);
    two.clear().await.unwrap();
    all(two.ask_all(&others[2..4], &Seen::Nothing).await);
    assert_eq!(all(two.fill_all(&others[2..3]).await), [true]);
    let (before, scripts) = (one.connection().counts().sent, calls(&server, "evalsha"));
    let leased = all(one.ask_all(&mine, &Seen::Nothing).await);
    assert!(
        matches!(
            &leased[..],
            [
                Leased::Granted { is_refresh: false },
                Leased::Granted { is_refresh: false },
                Leased::Found(_),
                Leased::Busy,
                Leased::Granted { is_refresh: false },
            ]
        ),
        "{leased:?}"
    );
    assert_eq!(one.connection().counts().sent - before, 2);
    assert_eq!(calls(&server, "evalsha") - scripts, 5 + 2);
    assert_eq!(all(one.fill_all(&mine).await), [true, true, false, false, true]);
}

#[tokio::test]
async fn values_that_are_newer_than_what_is_known_of_the_stamp_are_found_with_one_more_request() {
    let server = RedisServer::start();
    let max_staleness = Duration::from_secs(240);
    let one = RedisTier::new(TierSettings { max_staleness, ..patience(&server.url()) });
    let two = patient(&server.url()).await;
    up(&one).await;
    let keys = keys(3);
    let mine = leases(&keys, OTHER);
    all(two.ask_all(&mine[..1], &Seen::Nothing).await);
    assert_eq!(all(two.fill_all(&mine[..1]).await), [true]);
    two.clear().await.unwrap();
    all(two.ask_all(&mine[1..], &Seen::Nothing).await);
    assert_eq!(all(two.fill_all(&mine[1..]).await), [true; 2]);
    let requests = || one.connection().counts().sent;
    // That it is older than the clear shows when this process learns of it, from what is newer.
    for (is_first_found, sent) in [(true, 2), (false, 2), (false, 1)] {
        let before = requests();
        let got = all(one.read_all(&keys).await);
        assert!(matches!(&got[1..], [Got::Found(_), Got::Found(_)]), "{got:?}");
        assert_eq!(matches!(got[0], Got::Found(_)), is_first_found, "{got:?}");
        assert_eq!(requests() - before, sent);
        if !is_first_found {
            // A stamp that was read too long ago is read with them.
            one.connection().age(Duration::from_secs(300));
        }
    }
}

/// A login that may not touch the second of three keys.
async fn joe(server: &RedisServer) -> (RedisTier, Vec<String>) {
    let rights = ["~shop:user:1", "~shop:user:3", "~shop:nothing", "~:larder:*", "&*", "+@all"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = patient(&format!("redis://joe:pass@127.0.0.1:{}", server.port())).await;
    (joe, keys(3))
}

#[tokio::test]
async fn a_key_that_is_refused_keeps_none_of_the_others() {
    let server = RedisServer::start();
    let (joe, keys) = joe(&server).await;
    let mine = leases(&keys, MINE);
    let leased = joe.ask_all(&mine, &Seen::Nothing).await;
    assert!(matches!(leased[..], [Ok(LEASED), Err(Error::Refused), Ok(LEASED)]), "{leased:?}");
    let filled = joe.fill_all(&mine).await;
    assert!(matches!(filled[..], [Ok(true), Ok(false), Ok(true)]), "{filled:?}");
    let leased = joe.ask_all(&mine, &Seen::Refresh).await;
    assert!(matches!(leased[..], [Ok(REFRESHED), Err(_), Ok(REFRESHED)]), "{leased:?}");
    let released = joe.release_all(&mine).await;
    assert!(matches!(released[..], [Ok(true), Err(Error::Refused), Ok(true)]), "{released:?}");
    assert_eq!(count(&server, &keys), 2);
    // Only a read is refused as a whole: it is one command.
    assert!(joe.read_all(&keys).await.iter().all(|got| matches!(got, Err(Error::Refused))));
    // It is not tried for ever.
    until(async || Arc::strong_count(&joe.inner.owed) == 1).await;
}

#[tokio::test]
async fn a_value_that_is_too_large_is_an_error_of_its_own() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let keys = keys(3);
    let mine = leases(&keys, MINE);
    all(one.ask_all(&mine, &Seen::Nothing).await);
    let mut fills = fills(&mine);
    fills[1].1.payload = vec![0; blob::MAX_BLOB];
    let filled = one.fill(fills, AMPLE).await;
    assert!(matches!(filled[..], [Ok(true), Err(Error::TooLarge { .. }), Ok(true)]), "{filled:?}");
    assert_eq!(
        keys.iter().map(|key| exists(&server, key)).collect::<Vec<_>>(),
        [true, false, true]
    );
}

/// Two mine that are free, and between them one that another process has.
async fn with_one_of_another(server: &RedisServer) -> (Vec<String>, Vec<Lease>) {
    let other = patient(&server.url()).await;
    let keys = keys(3);
    assert_eq!(other.ask(&keys[1], OTHER, Seen::Nothing, AMPLE).await.unwrap(), LEASED);
    let mine = leases(&keys, MINE);
    (keys, mine)
}

#[tokio::test]
async fn grants_that_come_late_are_released_and_what_is_of_others_is_not() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    let (keys, mine) = with_one_of_another(&server).await;
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    let leased = one.lease(asks(&mine, &Seen::Nothing), BUDGET).await;
    assert!(
        leased.len() == 3 && leased.iter().all(|one| matches!(one, Err(Error::Timeout { .. }))),
        "{leased:?}"
    );
    assert_eq!(count(&server, &keys), 3, "granted, and nobody knows");
    proxy.set(Mode::Pass);
    until(async || count(&server, &keys) == 1).await;
    assert!(exists(&server, &keys[1]));
    assert_eq!(one.late_grants(), 2);
}

#[tokio::test]
async fn grants_whose_caller_is_gone_are_released() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    let (keys, mine) = with_one_of_another(&server).await;
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    let lease = one.lease(asks(&mine, &Seen::Nothing), BUDGET);
    assert!(timeout(BUDGET / 5, lease).await.is_err());
    until(async || one.late_grants() == 2).await;
    until(async || count(&server, &keys) == 1).await;
    assert!(exists(&server, &keys[1]));
}

#[tokio::test]
async fn a_caller_that_is_gone_between_two_attempts_keeps_nothing() {
    let server = RedisServer::start();
    let two = patient(&server.url()).await;
    let proxy = Proxy::before(server.port());
    let one = RedisTier::new(patience(&proxy.url()));
    up(&one).await;
    let keys = keys(2);
    let mine = leases(&keys, MINE);
    all(one.ask_all(&mine, &Seen::Nothing).await);
    assert_eq!(all(one.fill_all(&mine[..1]).await), [true]);
    all(one.release_all(&mine[1..]).await);
    two.clear().await.unwrap();
    // The second one is granted at once, and the first is asked for again.
    let scripts = calls(&server, "evalsha");
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let lease = one.lease(asks(&mine, &Seen::Nothing), AMPLE);
    let twice = until(async || calls(&server, "evalsha") == scripts + 3);
    match race(std::pin::pin!(lease), std::pin::pin!(twice)).await {
        Either::First(leased) => panic!("{leased:?}"),
        Either::Second(_) => {}
    }
    proxy.set(Mode::Pass);
    until(async || count(&server, &keys) == 0).await;
    assert!(lock(&one.inner.grants).is_empty());
}

#[tokio::test]
async fn what_a_list_could_not_give_back_is_released_on_the_next_connection() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    let keys = keys(3);
    let mine = leases(&keys, MINE);
    for is_fill in [true, false] {
        assert_eq!(all(one.ask_all(&mine, &Seen::Nothing).await), [LEASED; 3]);
        proxy.set(Mode::Cut);
        until(async || !one.is_usable()).await;
        let ended = if is_fill { one.fill_all(&mine).await } else { one.release_all(&mine).await };
        assert!(ended.len() == 3 && ended.iter().all(Result::is_err), "{ended:?}");
        assert_eq!(one.read_all(&keys).await.iter().filter(|got| got.is_err()).count(), 3);
        assert_eq!(one.ask_all(&mine, &Seen::Nothing).await.len(), 3);
        assert_eq!(count(&server, &keys), 3);
        proxy.set(Mode::Pass);
        until(async || count(&server, &keys) == 0).await;
        until(async || one.read(KEY, BUDGET).await.is_ok()).await;
    }
    until(async || Arc::strong_count(&one.inner.owed) == 1).await;
}

#[tokio::test]
async fn a_list_that_is_not_answered_is_one_failure() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    // No heart beats meanwhile.
    let max_staleness = Duration::from_secs(240);
    let one = RedisTier::new(TierSettings { max_staleness, ..patience(&proxy.url()) });
    up(&one).await;
    let keys = keys(50);
    let counts = || one.connection().counts();
    let before = counts();
    proxy.set(Mode::BlackHole);
    for timeouts in [1, 2] {
        let got = one.get_all(reads(&keys), BUDGET).await;
        assert!(got.iter().all(|got| matches!(got, Err(Error::Timeout { .. }))));
        let failures = [counts().timeouts - before.timeouts, counts().openings - before.openings];
        assert_eq!(failures, [timeouts, 0]);
    }
    let leased = one.lease(asks(&leases(&keys, MINE), &Seen::Nothing), BUDGET).await;
    assert!(leased.iter().all(Result::is_err));
    assert_eq!(counts().openings - before.openings, 1, "three in a row are enough");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_scripts_of_a_list_is_told_them() {
    let server = RedisServer::start();
    let one = patient(&server.url()).await;
    let keys = keys(3);
    let mine = leases(&keys, MINE);
    for _ in 0..2 {
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(all(one.ask_all(&mine, &Seen::Nothing).await), [LEASED; 3]);
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(all(one.fill_all(&mine[1..]).await), [true; 2]);
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(all(one.release_all(&mine).await), [true, false, false]);
        assert_eq!(count(&server, &keys), 2);
        server.command(&["DEL", &keys[1], &keys[2]]);
    }
}
