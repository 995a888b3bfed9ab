use super::{super::super::connection::tests::proxy::Kind as Link, *};
use crate::remote::{Acquired, Claim, Wish};

const LOCK: &str = ":lock:shop:job:7";
const LEASE: Duration = Duration::from_secs(10);

fn claim(token: u128) -> Claim {
    Claim { key: LOCK.to_owned(), token: Token(token), lease: LEASE }
}

/// A process that is connected to a server that knows the scripts.
async fn warm(url: &str) -> RedisTier {
    let one = tier(url).await;
    assert!(one.takes(99).await && one.unlock(&claim(99)).await.unwrap());
    one
}

impl RedisTier {
    async fn takes(&self, token: u128) -> bool {
        matches!(self.acquire(&claim(token), Wish::Now).await.unwrap(), Acquired::Held { .. })
    }

    async fn waits(&self, token: u128) -> Option<u64> {
        match self.acquire(&claim(token), Wish::Wait).await.unwrap() {
            Acquired::Busy { ahead, .. } => ahead,
            other => panic!("{other:?}"),
        }
    }
}

/// The token that has the lock, and how many wait; `None` if nothing stands there.
fn standing(server: &RedisServer) -> Option<(u128, usize)> {
    let script = "local b = redis.call('GET', KEYS[1]) if not b then return '' end \
        return (b:sub(2, 17):gsub('.', function(c) return string.format('%02x', c:byte()) end)) \
        .. ' ' .. (#b - 41) / 24";
    let said = server.command(&["EVAL", script, "1", LOCK]);
    let (token, places) = said.split_once(' ')?;
    Some((u128::from_str_radix(token, 16).unwrap(), places.parse().unwrap()))
}

#[tokio::test]
async fn a_turn_is_told_to_the_one_whose_it_is() {
    let server = RedisServer::start();
    let (one, two, three) =
        (tier(&server.url()).await, tier(&server.url()).await, tier(&server.url()).await);
    assert!(one.takes(1).await);
    let (second, third) = (claim(2), claim(3));
    let (mut seconds, mut thirds) = (two.turns(&second), three.turns(&third));
    assert_eq!((two.waits(2).await, three.waits(3).await), (Some(0), Some(1)));
    assert!(one.unlock(&claim(1)).await.unwrap());
    seconds.next(LEASE).await;
    let other = race(thirds.next(LEASE), sleep(BUDGET)).await;
    assert!(matches!(other, Either::Second(())), "it was told of the turn of another");
    assert!(two.takes(2).await);
    assert!(two.unlock(&second).await.unwrap());
    thirds.next(LEASE).await;
    assert!(three.takes(3).await);
}

#[tokio::test]
async fn one_that_waits_looks_again_when_messages_may_have_gone_unheard() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm(&proxy.url()).await;
    let mut turns = one.turns(&claim(1));
    proxy.set(Mode::Cut);
    turns.next(LEASE).await;
    // And when there is no connection to be had.
    until(async || !one.is_usable()).await;
    turns.next(LEASE).await;
    assert_eq!(one.inner.ears.waiters.len(), 1);
    drop(turns);
    assert_eq!(one.inner.ears.waiters.len(), 0);
}

#[tokio::test]
async fn a_lock_that_comes_late_is_given_back() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm(&proxy.url()).await;
    proxy.set_for(Link::Data, Mode::Delay(3 * BUDGET));
    let answer = one.acquire(&claim(1), Wish::Wait).await;
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    until(async || standing(&server) == Some((1, 0))).await;
    until(async || standing(&server) == Some((0, 0))).await;
    assert_eq!(one.late_grants(), 1);
}

#[tokio::test]
async fn a_lock_or_a_place_that_nobody_waits_for_is_given_back() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm(&proxy.url()).await;
    let other = tier(&server.url()).await;
    for is_free in [true, false] {
        if !is_free {
            assert!(other.takes(9).await);
        }
        proxy.set_for(Link::Data, Mode::Delay(3 * BUDGET));
        let (taken, left) = if is_free { ((2, 0), (0, 0)) } else { ((9, 1), (9, 0)) };
        let claim = claim(2);
        // Dropped when it has taken effect, and before it is answered.
        let has_taken = until(async || standing(&server) == Some(taken));
        drop(race(has_taken, one.acquire(&claim, Wish::Wait)).await);
        until(async || standing(&server) == Some(left)).await;
        proxy.set(Mode::Pass);
    }
    assert_eq!(one.late_grants(), 1, "a place is no grant");
}

#[tokio::test]
async fn a_lock_whose_answer_was_lost_is_given_back_on_the_next_connection() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm(&proxy.url()).await;
    proxy.set_for(Link::Data, Mode::Drop);
    assert!(one.acquire(&claim(1), Wish::Now).await.is_err());
    until(async || standing(&server) == Some((1, 0))).await;
    proxy.set(Mode::Cut);
    proxy.set(Mode::Pass);
    until(async || standing(&server) == Some((0, 0))).await;
}

#[tokio::test]
async fn what_could_not_be_given_back_is_on_the_next_connection() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm(&proxy.url()).await;
    assert!(one.takes(1).await);
    proxy.set_for(Link::Data, Mode::Lose);
    let answer = one.unlock(&claim(1)).await;
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    assert_eq!(standing(&server), Some((1, 0)));
    proxy.set(Mode::Pass);
    until(async || standing(&server) == Some((0, 0))).await;
    until(async || Arc::strong_count(&one.inner.owed) == 1).await;
}

#[tokio::test]
async fn a_claim_that_lay_in_a_socket_takes_nothing() {
    let server = RedisServer::start();
    let one = warm(&server.url()).await;
    server.hang();
    let answer = one.acquire(&claim(1), Wish::Wait).await;
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    sleep(BUDGET).await;
    server.resume();
    until(async || one.acquire(&claim(2), Wish::Now).await.is_ok()).await;
    assert_eq!(one.late_grants(), 0);
    assert_eq!(standing(&server), Some((2, 0)));
}

#[tokio::test]
async fn a_clear_leaves_the_locks() {
    let server = RedisServer::start();
    let one = warm(&server.url()).await;
    assert!(one.takes(1).await);
    one.clear().await.unwrap();
    assert!(!one.takes(2).await);
    assert_eq!(standing(&server), Some((1, 0)));
}

#[tokio::test]
async fn a_server_that_takes_no_writes_refuses() {
    let server = RedisServer::start();
    let one = warm(&server.url()).await;
    assert!(one.takes(1).await);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for wish in [Wish::Renew, Wish::Wait] {
        let token = if wish == Wish::Renew { 1 } else { 2 };
        assert!(matches!(one.acquire(&claim(token), wish).await, Err(Error::Refused)));
    }
    assert!(one.unlock(&claim(1)).await.unwrap());
    assert_eq!(standing(&server), None);
}

#[tokio::test]
async fn a_login_needs_the_keys_of_the_locks_and_no_others() {
    let server = RedisServer::start();
    let rights = ["~:lock:shop:*", "~:larder:shop*", "~shop:*", "&:larder:shop", "+@all"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let joe = tier(&format!("redis://joe:pass@127.0.0.1:{}", server.port())).await;
    assert!(joe.takes(1).await);
    assert_eq!(joe.waits(2).await, Some(0));
    assert!(joe.unlock(&claim(1)).await.unwrap());
    let elsewhere = Claim { key: ":lock:other:job:7".to_owned(), ..claim(1) };
    assert!(matches!(joe.acquire(&elsewhere, Wish::Now).await, Err(Error::Refused)));
}
