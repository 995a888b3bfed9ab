//! No password is in anything that can be printed, whatever becomes of Redis.

#![cfg(feature = "redis")]

mod common;

use std::{
    fmt::Debug,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    thread,
    time::Duration,
};

use common::{
    client::Client,
    member,
    proxy::{Mode, Proxy},
    redis::RedisServer,
};
use larder::{Cache, CacheBuilder, cached};
use tokio::time::{sleep, timeout};

/// The password, as it is and as it is in a URL; each half of it is looked for.
const PASSWORD: &str = "hunter2@marker";
const IN_URL: &str = "hunter2%40marker";
const HALVES: [&str; 2] = ["hunter2", "marker"];

#[cached(ttl = 60, key = "page:{id}", local = false, cache = cache, skip(cache))]
async fn page(cache: &Cache, id: u64) -> u64 {
    id
}

/// Plays a role in another test.
#[test]
fn a_process_of_the_fleet() {
    match member::role().as_deref() {
        None => {}
        Some("talkative") => talk(),
        Some(role) => panic!("no role is called {role}"),
    }
}

/// Goes through all that can happen, and prints all that there is.
#[tokio::main]
async fn talk() {
    refused_urls();

    let mut server = RedisServer::start_with(&["--requirepass", PASSWORD]);
    let proxy = Proxy::before(server.port());
    let direct = cache(server.port(), "");
    let proxied = cache(proxy.port(), "");
    for cache in [&direct, &proxied] {
        tell("works", cache).await;
    }
    for mode in [Mode::Garbage, Mode::BlackHole, Mode::Drop, Mode::Cut] {
        proxy.set(mode);
        tell(&format!("{mode:?}"), &proxied).await;
        proxy.set(Mode::Pass);
        come_back(&proxied).await;
    }
    let mut admin = Client::connect(&server.url()).await;
    admin.command(&["AUTH", PASSWORD]).await;
    admin.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    tell("refused writes", &direct).await;
    admin.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    come_back(&direct).await;
    server.hang();
    tell("hung", &direct).await;
    server.resume();
    come_back(&direct).await;
    server.kill();
    tell("killed", &direct).await;
    tell("absent at the start", &cache(server.port(), "")).await;
    server.restart();
    come_back(&direct).await;
    tell("restarted", &direct).await;

    let other = RedisServer::start_with(&["--requirepass", "other"]);
    tell("refused the password", &cache(other.port(), "")).await;
    tell("refused the user", &cache(other.port(), "marker")).await;
    let open = RedisServer::start();
    tell("wanted no password", &cache(open.port(), "")).await;
    tell("was no Redis", &cache(echo(), "marker")).await;
}

async fn come_back(cache: &Cache) {
    let back = async {
        while cache.invalidate("page:1").await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), back).await.unwrap();
}

fn cache(port: u16, user: &str) -> Cache {
    let builder = builder(&format!("redis://{user}:{IN_URL}@127.0.0.1:{port}/0"));
    println!("{builder:?} {builder:#?}");
    builder.build().unwrap()
}

fn builder(url: &str) -> CacheBuilder {
    // A hang is over soon.
    Cache::builder("test").redis(url).redis_budget(Duration::from_millis(50))
}

fn refused_urls() {
    for url in [
        format!("rediss://:{IN_URL}@127.0.0.1/0"),
        format!("redis-sentinel://:{IN_URL}@127.0.0.1/0"),
        format!("redis-cluster://:{IN_URL}@127.0.0.1/0"),
        format!("redis://:{IN_URL}@127.0.0.1:port/0"),
        format!("redis://:{IN_URL}@127.0.0.1/{IN_URL}"),
        format!("redis://{IN_URL}@127.0.0.1/0"),
        format!("redis://127.0.0.1/0?password={IN_URL}"),
        format!("redis://:{PASSWORD}%zz@127.0.0.1"),
        format!("redis://127.0.0.1:{IN_URL}"),
        format!("unix://{IN_URL}"),
        format!("unix:///run/redis.sock?password={IN_URL}"),
        format!("unix:///run/redis.sock?db={IN_URL}"),
        format!("{IN_URL}://127.0.0.1"),
        IN_URL.to_owned(),
    ] {
        let error = builder(&url).build().unwrap_err();
        println!("{error} {error:?} {error:#?}");
    }
}

/// Prints everything about a cache after calls and verbs.
async fn tell(what: &str, cache: &Cache) {
    println!("@{what}");
    let first = page(cache, 1).invalidate().await;
    for id in 0..10 {
        assert_eq!(page(cache, id).await, id);
    }
    let results = [
        first,
        page(cache, 1).invalidate().await,
        page(cache, 1).put(1).await,
        page(cache, 1).into_entry().invalidate().await,
        cache.invalidate("page:1").await,
        cache.clear().await,
    ];
    for result in results {
        print(&result);
        let Err(error) = result else { continue };
        println!("{error}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            println!("{error} {error:?}");
            source = error.source();
        }
    }
    println!("{}", cache.stats());
    print(&cache.stats());
    print(cache);
    print(&page(cache, 1));
    print(&page(cache, 1).into_entry());
}

fn print(value: &impl Debug) {
    println!("{value:?} {value:#?}");
    eprintln!("{value:?}");
}

/// A server that answers with what it was sent, as an error.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    let sent = String::from_utf8_lossy(&bytes[..length]).replace("\r\n", " ");
                    let answer = format!("-ERR unknown command, with args: {sent}\r\n");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_password_is_in_nothing_that_is_printed() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["a_process_of_the_fleet", "--exact", "--nocapture"])
        .env("FLEET_ROLE", "talkative")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}\n{err}");
    for what in ["@was no Redis", "Unavailable", "Timeout", "Refused", "Ok(())", "`redis` "] {
        assert!(out.contains(what), "nothing was said of {what}: {out}");
    }
    for half in HALVES {
        for line in out.lines().chain(err.lines()) {
            assert!(!line.contains(half), "{line}");
        }
    }
}
