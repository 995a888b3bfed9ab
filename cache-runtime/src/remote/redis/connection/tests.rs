//! The connection against a real server, and a network in between that does what a test says.

#[path = "../../../../../tests/common/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../../tests/common/redis.rs"]
pub(crate) mod server;

use std::{
    future::Future,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{Cmd, Value, cmd};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use self::{
    proxy::{Mode, Proxy},
    server::RedisServer,
};
use super::{
    super::{
        ears::Ears,
        failure::Failure,
        scripts::{Command, Rest, Script},
        subscriber::{Kind, Listener, Message},
        url::Address,
        waiters::Waiters,
        wire::Request,
    },
    *,
};
use crate::remote::Reason;

const BUDGET: Duration = Duration::from_millis(100);
const KEY: &str = ":larder:shop";

/// Writes the stamp as the script of the service will, and remembers the servers it has met.
#[derive(Default, Clone)]
struct Hook {
    servers: Arc<Mutex<Vec<String>>>,
}

impl Greet for Hook {
    fn greet<'a>(&'a self, fresh: &'a Fresh) -> Greeting<'a> {
        Box::pin(async move {
            self.servers.lock().unwrap().push(fresh.server().to_owned());
            let set = cmd("HSETNX").arg(KEY).arg("stamp").arg("1700000000000001").take();
            match fresh.run(Request::Command(set)).await {
                // A server that takes no writes can be read.
                Ok(_) | Err(Failure::Refused("READONLY" | "OOM")) => Ok(()),
                Err(failure) => Err(failure),
            }
        })
    }
}

/// Hears nothing.
struct Deaf;

impl Listener for Deaf {
    fn now(&self) -> u64 {
        0
    }

    fn message(&self, _: Message<'_>) {}
    fn connected(&self, _: u64) {}
    fn proven(&self, _: u64) {}
    fn broken(&self) {}
}

fn settings(url: &str) -> Settings {
    let count = AtomicU64::new(12_345);
    Settings {
        address: Address::parse(url).unwrap(),
        service: "shop".to_owned(),
        service_key: KEY.to_owned(),
        budget: BUDGET,
        max_staleness: Duration::from_secs(1),
        times: Times::of_redis("test"),
        random: Box::new(move || count.fetch_add(7919, SeqCst)),
    }
}

fn connection(url: &str) -> Connection {
    Connection::new(settings(url), Hook::default(), Arc::new(Deaf))
}

fn get(key: &str) -> Request {
    Request::Command(cmd("GET").arg(key).take())
}

fn set(key: &str, value: &str) -> Request {
    Request::Command(cmd("SET").arg(key).arg(value).take())
}

fn ping() -> Request {
    Request::Command(cmd("PING"))
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

async fn run(connection: &Connection, request: Request) -> Result<Value, Failure> {
    connection.run(request, BUDGET).await
}

/// Waits for a fact without trust in a clock, and says how long it took.
pub(crate) async fn until(mut fact: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !fact().await {
        assert!(began.elapsed() < Duration::from_secs(20), "this does not come to pass");
        sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

async fn until_up(connection: &Connection) -> Duration {
    until(async || run(connection, ping()).await.is_ok()).await
}

async fn until_down(connection: &Connection) -> Duration {
    until(async || !connection.is_usable()).await
}

#[tokio::test]
async fn a_command_is_answered() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    assert_eq!(connection.counts().attempts, 0, "nothing before the first use");
    run(&connection, set("a", "1")).await.unwrap();
    assert_eq!(run(&connection, get("a")).await, Ok(bulk("1")));
    let counts = connection.counts();
    assert_eq!((counts.sent, counts.connects, counts.openings), (2, 1, 0));
}

#[tokio::test]
async fn a_socket_and_another_database_are_reached() {
    let server = RedisServer::start_on_socket();
    let connection = connection(&format!("{}?db=3", server.url()));
    run(&connection, set("a", "1")).await.unwrap();
    assert_eq!(server.command(&["GET", "a"]), "(nil)");
    assert_eq!(server.command(&["INFO", "keyspace"]).matches("db3:").count(), 1);
}

#[tokio::test]
async fn a_script_is_sent_once_and_again_when_the_server_has_lost_it() {
    static SCRIPT: LazyLock<Script> =
        LazyLock::new(|| Script::new("return {KEYS[1], ARGV[1], ARGV[2]}"));

    struct Echo;

    impl Command for Echo {
        type Outcome = ();

        fn script(&self) -> &'static Script {
            &SCRIPT
        }

        fn key(&self) -> &'static str {
            "key"
        }

        fn write(&self, cmd: &mut Cmd) {
            cmd.arg("one").arg(b"\0\xff");
        }

        fn outcome(_: i64, _: Rest) -> Option<()> {
            None
        }
    }

    let server = RedisServer::start();
    let connection = connection(&server.url());
    let call = || Request::of(&Echo);
    let expected =
        Value::Array(vec![bulk("key"), bulk("one"), Value::BulkString(b"\0\xff".to_vec())]);
    for _ in 0..2 {
        assert_eq!(run(&connection, call()).await.unwrap(), expected);
    }
    assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "OK");
    assert_eq!(run(&connection, call()).await.unwrap(), expected);
    let time = cmd("HGET").arg(KEY).arg("stamp").take();
    assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "OK");
    for _ in 0..2 {
        let all = Request::all(&[Echo, Echo], vec![time.clone()]).unwrap();
        let all = run(&connection, all).await.unwrap();
        let stamp = bulk("1700000000000001");
        assert_eq!(all, Value::Array(vec![expected.clone(), expected.clone(), stamp]));
    }
    let stats = server.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_eval:calls=4,"), "{stats}");
}

#[tokio::test]
async fn the_heart_beats_with_the_servers_time_and_the_stamp() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    assert!(connection.reading().is_none());
    until_up(&connection).await;
    let reading = connection.reading().unwrap();
    assert_eq!(reading.stamp, Some(1_700_000_000_000_001));
    let before = server.command(&["TIME"]);
    let millis = reading.server_millis(Instant::now());
    let after = server.command(&["TIME"]);
    let read = |time: &str| {
        let (seconds, micros) = time.split_once('\n').unwrap();
        seconds.parse::<u64>().unwrap() * 1000 + micros.parse::<u64>().unwrap() / 1000
    };
    let error = reading.error.as_millis() as u64 + 2;
    assert!(millis + error >= read(&before) && millis <= read(&after) + error);
    server.command(&["HSET", KEY, "stamp", "1700000000000009"]);
    until(async || connection.reading().unwrap().stamp == Some(1_700_000_000_000_009)).await;
    assert!(connection.reading().unwrap().sent > reading.sent);
    assert_eq!(connection.counts().connects, 1);
}

#[test]
fn of_two_readings_under_way_together_the_larger_stamp_counts() {
    let began = Instant::now();
    let at = |millis| began + Duration::from_millis(millis);
    let mut reading = Reading {
        stamp: Some(5),
        sent: at(10),
        arrived: at(20),
        server: Duration::ZERO,
        middle: at(15),
        error: Duration::ZERO,
    };
    let mut noted = |stamp, sent, arrived| {
        reading.note(stamp, at(sent), at(arrived));
        (reading.stamp, reading.sent, reading.arrived)
    };
    assert_eq!(noted(Some(7), 5, 15), (Some(7), at(10), at(20)));
    assert_eq!(noted(Some(6), 18, 30), (Some(7), at(18), at(30)), "read before, told later");
    // A server that was emptied, and whose clock was put back.
    assert_eq!(noted(Some(3), 31, 40), (Some(3), at(31), at(40)));
    assert_eq!(noted(None, 35, 45).0, None);
    assert_eq!(noted(Some(9), 36, 45).0, None, "to be read again");
    assert_eq!(noted(Some(9), 50, 55).0, Some(9));
}

#[tokio::test]
async fn a_server_that_was_emptied_is_greeted_again() {
    let server = RedisServer::start();
    let hook = Hook::default();
    let connection = Connection::new(settings(&server.url()), hook.clone(), Arc::new(Deaf));
    until_up(&connection).await;
    server.command(&["FLUSHALL"]);
    until(async || hook.servers.lock().unwrap().len() == 2).await;
    until(async || server.command(&["HGET", KEY, "stamp"]) == "1700000000000001").await;
    assert_eq!(connection.counts().connects, 1);
    let servers = hook.servers.lock().unwrap().clone();
    assert!(servers[0].len() == 81 && servers[0] == servers[1], "{servers:?}");
}

#[tokio::test]
async fn a_server_that_is_absent_costs_no_wait() {
    let port = server::free_port();
    let connection = connection(&format!("redis://127.0.0.1:{port}"));
    for _ in 0..100 {
        assert_eq!(run(&connection, ping()).await, Err(Failure::Unavailable));
    }
    let counts = connection.counts();
    assert_eq!((counts.sent, counts.timeouts, counts.openings), (0, 0, 1));
    assert!(counts.attempts < 20, "a pause between the attempts: {counts:?}");
}

#[tokio::test]
async fn a_server_that_comes_late_is_used() {
    let mut server = RedisServer::start();
    server.kill();
    let connection = connection(&server.url());
    assert_eq!(run(&connection, ping()).await, Err(Failure::Unavailable));
    sleep(Duration::from_millis(700)).await;
    let before = connection.counts().attempts;
    server.restart();
    until_up(&connection).await;
    assert!(connection.counts().attempts <= before + 3);
}

#[tokio::test]
async fn a_server_that_is_killed_costs_no_wait_and_its_successor_is_used() {
    let mut server = RedisServer::start();
    let hook = Hook::default();
    let connection = Connection::new(settings(&server.url()), hook.clone(), Arc::new(Deaf));
    until_up(&connection).await;
    for round in 1..=3 {
        server.kill();
        let before = connection.counts();
        for _ in 0..100 {
            assert!(run(&connection, ping()).await.is_err());
        }
        let counts = connection.counts();
        assert_eq!(counts.timeouts, before.timeouts, "none waits");
        assert!(counts.sent <= before.sent + 1, "after the first failure nothing is sent");
        assert_eq!(counts.openings, round);
        server.restart();
        until_up(&connection).await;
        assert_eq!(connection.counts().connects, round + 1);
    }
    let mut servers = hook.servers.lock().unwrap().clone();
    servers.dedup();
    assert_eq!(servers.len(), 4, "each run of the server has another id: {servers:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_noticed_without_a_command() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    let heartbeats = connection.counts().heartbeats;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    until(async || connection.counts().connects == 2).await;
    assert_eq!(connection.counts().openings, 1);
    // One of the old connection at most, and the first of the new one.
    assert!(connection.counts().heartbeats <= heartbeats + 2);
}

#[tokio::test]
async fn a_server_that_hangs_costs_three_budgets_and_then_nothing() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    server.hang();
    let mut spent = 0;
    for _ in 0..10 {
        match run(&connection, ping()).await {
            Err(Failure::Timeout(budget)) => {
                assert_eq!(budget, BUDGET);
                spent += 1;
            }
            Err(Failure::Unavailable | Failure::Lost) => {}
            answered => panic!("{answered:?}"),
        }
    }
    assert!((1..=3).contains(&spent), "{spent} budgets");
    let counts = connection.counts();
    assert_eq!((counts.timeouts, counts.openings), (spent, 1));
    for _ in 0..1000 {
        assert_eq!(run(&connection, ping()).await, Err(Failure::Unavailable));
    }
    assert_eq!(connection.counts().sent, counts.sent);
    sleep(Duration::from_millis(1200)).await;
    server.resume();
    let before = connection.counts().attempts;
    until_up(&connection).await;
    assert!(connection.counts().attempts <= before + 2, "back with one of the next attempts");
}

#[tokio::test]
async fn concurrent_calls_on_a_server_that_hangs_lose_one_budget_each() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    server.hang();
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let mut spent = 0;
                for _ in 0..5 {
                    if let Err(Failure::Timeout(_)) = run(&connection, ping()).await {
                        spent += 1;
                    }
                }
                spent
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap() <= 1);
    }
    assert_eq!(connection.counts().openings, 1);
}

#[tokio::test]
async fn a_server_that_hangs_from_the_start_costs_three_budgets() {
    let server = RedisServer::start();
    server.hang();
    let connection = connection(&server.url());
    for _ in 0..10 {
        assert!(run(&connection, ping()).await.is_err());
    }
    let counts = connection.counts();
    assert!(counts.timeouts <= 3 && counts.openings == 1 && counts.sent == 0, "{counts:?}");
    server.resume();
    until_up(&connection).await;
}

#[tokio::test]
async fn a_hang_is_noticed_without_a_command() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    server.hang();
    until_down(&connection).await;
    let counts = connection.counts();
    assert_eq!((counts.timeouts, counts.openings), (0, 1));
}

#[tokio::test]
async fn a_server_slower_than_the_budget_is_not_used_until_it_is_faster() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let budget = Duration::from_millis(60);
    let settings = Settings { budget, ..settings(&proxy.url()) };
    let connection = Connection::new(settings, Hook::default(), Arc::new(Deaf));
    until_up(&connection).await;
    // A new connection, which takes four round trips, is made within its time of 450 ms, but is
    // not worth it.
    proxy.set(Mode::Delay(Duration::from_millis(80)));
    let began = connection.counts();
    let mut spent = 0;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let answered = connection.run(ping(), budget).await;
        spent += u32::from(matches!(answered, Err(Failure::Timeout(_))));
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((spent, connection.counts().connects), (3, began.connects));
    proxy.set(Mode::Pass);
    until_up(&connection).await;
}

#[tokio::test]
async fn a_network_that_is_cut_or_swallows_is_back_when_it_passes() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let connection = connection(&proxy.url());
    until_up(&connection).await;
    for mode in [Mode::Cut, Mode::Drop, Mode::BlackHole, Mode::Garbage] {
        proxy.set(mode);
        let mut spent = 0;
        until(async || {
            spent += u32::from(matches!(run(&connection, ping()).await, Err(Failure::Timeout(_))));
            !connection.is_usable()
        })
        .await;
        assert!(spent <= 3, "{mode:?}: {spent}");
        let before = connection.counts().sent;
        sleep(Duration::from_millis(600)).await;
        for _ in 0..100 {
            assert_eq!(run(&connection, ping()).await, Err(Failure::Unavailable), "{mode:?}");
        }
        assert_eq!(connection.counts().sent, before, "{mode:?}");
        proxy.set(Mode::Pass);
        let took = until_up(&connection).await;
        // Attempts and pauses are shorter than a second together; the machine may be busy.
        assert!(took < Duration::from_secs(2), "{mode:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_port_of_another_protocol_is_no_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let page = b"HTTP/1.1 400 Bad Request\r\n\r\nhunter2";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client, page).await;
        }
    });
    let connection = connection(&format!("redis://127.0.0.1:{port}"));
    for _ in 0..10 {
        assert!(run(&connection, ping()).await.is_err());
    }
    let counts = connection.counts();
    assert_eq!((counts.sent, counts.connects, counts.openings), (0, 0, 1));
}

#[tokio::test]
async fn a_refused_login_is_tried_again() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "joe", "on", ">right", "~*", "&*", "+@all"]);
    let url = |password| format!("redis://joe:{password}@127.0.0.1:{}", server.port());
    let wrong = connection(&url("wrong"));
    for _ in 0..20 {
        assert_eq!(run(&wrong, ping()).await, Err(Failure::Unavailable));
    }
    assert_eq!(wrong.counts().openings, 1);
    server.command(&["ACL", "SETUSER", "joe", ">wrong"]);
    until_up(&wrong).await;
    let right = connection(&url("right"));
    assert_eq!(
        run(&right, Request::Command(cmd("ACL").arg("WHOAMI").take())).await,
        Ok(bulk("joe"))
    );
    server.command(&["ACL", "DELUSER", "joe"]);
    until_down(&right).await;
}

#[tokio::test]
async fn a_login_that_may_not_ask_for_the_server_is_enough() {
    let server = RedisServer::start();
    let rights = ["~*", "&*", "+@all", "-info"];
    server.command(&[&["ACL", "SETUSER", "joe", "on", ">pass"][..], &rights].concat());
    let hook = Hook::default();
    let url = format!("redis://joe:pass@127.0.0.1:{}", server.port());
    let connection = Connection::new(settings(&url), hook.clone(), Arc::new(Deaf));
    until_up(&connection).await;
    assert_eq!(*hook.servers.lock().unwrap(), [""]);
}

#[tokio::test]
async fn a_full_server_refuses_and_is_read() {
    let server =
        RedisServer::start_with(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]);
    let connection = connection(&server.url());
    run(&connection, set("a", "1")).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..10 {
        assert_eq!(run(&connection, set("b", "2")).await, Err(Failure::Refused("OOM")));
        assert_eq!(run(&connection, get("a")).await, Ok(bulk("1")));
    }
    let counts = connection.counts();
    assert_eq!((counts.connects, counts.openings), (1, 0), "a refusal is an answer");
}

#[tokio::test]
async fn a_replica_refuses_is_read_and_is_left_for_its_successor() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    run(&connection, set("a", "1")).await.unwrap();
    let nobody = server::free_port().to_string();
    server.command(&["REPLICAOF", "127.0.0.1", &nobody]);
    until(async || {
        assert_eq!(run(&connection, set("b", "2")).await, Err(Failure::Refused("READONLY")));
        assert_eq!(run(&connection, get("a")).await, Ok(bulk("1")));
        connection.counts().connects == 2
    })
    .await;
    assert_eq!(connection.counts().openings, 0, "the old one serves until the new one does");
    server.command(&["REPLICAOF", "NO", "ONE"]);
    until(async || run(&connection, set("b", "2")).await.is_ok()).await;
}

#[tokio::test]
async fn an_answer_after_the_deadline_is_told() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let connection = connection(&proxy.url());
    run(&connection, set("a", "1")).await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    let budget = Duration::from_millis(20);
    let late = tell.clone();
    let on_late = move |answered| late.send(answered).unwrap();
    let answered = connection.run_or_late(get("a"), budget, on_late).await;
    assert_eq!(answered, Err(Failure::Timeout(budget)));
    assert_eq!(told.recv().await, Some(Ok(bulk("1"))));
    // The same for a caller that is gone.
    let on_late = move |answered| tell.send(answered).unwrap();
    let call = connection.run_or_late(get("a"), Duration::from_secs(5), on_late);
    assert!(timeout(budget, call).await.is_err());
    assert_eq!(told.recv().await, Some(Ok(bulk("1"))));
    // Told once, and the sender is gone with the last of them.
    assert_eq!(told.recv().await, None);
    assert_eq!(connection.counts().late, 2);
}

#[tokio::test]
async fn an_answer_in_time_is_not_told() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    let (tell, mut told) = mpsc::unbounded_channel::<Result<Value, Failure>>();
    let on_late = move |answered| tell.send(answered).unwrap();
    connection.run_or_late(set("a", "1"), Duration::from_secs(5), on_late).await.unwrap();
    assert_eq!(told.recv().await, None);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_told_when_the_next_connection_is_in_use() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let connection = connection(&proxy.url());
    until_up(&connection).await;
    proxy.set(Mode::Drop);
    let (tell, mut told) = mpsc::unbounded_channel();
    let on_late = move |answered| tell.send(answered).unwrap();
    let answered = connection.run_or_late(set("a", "1"), BUDGET, on_late).await;
    assert!(answered.is_err());
    until_down(&connection).await;
    sleep(Duration::from_millis(300)).await;
    assert!(told.is_empty(), "on what connection should it be undone?");
    assert_eq!(server.command(&["GET", "a"]), "1", "it has taken effect");
    proxy.set(Mode::Pass);
    assert_eq!(told.recv().await, Some(Err(Failure::Lost)));
    assert_eq!(run(&connection, ping()).await, Ok(Value::SimpleString("PONG".to_owned())));
}

#[tokio::test]
async fn an_answer_that_was_lost_at_once_is_told_no_earlier() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    for round in 2..5 {
        server.command(&["CLIENT", "PAUSE", "300", "WRITE"]);
        let (tell, mut told) = mpsc::unbounded_channel();
        let counted = connection.clone();
        let on_late = move |answered| tell.send((answered, counted.counts().connects)).unwrap();
        let sent = connection.run_or_late(set("a", "1"), Duration::from_secs(5), on_late);
        let kill = async {
            sleep(Duration::from_millis(50)).await;
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        };
        assert_eq!(tokio::join!(sent, kill).0, Err(Failure::Lost));
        assert_eq!(told.recv().await, Some((Err(Failure::Lost), round)));
        server.command(&["CLIENT", "UNPAUSE"]);
        until_up(&connection).await;
    }
}

#[tokio::test]
async fn too_many_commands_at_once_fail_at_once() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    server.hang();
    let calls: Vec<_> = (0..CAP + 10)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { run(&connection, ping()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    assert_eq!(connection.counts().capped, 10);
    assert_eq!(connection.shared().counters.in_flight.load(SeqCst), 0, "each is given back");
}

#[test]
fn a_call_outside_of_a_runtime_is_refused_and_the_next_one_is_not() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    let mut call = Box::pin(run(&connection, ping()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.as_mut().poll(&mut context)));
    assert_eq!(polled.unwrap(), std::task::Poll::Ready(Err(Failure::Unavailable)));
    drop(call);
    runtime().block_on(until_up(&connection));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn one_runtime_after_the_other_can_use_it() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    for round in 1..=3 {
        let runtime = runtime();
        for _ in 0..3 {
            let answered = runtime.block_on(run(&connection, ping()));
            assert!(answered.is_ok(), "{answered:?}");
        }
        assert_eq!(connection.counts().connects, round);
    }
    assert_eq!(connection.counts().openings, 0);
}

#[test]
fn a_runtime_that_nobody_drives_any_more_is_left() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    let idle = runtime();
    idle.block_on(until_up(&connection));
    runtime().block_on(until_up(&connection));
    assert!(connection.counts().timeouts <= 3);
    drop(idle);
    runtime().block_on(async {
        until_up(&connection).await;
    });
}

#[tokio::test]
async fn the_last_handle_ends_it() {
    let server = RedisServer::start();
    let connection = connection(&server.url());
    until_up(&connection).await;
    let shared = Arc::downgrade(connection.shared());
    let copy = connection.clone();
    drop(connection);
    run(&copy, ping()).await.unwrap();
    drop(copy);
    until(async || shared.strong_count() == 0).await;
    // Those of the test itself come and go.
    until(async || server.command(&["CLIENT", "LIST"]).lines().count() == 1).await;
}

/// What a listener was told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Listener for Heard {
    fn now(&self) -> u64 {
        0
    }

    fn proven(&self, _: u64) {}

    fn message(&self, message: Message<'_>) {
        let text = format!("{:?} {}", message.kind, message.text);
        self.0.lock().unwrap().push(text);
    }

    fn connected(&self, _: u64) {
        self.0.lock().unwrap().push("connected".to_owned());
    }

    fn broken(&self) {
        self.0.lock().unwrap().push("broken".to_owned());
    }
}

fn publish(channel: &str, bytes: &[u8]) -> Request {
    let mut publish: Cmd = cmd("PUBLISH");
    Request::Command(publish.arg(channel).arg(bytes).take())
}

#[tokio::test]
async fn messages_of_the_channel_are_heard_and_others_are_not() {
    let server = RedisServer::start();
    let heard = Arc::new(Heard::default());
    let connection = Connection::new(settings(&server.url()), Hook::default(), heard.clone() as _);
    until_up(&connection).await;
    until(async || heard.all() == ["connected"]).await;
    let message = Message { kind: Kind::Invalidated, sender: *b"12345678", text: "shop:a" };
    for bytes in
        [b"".as_slice(), b"\x01", b"{\"a\":1}", b"\x02\x0112345678a", b"\x01\x0112345678\xff"]
    {
        run(&connection, publish(KEY, bytes)).await.unwrap();
    }
    run(&connection, publish(":larder:other", &message.bytes())).await.unwrap();
    run(&connection, publish(KEY, &message.bytes())).await.unwrap();
    until(async || heard.all().len() > 1).await;
    assert_eq!(heard.all(), ["connected", "Invalidated shop:a"]);
}

#[tokio::test]
async fn a_subscription_that_breaks_is_taken_again() {
    let server = RedisServer::start();
    let heard = Arc::new(Heard::default());
    let connection = Connection::new(settings(&server.url()), Hook::default(), heard.clone() as _);
    until_up(&connection).await;
    until(async || heard.all() == ["connected"]).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until(async || heard.all() == ["connected", "broken", "connected"]).await;
    assert_eq!(connection.counts().connects, 1, "commands go on");
    server.hang();
    until(async || heard.all().len() == 4).await;
    server.resume();
    until(async || heard.all().len() == 5).await;
    let message = Message { kind: Kind::Wake, sender: *b"12345678", text: "shop:a" };
    until_up(&connection).await;
    run(&connection, publish(KEY, &message.bytes())).await.unwrap();
    until(async || heard.all().last().unwrap() == "Wake shop:a").await;
}

/// A clock that each message moves, and how old the oldest proof was when it came.
#[derive(Default)]
struct Dated {
    clock: AtomicU64,
    oldest: AtomicU64,
}

impl Listener for Dated {
    fn now(&self) -> u64 {
        self.clock.load(SeqCst)
    }

    fn message(&self, _: Message<'_>) {
        self.clock.fetch_add(1, SeqCst);
    }

    fn connected(&self, _: u64) {}

    fn proven(&self, asked: u64) {
        self.oldest.fetch_max(self.now() - asked, SeqCst);
    }

    fn broken(&self) {}
}

#[tokio::test]
async fn a_proof_is_as_old_as_what_was_asked_for_it() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let dated = Arc::new(Dated::default());
    let heard = Connection::new(settings(&proxy.url()), Hook::default(), dated.clone() as _);
    until_up(&heard).await;
    until(async || heard.counts().subscriptions == 1).await;
    // Of what is published all the time, some comes between the question and the answer.
    proxy.set(Mode::Delay(BUDGET / 2));
    let publishing = connection(&server.url());
    let message = Message { kind: Kind::Wake, sender: *b"12345678", text: "shop:a" }.bytes();
    until(async || {
        let _ = run(&publishing, publish(KEY, &message)).await;
        dated.oldest.load(SeqCst) > 0
    })
    .await;
}

#[tokio::test]
async fn a_waiter_is_woken_by_a_message_and_leaves_a_server_that_is_gone() {
    let mut server = RedisServer::start();
    let waiters = Waiters::new(|| 9_999_999);
    let ears = Ears::new(Arc::clone(&waiters), [0; 8]);
    let connection = Connection::new(settings(&server.url()), Hook::default(), ears as _);
    until_up(&connection).await;
    until(async || connection.counts().subscriptions == 1).await;
    let mut waiter = waiters.wait("shop:a");
    let message = Message { kind: Kind::Wake, sender: *b"12345678", text: "shop:a" };
    let mut woken = false;
    for _ in 0..20 {
        run(&connection, publish(KEY, &message.bytes())).await.unwrap();
        woken |= waiter.changed(connection.broken()).await == Reason::Woken;
    }
    assert!(woken);
    server.kill();
    until_down(&connection).await;
    timeout(BUDGET, connection.broken()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(waiter.changed(connection.broken()).await, Reason::Poll);
    }
}

#[tokio::test]
async fn a_login_appears_in_no_text() {
    let secret = "hunter2secret";
    let mut server = RedisServer::start();
    server.command(&["ACL", "SETUSER", secret, "on", &format!(">{secret}"), "~*", "&*", "+@all"]);
    let proxy = Proxy::before(server.port());
    let url = format!("redis://{secret}:{secret}@127.0.0.1:{}", proxy.port());
    let connection = connection(&url);
    let mut texts = vec![format!("{:?}", Address::parse(&url))];
    let mut note = async |connection: &Connection| {
        for request in [
            ping(),
            Request::Command(cmd(secret)),
            Request::Command(cmd("AUTH").arg(secret).take()),
            Request::Command(cmd("GET").take()),
        ] {
            let answered = run(connection, request).await;
            if let Err(failure) = answered {
                let error = crate::Error::from(failure);
                texts.push(format!("{failure} {failure:?} {error} {error:?}"));
            }
        }
        texts.push(format!("{connection:?}"));
    };
    until_up(&connection).await;
    note(&connection).await;
    for mode in [Mode::Cut, Mode::Drop, Mode::Garbage, Mode::Delay(2 * BUDGET)] {
        proxy.set(mode);
        for _ in 0..3 {
            note(&connection).await;
            sleep(BUDGET).await;
        }
    }
    proxy.set(Mode::Pass);
    until_up(&connection).await;
    server.command(&["ACL", "DELUSER", secret]);
    note(&connection).await;
    until_down(&connection).await;
    note(&connection).await;
    server.kill();
    note(&connection).await;
    assert!(texts.len() > 60 && texts.iter().all(|text| !text.contains(secret)), "{texts:#?}");
}
