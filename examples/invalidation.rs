//! One process changes a value, and another one has it in its memory. What becomes of that: when all
//! is well, when the writer is killed, when two write at once, and when the link to Redis is cut.
//!
//! ```sh
//! cargo run --example invalidation
//! ```
//!
//! It uses the Redis that `LARDER_URL` names (`redis://localhost`), else it starts `redis-server` for
//! itself, if that is installed. The "database" is a file with one number. Times are shown as they
//! come; a busy machine makes them longer.

#[path = "common/server.rs"]
mod server;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Lines, Write as _, stdin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use larder::{Cache, ConfigError, Source, cached, invalidates, updates};
use server::Server;

type Error = Box<dyn std::error::Error + Send + Sync>;

// What both processes have.

/// A life this short only so that the end of it can be waited for.
#[cached(ttl = 2, key = "price")]
async fn price() -> Result<u32, Error> {
    Ok(fs::read_to_string("price")?.parse()?) // SELECT …
}

/// Once this has returned, nobody reads the old price.
#[invalidates(price())]
async fn change(to: u32) -> Result<SystemTime, Error> {
    commit(to).await
}

/// The same, and what it returns is what is cached from now on.
#[updates(price())]
async fn write_through(to: u32) -> Result<u32, Error> {
    commit(to).await?;
    Ok(to)
}

/// Is killed between its COMMIT and the invalidation.
#[invalidates(price())]
async fn die(to: u32) -> Result<(), Error> {
    commit_and_hang(to).await
}

/// The same under a hold: from before the COMMIT on nobody stores the price, for one second at most
/// if this process dies.
#[invalidates(price(), hold = "1s")]
async fn die_holding(to: u32) -> Result<(), Error> {
    commit_and_hang(to).await
}

/// BEGIN, UPDATE … and COMMIT, which is the `rename`. Returns when that was.
async fn commit(to: u32) -> Result<SystemTime, Error> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    let new = format!("price.{}", std::process::id());
    fs::write(&new, to.to_string())?;
    fs::rename(&new, "price")?;
    Ok(SystemTime::now())
}

async fn commit_and_hang(to: u32) -> Result<(), Error> {
    commit(to).await?;
    println!("has committed");
    std::future::pending().await
}

/// A process follows orders, one a line, and answers each with a line.
#[tokio::main]
async fn follow_orders(url: &str) -> Result<(), Error> {
    cache(url)?.install()?;
    for order in stdin().lines() {
        let order = order?;
        let (order, to) = order.split_once(" to ").unwrap_or((&order, "0"));
        let (to, start) = (to.parse()?, Instant::now());
        match order {
            "read" => {
                let (price, source) = price().with_source().await;
                println!("{} in {:.1?}, {source:?}", price?, start.elapsed());
            }
            "change" => {
                let committed = change(to).await?;
                println!("{} {}", micros(committed), micros(SystemTime::now()));
            }
            "write_through" => println!("returned {}", write_through(to).await?),
            "die" => die(to).await?,
            "die_holding" => die_holding(to).await?,
            "peek" => println!("{:?}", price().peek().await.transpose()?),
            _ => watch().await?,
        }
    }
    Ok(())
}

/// Reads from memory until that has no price any more. Says when that was, when it had the price
/// then, and which.
async fn watch() -> Result<(), Error> {
    println!("watches");
    let mut until = SystemTime::now();
    loop {
        let (price, source) = price().with_source().await;
        let now = SystemTime::now();
        if !matches!(source, Source::Memory { .. }) {
            println!("{} {} {}, {source:?}", micros(until), micros(now), price?);
            return Ok(());
        }
        until = now;
        // Of the thread, as one of tokio's takes a millisecond at least.
        thread::sleep(Duration::from_micros(20));
    }
}

fn micros(moment: SystemTime) -> u128 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

// What happens to them.

fn main() -> Result<(), Error> {
    if let Some(url) = env::args().nth(1) {
        return follow_orders(&url);
    }
    let server = Server::start()?;
    clear(&server.url)?;
    fs::write(server.folder.join("price"), "10")?;
    let mut a = Process::start("A", &server)?;
    let mut b = Process::start("B", &server)?;
    thread::sleep(Duration::from_millis(200));

    title("Memory answers in microseconds");
    b.does("read")?;
    b.does("read")?;

    title("A changes it, and B's memory drops it");
    b.ask("watch")?;
    let answer = a.ask("change to 20")?;
    let (committed, returned) = answer.split_once(' ').ok_or("no times")?;
    let committed = committed.parse()?;
    println!("A: change to 20: returned {} after the COMMIT", since(committed, returned)?);
    b.watched("the COMMIT", committed)?;

    title("A writes through, and B finds the new value in Redis");
    a.does("write_through to 30")?;
    b.does("read")?;
    b.does("read")?;

    title("A is killed between its COMMIT and the invalidation");
    a.does("die to 40")?;
    a = a.replaced(&server)?;
    b.does("read")?;
    println!("... which is the old price. It is served until its life of two seconds is over:");
    thread::sleep(Duration::from_secs(2));
    b.does("read")?;

    title("The same with `hold = \"1s\"`");
    a.does("die_holding to 50")?;
    a = a.replaced(&server)?;
    b.does("read")?;
    b.does("read")?;
    println!("... which is the new price. Nobody stores it until the hold is over:");
    thread::sleep(Duration::from_millis(1100));
    b.does("read")?;
    b.does("read")?;

    title("Two write through at once");
    a.order("write_through to 60")?;
    b.order("write_through to 70")?;
    println!("A: write_through to 60: {}", a.answer()?);
    println!("B: write_through to 70: {}", b.answer()?);
    b.does("peek")?;
    println!("... for neither knows who was last. The database does:");
    b.does("read")?;

    title("The link that messages come by is cut");
    if server.process.is_none() {
        println!("not in a Redis that others use, too: unset LARDER_URL to see it");
        return Ok(());
    }
    b.does("read")?;
    b.ask("watch")?;
    let cut = micros(SystemTime::now());
    let mut redis_cli = Command::new("redis-cli");
    redis_cli.args(["-s", "redis.sock", "CLIENT", "KILL", "TYPE", "pubsub"]);
    let Ok(killed) = redis_cli.current_dir(&server.folder).output() else {
        println!("not without `redis-cli`");
        return Ok(());
    };
    println!("{} links are cut", String::from_utf8_lossy(&killed.stdout).trim());
    b.watched("the cut", cut)?;
    println!("... for who knows what B did not hear. Redis still has it.");
    Ok(())
}

/// Process A, or process B: this program once more.
struct Process {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &'static str, server: &Server) -> Result<Self, Error> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(&server.url).current_dir(&server.folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut process = Self { name, child, orders, answers };
        // It connects with its first call, not before.
        process.ask("peek")?;
        Ok(process)
    }

    /// Killed, and a new one in its place.
    fn replaced(self, server: &Server) -> Result<Self, Error> {
        let name = self.name;
        drop(self);
        println!("{name}: is killed, and starts again");
        Self::start(name, server)
    }

    fn order(&mut self, order: &str) -> Result<(), Error> {
        Ok(writeln!(self.orders, "{order}")?)
    }

    fn answer(&mut self) -> Result<String, Error> {
        Ok(self.answers.next().ok_or("a process has ended")??)
    }

    fn ask(&mut self, order: &str) -> Result<String, Error> {
        self.order(order)?;
        self.answer()
    }

    fn does(&mut self, order: &str) -> Result<(), Error> {
        let answer = self.ask(order)?;
        println!("{}: {order}: {answer}", self.name);
        Ok(())
    }

    /// What it has seen.
    fn watched(&mut self, event: &str, start: u128) -> Result<(), Error> {
        let answer = self.answer()?;
        let mut parts = answer.splitn(3, ' ');
        let mut part = || parts.next().ok_or("no times");
        let (until, had, what) = (since(start, part()?)?, since(start, part()?)?, part()?);
        println!("{}: its memory answered until {until} after {event}", self.name);
        println!("{}: read: {what}, {had} after {event}", self.name);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long it was to a moment that a process has named.
fn since(start: u128, moment: &str) -> Result<String, Error> {
    let micros = moment.parse::<u128>()?.saturating_sub(start);
    Ok(format!("{:.1?}", Duration::from_micros(micros.try_into()?)))
}

#[tokio::main]
async fn clear(url: &str) -> Result<(), Error> {
    Ok(cache(url)?.clear().await?)
}

/// On a busy machine a call may wait for Redis longer than it usually does.
fn cache(url: &str) -> Result<Cache, ConfigError> {
    Cache::builder("invalidation").redis(url).redis_budget(Duration::from_secs(2)).build()
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
