//! The scripts on a real server, with headers made by hand.

mod clear;
mod fill;
mod fuzz;
mod hold;
mod invalidate;
mod lease;
#[cfg(feature = "limit")]
mod limit;
mod lock;
mod release;
mod seed;
mod service;
mod settle;
mod traces;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use redis::{Connection, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};

use super::{
    super::connection::tests::server::RedisServer,
    entry::{Grant, Invalidated},
    service::Serving,
    *,
};
use crate::blob::{self, Codec, Compression, Decoded, Header, Stamps};

const TERM: Duration = Duration::from_secs(10);
const TERM_MS: u64 = 10_000;
const LONG: u64 = 60_000;
const CENTURY: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// The caller of most tests, and another one.
const MINE: Token = Token(0x11);
const OTHER: Token = Token(0x22);
const THIRD: Token = Token(0x33);

const WAKE: &[u8] = b"wake";

/// Whether so much is left, but for what a test may have taken since.
fn is_about(left: i64, expected: u64) -> bool {
    let expected = i64::try_from(expected).unwrap();
    (expected - 5_000..=expected).contains(&left)
}

impl RedisServer {
    fn connect(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }
}

/// With the script, which the server knows from then on.
fn by_body(command: &impl super::Command) -> Cmd {
    command.cmd("EVAL", command.script().body)
}

/// Whether a command by sha has to be sent again by body.
fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Now and then not quite what it was.
fn mangled(mut bytes: Vec<u8>, random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..12) {
        0 => bytes.truncate(random.usize(..=bytes.len())),
        1 => bytes.push(random.u8(..)),
        2 if !bytes.is_empty() => {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
        _ => {}
    }
    bytes
}

/// All tests share one; each has a key and a channel of its own.
static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start_on_socket);

/// What comes in between.
type Change = fn(&mut Entry);

/// A key of one test, and who listens to its channel.
struct Entry {
    connection: Connection,
    listener: Connection,
    key: String,
    channel: String,
    /// The server's time in the last answer.
    answered: u64,
}

impl Entry {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);

        let number = COUNT.fetch_add(1, Relaxed);
        let channel = format!(":larder:test{number}");
        let mut listener = SERVER.connect();
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let subscribed: Value = redis::cmd("SUBSCRIBE").arg(&channel).query(&mut listener).unwrap();
        assert!(format!("{subscribed:?}").contains("subscribe"));
        let (connection, key) = (SERVER.connect(), format!("test:{number}"));
        Self { connection, listener, key, channel, answered: 0 }
    }

    /// A key that is this.
    fn with(bytes: &[u8]) -> Self {
        let mut entry = Self::new();
        entry.set(bytes, LONG);
        entry
    }

    /// A command of Redis.
    fn redis<T: FromRedisValue>(&mut self, args: &[&[u8]]) -> T {
        let mut cmd = Cmd::new();
        for arg in args {
            cmd.arg(*arg);
        }
        cmd.query(&mut self.connection).unwrap()
    }

    fn run<C: super::Command>(&mut self, command: &C) -> Answer<C::Outcome> {
        let reply = match command.by_sha().query(&mut self.connection) {
            Err(error) if is_unknown(&error) => {
                by_body(command).query(&mut self.connection).unwrap()
            }
            reply => reply.unwrap(),
        };
        let answer = C::answer(reply).unwrap();
        self.answered = answer.now;
        answer
    }

    fn ask(&mut self, ask: Ask, token: Token) -> Leased {
        self.ask_after(ask, token, &[])
    }

    fn ask_after(&mut self, ask: Ask, token: Token, seen: &[u8]) -> Leased {
        let key = self.key.clone();
        self.run(&Lease { key: &key, token, term: TERM, not_after: None, ask, seen }).outcome
    }

    fn load(&mut self, token: Token) -> Leased {
        self.ask(Ask::Load, token)
    }

    fn fill(&mut self, token: Token, value: &[u8]) -> bool {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        let life = Duration::from_millis(LONG);
        self.run(&Fill { key: &key, token, value, life, channel: &channel, wake: WAKE }).outcome
    }

    fn release(&mut self, token: Token, pause: Duration) -> bool {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        self.run(&Release { key: &key, token, pause, channel: &channel, wake: WAKE }).outcome
    }

    fn invalidate(&mut self) -> Invalidated {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        self.run(&Invalidate { key: &key, channel: &channel, message: b"invalidated" }).outcome
    }

    fn hold(
        &mut self,
        token: Token,
        term: Duration,
        is_renewal: bool,
        not_after: Option<u64>,
    ) -> Held {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        let (channel, message) = (channel.as_str(), b"held".as_slice());
        let hold = Hold { key: &key, token, term, not_after, is_renewal, channel, message };
        self.run(&hold).outcome
    }

    fn hold_for(&mut self, token: Token, is_renewal: bool, not_after: Option<u64>) -> Held {
        self.hold(token, TERM, is_renewal, not_after)
    }

    fn begin(&mut self, token: Token) -> Held {
        self.hold_for(token, false, None)
    }

    fn renew(&mut self, token: Token) -> Held {
        self.hold_for(token, true, None)
    }

    fn settle(&mut self, token: Token, value: Option<&[u8]>) -> bool {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        let value = value.map(|value| (value, Duration::from_millis(LONG)));
        self.run(&Settle { key: &key, token, value, channel: &channel, message: b"settled" })
            .outcome
    }

    /// What another program does, or the end of its expiry.
    fn unlink(&mut self) {
        let key = self.key.clone();
        self.redis::<()>(&[b"UNLINK", key.as_bytes()]);
    }

    fn service(&mut self, server: &str, policy: Policy) -> Answer<Serving> {
        let key = self.key.clone();
        self.run(&Service { key: &key, server, policy })
    }

    fn clear(&mut self) -> Answer<u64> {
        let (key, channel) = (self.key.clone(), self.channel.clone());
        self.run(&Clear { key: &key, channel: &channel, message: b"cleared" })
    }

    fn set(&mut self, bytes: &[u8], px: u64) {
        let (key, px) = (self.key.clone(), px.to_string());
        self.redis::<()>(&[b"SET", key.as_bytes(), bytes, b"PX", px.as_bytes()]);
    }

    fn get(&mut self) -> Option<Vec<u8>> {
        let key = self.key.clone();
        self.redis(&[b"GET", key.as_bytes()])
    }

    /// What is left of the key's life, in milliseconds.
    fn left(&mut self) -> i64 {
        let key = self.key.clone();
        self.redis(&[b"PTTL", key.as_bytes()])
    }

    /// The flags and the tokens of the hold that stands there.
    fn who(&mut self) -> Option<(u8, Vec<Token>)> {
        self.get().map(|bytes| who(&bytes))
    }

    /// That these writers hold it, each until its time, and that the key lasts until the latest.
    #[track_caller]
    fn assert_held(&mut self, flags: u8, writers: &[(Token, u64)]) {
        let bytes = self.get().expect("a hold");
        assert_eq!((bytes[1], self::writers(&bytes)), (flags, writers.to_vec()));
        assert!(self.lasts_until(writers.iter().map(|(_, end)| *end).max().unwrap()));
    }

    /// Whether the key expires at this time of the server, but for what it takes to ask.
    fn lasts_until(&mut self, end: u64) -> bool {
        let before = now();
        let left = u64::try_from(self.left()).unwrap();
        (before + left - SLACK..=now() + left + SLACK).contains(&end)
    }

    /// The header of the value that stands there.
    fn header(&mut self) -> Header {
        let bytes = self.get().unwrap();
        match blob::decode(&bytes, 1 << 20) {
            Decoded::Value { header, .. } => header,
            other => panic!("{other:?} is no value"),
        }
    }

    /// What was published since it was last asked.
    fn heard(&mut self) -> Vec<String> {
        let channel = self.channel.clone();
        self.redis::<()>(&[b"PUBLISH", channel.as_bytes(), b"end"]);
        let mut heard = Vec::new();
        loop {
            let fields = match self.listener.recv_response().unwrap() {
                Value::Array(fields) | Value::Push { data: fields, .. } => fields,
                other => panic!("{other:?} is no message"),
            };
            let message: String = redis::from_redis_value(fields.last().unwrap().clone()).unwrap();
            if message == "end" {
                return heard;
            }
            heard.push(message);
        }
    }
}

/// By which the expiry of a key may differ from the time that a script read.
const SLACK: u64 = 500;

/// The server's clock, in milliseconds.
fn now() -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut SERVER.connect()).unwrap();
    seconds * 1000 + micros / 1000
}

/// A header of a value that is fresh, stale and servable for so many milliseconds from now on.
fn header(fresh: i64, stale: i64, servable: i64) -> Header {
    let now = now();
    let at = |offset: i64| now.saturating_add_signed(offset);
    Header {
        // Half of its life is over.
        created: at(-30_000),
        fresh_until: at(fresh),
        stale_until: at(stale),
        servable_until: at(servable),
        refresh_until: 0,
        token: None,
        cost: 5_000,
        fingerprint: 0xf1f1,
        stamps: Stamps::of_service(0x5a5a),
        codec: Codec::Json,
        compression: Compression::None,
        negative: false,
        tagged: false,
    }
}

fn fresh() -> Header {
    header(20_000, 30_000, 40_000)
}

/// Past its `ttl`, and served while one caller refreshes.
fn stale() -> Header {
    header(-10, 30_000, 40_000)
}

/// Kept only for the case that the function fails.
fn kept() -> Header {
    header(-20, -10, 40_000)
}

/// Past everything.
fn dead() -> Header {
    header(-30, -20, -10)
}

/// A value that `token` refreshes, for so many milliseconds from now on.
fn refreshed(header: Header, token: Token, left: i64) -> Header {
    Header { refresh_until: now().saturating_add_signed(left), token: Some(token), ..header }
}

/// A value that nobody may refresh for so many milliseconds from now on.
fn paused(header: Header, left: i64) -> Header {
    Header { refresh_until: now().saturating_add_signed(left), token: None, ..header }
}

fn value(header: &Header) -> Vec<u8> {
    // Longer than what LEASE compares.
    blob::encode(header, &[b'7'; 300]).unwrap()
}

fn lease(token: Token) -> Vec<u8> {
    [[0, 0].as_slice(), &bytes(token)].concat()
}

fn awaited(mut bytes: Vec<u8>) -> Vec<u8> {
    match bytes[0] {
        0 => bytes[1] |= 1,
        _ => bytes[2] |= 1 << 6,
    }
    bytes
}

/// When the holds that are made here end.
static HELD_UNTIL: LazyLock<u64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.as_millis() as u64 + 10 * LONG
});

fn hold(tokens: &[Token]) -> Vec<u8> {
    hold_until(*HELD_UNTIL, tokens)
}

fn hold_until(end: u64, tokens: &[Token]) -> Vec<u8> {
    let writer = |token: &Token| [&bytes(*token)[..], &end.to_be_bytes()].concat();
    [2, 0].into_iter().chain(tokens.iter().flat_map(writer)).collect()
}

/// Writers that each have a time of their own.
fn hold_of(writers: &[(Token, u64)]) -> Vec<u8> {
    let writers = writers.iter().flat_map(|(token, end)| hold_until(*end, &[*token])[2..].to_vec());
    [2, 0].into_iter().chain(writers).collect()
}

/// The writers of a hold, and the times until which they hold.
fn writers(hold: &[u8]) -> Vec<(Token, u64)> {
    let ([2, _, writers @ ..], true) = (hold, hold.len() > 2 && hold.len() % 24 == 2) else {
        panic!("{hold:?} is no hold")
    };
    let writer = |writer: &[u8]| {
        let (token, end) = writer.split_first_chunk().unwrap();
        (Token(u128::from_be_bytes(*token)), u64::from_be_bytes(end.try_into().unwrap()))
    };
    writers.chunks_exact(24).map(writer).collect()
}

/// The flags and the tokens of a hold.
fn who(hold: &[u8]) -> (u8, Vec<Token>) {
    (hold[1], writers(hold).into_iter().map(|(token, _)| token).collect())
}

/// Holds whose writers are all over: their time is past, now, or further ahead than any may be.
fn over() -> Vec<Vec<u8>> {
    let (now, long_ago) = (now(), 1);
    let absurd = now + CENTURY + 10 * LONG;
    let mut all = [long_ago, now - 1, now, absurd, 1 << 53, 1 << 63, u64::MAX]
        .map(|end| hold_until(end, &[MINE]))
        .to_vec();
    all.push(hold_of(&[(OTHER, now - LONG), (MINE, absurd), (THIRD, now)]));
    all.extend(all.clone().into_iter().map(contended));
    all
}

fn contended(mut hold: Vec<u8>) -> Vec<u8> {
    hold[1] |= 1;
    hold
}

fn newer() -> Vec<u8> {
    let mut bytes = value(&fresh());
    bytes[1] = 2;
    bytes
}

const ASKS: [Ask; 4] = [Ask::Load, Ask::Early, Ask::Refresh, Ask::Renew];

/// All asks but for a renewal.
const FIRST_ASKS: [Ask; 3] = [Ask::Load, Ask::Early, Ask::Refresh];

/// Bytes that no version of larder has written.
fn foreign() -> Vec<Vec<u8>> {
    let mut all = [
        &b""[..],
        b"\0",
        b"\x01",
        b"\x01\0",
        b"\x01\x01",
        b"\x02",
        b"\x02\0",
        b"42",
        b"{\"id\":42}",
        b"\x03\x01",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    // Truncated, too long, without a token, with too few stamps and too many.
    all.push(lease(MINE)[..17].to_vec());
    all.push([lease(MINE), vec![0]].concat());
    // A hold of one token and of two without a time, too.
    all.extend([17, 18, 25].map(|length| hold(&[MINE])[..length].to_vec()));
    all.push([hold(&[MINE]), vec![0]].concat());
    all.push([hold(&[MINE]), vec![0; 8]].concat());
    let bytes = value(&refreshed(fresh(), MINE, 5_000));
    all.extend((3..84).map(|length| bytes[..length].to_vec()));
    for stamps in [0, 10, 255] {
        let mut bytes = bytes.clone();
        bytes[3] = stamps;
        all.push(bytes);
    }
    let mut bytes = bytes[..100].to_vec();
    bytes[3] = 4;
    all.push(bytes);
    all
}

/// All that is no hold: every kind of value and lease, of a newer format, of other programs, and
/// holds whose writers are all over.
fn no_holds() -> Vec<Vec<u8>> {
    let mut all = vec![lease(MINE), awaited(lease(OTHER)), newer()];
    for header in [fresh(), stale(), kept(), dead()] {
        all.push(value(&header));
        all.push(value(&paused(header, 5_000)));
        all.push(value(&refreshed(header, MINE, 5_000)));
        all.push(awaited(value(&refreshed(header, OTHER, 5_000))));
    }
    all.extend(foreign());
    all.extend(over());
    all
}

/// Puts something at the key that is no string.
fn other_types() -> [&'static [&'static str]; 5] {
    [
        &["RPUSH", "KEY", "a", "b"],
        &["HSET", "KEY", "stamp", "1"],
        &["SADD", "KEY", "a"],
        &["ZADD", "KEY", "1", "a"],
        &["XADD", "KEY", "*", "a", "b"],
    ]
}

impl Entry {
    fn with_type(args: &[&str]) -> Self {
        let mut entry = Self::new();
        let key = entry.key.clone();
        let args: Vec<_> = args
            .iter()
            .map(|arg| if *arg == "KEY" { key.as_bytes() } else { arg.as_bytes() })
            .collect();
        entry.redis::<Value>(&args);
        entry
    }

    fn type_of(&mut self) -> String {
        let key = self.key.clone();
        self.redis(&[b"TYPE", key.as_bytes()])
    }
}

#[test]
fn the_sha_is_the_one_the_server_has() {
    let mut connection = SERVER.connect();
    let of_entries = [&*LEASE, &FILL, &RELEASE, &INVALIDATE, &HOLD, &SETTLE, &SEED];
    for script in
        of_entries.into_iter().chain([&*SERVICE, &CLEAR, &GCRA, &WINDOW, &ACQUIRE, &UNLOCK])
    {
        let sha: String =
            redis::cmd("SCRIPT").arg("LOAD").arg(script.body).query(&mut connection).unwrap();
        assert_eq!(sha, script.sha);
    }
}

#[test]
fn a_script_that_the_server_does_not_know_is_told_apart() {
    let server = RedisServer::start_on_socket();
    let mut connection = server.connect();
    let command = Clear { key: ":larder:new", channel: "channel", message: b"" };
    let error = command.by_sha().query::<Value>(&mut connection).unwrap_err();
    assert!(is_unknown(&error));
    by_body(&command).exec(&mut connection).unwrap();
    command.by_sha().exec(&mut connection).unwrap();
    let error = redis::cmd("GET").query::<Value>(&mut connection).unwrap_err();
    assert!(!is_unknown(&error));
}

#[test]
fn a_server_of_a_test_ends_with_it() {
    let server = RedisServer::start_on_socket();
    let socket = server.dir().join("redis.sock");
    assert!(socket.exists());
    drop(server);
    assert!(!socket.exists());
}

#[test]
fn what_is_no_answer_to_a_command_is_none() {
    let int = Value::Int;
    for value in [
        Value::Nil,
        Value::Okay,
        int(1),
        Value::Array(vec![]),
        Value::Array(vec![int(1)]),
        Value::Array(vec![int(1), int(-1)]),
        Value::Array(vec![int(99), int(1)]),
        Value::Array(vec![int(2), int(1)]),
        Value::Array(vec![int(2), int(1), int(1)]),
        Value::Array(vec![int(4), int(1), int(-1)]),
        Value::Array(vec![Value::Nil, int(1), int(1)]),
    ] {
        let described = format!("{value:?}");
        assert_eq!(Lease::answer(value), None, "{described}");
    }
    for code in [-1, 2, 99] {
        assert_eq!(Fill::answer(Value::Array(vec![int(code), int(1)])), None);
        assert_eq!(Release::answer(Value::Array(vec![int(code), int(1)])), None);
        assert_eq!(Settle::answer(Value::Array(vec![int(code), int(1)])), None);
        assert_eq!(Seed::answer(Value::Array(vec![int(code), int(1), int(1)])), None);
        assert_eq!(Service::answer(Value::Array(vec![int(code), int(1), int(1)])), None);
        assert_eq!(Clear::answer(Value::Array(vec![int(code), int(1), int(1)])), None);
    }
    for stamp in [vec![], vec![int(-1)], vec![Value::Nil]] {
        let answer = [vec![int(1), int(1)], stamp].concat();
        assert_eq!(Seed::answer(Value::Array(answer)), None);
    }
    for numbers in
        [vec![], vec![5], vec![5, 5], vec![5, -1, 0], vec![5, 5, -1], vec![5, 5, 1 << 32]]
    {
        let answer: Vec<_> = [1, 1].into_iter().chain(numbers).map(int).collect();
        assert_eq!(Gcra::answer(Value::Array(answer.clone())), None);
        assert_eq!(Window::answer(Value::Array([answer, vec![int(0)]].concat())), None);
    }
    for code in [-1, 2, 99] {
        let answer = [code, 1, 5, 5, 0, 0].map(int).to_vec();
        assert_eq!(Gcra::answer(Value::Array(answer.clone())), None);
        assert_eq!(Window::answer(Value::Array(answer)), None);
    }
    for numbers in [vec![0], vec![1], vec![1, -1], vec![2], vec![2, -1, 0], vec![2, 5], vec![5, 5]]
    {
        let answer = numbers.into_iter().map(int).collect::<Vec<_>>();
        let answer = [answer[..1].to_vec(), vec![int(1)], answer[1..].to_vec()].concat();
        assert_eq!(Acquire::answer(Value::Array(answer)), None);
    }
    assert_eq!(Unlock::answer(Value::Array(vec![int(2), int(1)])), None);
    assert_eq!(Invalidate::answer(Value::Array(vec![int(3), int(1)])), None);
    assert_eq!(Hold::answer(Value::Array(vec![int(3), int(1)])), None);
}

#[test]
fn times_are_what_redis_takes() {
    assert_eq!(expiry(Duration::ZERO), 1);
    assert_eq!(expiry(Duration::from_micros(1)), 1);
    assert_eq!(expiry(Duration::from_millis(1_500)), 1_500);
    assert_eq!(expiry(Duration::MAX), LONGEST);
    let mut entry = Entry::new();
    let key = entry.key.clone();
    let command = Lease {
        key: &key,
        token: MINE,
        term: Duration::MAX,
        not_after: None,
        ask: Ask::Load,
        seen: &[],
    };
    assert_eq!(entry.run(&command).outcome, Leased::Granted(Grant::Lease));
    assert_eq!(entry.run(&command).outcome, Leased::Granted(Grant::Lease));
    entry.set(&value(&stale()), LONG);
    assert_eq!(entry.run(&command).outcome, Leased::Granted(Grant::Refresh));
    let (term, channel, message) = (Duration::MAX, "channel", b"".as_slice());
    for is_renewal in [false, true] {
        let hold =
            Hold { key: &key, token: MINE, term, not_after: None, is_renewal, channel, message };
        assert_eq!(entry.run(&hold).outcome, Held::Alone);
    }
    let value = Some((b"value".as_slice(), Duration::MAX));
    assert!(entry.run(&Settle { key: &key, token: MINE, value, channel, message }).outcome);
    assert_eq!(entry.get(), Some(b"value".to_vec()));
}
