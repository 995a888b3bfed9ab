//! Processes that share values and runs over Redis, and one that is killed in the middle of a run.
//!
//! ```sh
//! cargo run --example redis
//! ```
//!
//! It uses the Redis that `LARDER_URL` names (`redis://localhost`), else it starts `redis-server` for
//! itself, if that is installed.

#[path = "common/server.rs"]
mod server;

use std::{
    env,
    error::Error,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use larder::{Cache, cached};
use server::Server;

/// What all processes want and one of them makes. It takes half a second.
#[cached(ttl = 60, key = "report:{year}")]
async fn report(year: u32) -> String {
    let process = std::process::id();
    println!("process {process} runs the function");
    tokio::time::sleep(Duration::from_millis(500)).await;
    format!("report of {year}, made by process {process}")
}

/// What a process of the fleet does: it asks for the report.
#[tokio::main]
async fn one_of_the_fleet(url: String) -> Result<(), Box<dyn Error>> {
    // A lease this short only so that the example is over soon: it is how long the others wait for
    // a process that was killed.
    let cache = Cache::builder("example").redis(url).lease(Duration::from_secs(2)).build()?;
    cache.clone().install()?;
    let start = Instant::now();
    let (report, source) = report(2026).with_source().await;
    let process = std::process::id();
    println!("process {process} has the {report} after {:.1?} ({source:?})", start.elapsed());
    cache.shutdown().await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(url) = env::args().nth(1) {
        return one_of_the_fleet(url);
    }
    let server = Server::start()?;
    let url = &server.url;

    title("Three processes want one thing, and one of them makes it");
    clear(url)?;
    let processes: Result<Vec<_>, _> = (0..3).map(|_| start(url, Stdio::inherit())).collect();
    for mut process in processes? {
        process.wait()?;
    }

    title("The one that makes it is killed");
    clear(url)?;
    let mut first = start(url, Stdio::piped())?;
    let mut said = BufReader::new(first.stdout.take().ok_or("no output")?).lines();
    println!("{}", said.next().ok_or("it said nothing")??);
    let mut second = start(url, Stdio::inherit())?;
    thread::sleep(Duration::from_millis(200));
    first.kill()?;
    first.wait()?;
    println!("killed; the lease of its run ends within two seconds, and the next in line runs");
    second.wait()?;

    title("A process that comes later finds it");
    start(url, Stdio::inherit())?.wait()?;
    Ok(())
}

/// Starts this program as one of the fleet.
fn start(url: &str, stdout: Stdio) -> std::io::Result<Child> {
    Command::new(env::current_exe()?).arg(url).stdout(stdout).spawn()
}

#[tokio::main]
async fn clear(url: &str) -> Result<(), Box<dyn Error>> {
    Cache::builder("example").redis(url).build()?.clear().await?;
    Ok(())
}

fn title(title: &str) {
    println!("\n{title}");
    println!("{}", "-".repeat(title.len()));
}
