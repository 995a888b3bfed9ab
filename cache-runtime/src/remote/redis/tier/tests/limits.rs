use tokio::task::JoinSet;

use super::*;
use crate::{
    limit::{Algorithm, Limited, Rule, Step, Verdict},
    remote::Limiting,
};

const LIMIT: &str = "shop:login:7";
const HOUR: Duration = Duration::from_secs(3600);

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Gcra, Algorithm::FixedWindow, Algorithm::SlidingWindow];

impl RedisTier {
    async fn step(&self, rule: Rule, step: Step) -> Result<Limited, Error> {
        self.limit(Limiting { key: LIMIT, rule, step }).await
    }

    async fn may(&self, rule: Rule) -> bool {
        self.step(rule, Step::Take(1)).await.unwrap().verdict == Verdict::Allowed
    }
}

fn rule(algorithm: Algorithm, limit: u32) -> Rule {
    Rule::new(algorithm, limit, HOUR, None)
}

#[tokio::test]
async fn two_processes_have_one_limit() {
    for algorithm in ALGORITHMS {
        let server = RedisServer::start();
        let (one, other) = (tier(&server.url()).await, tier(&server.url()).await);
        let rule = rule(algorithm, 3);
        assert!(one.may(rule).await && other.may(rule).await && one.may(rule).await);
        assert!(!other.may(rule).await && !one.may(rule).await);
        assert_eq!(other.step(rule, Step::Refund(2)).await.unwrap().remaining, 2);
        assert_eq!(one.step(rule, Step::Reset).await.unwrap().remaining, 3);
        let limited = other.step(rule, Step::Take(4)).await.unwrap();
        assert_eq!((limited.verdict, limited.remaining), (Verdict::Never, 3));
    }
}

#[tokio::test]
async fn a_step_is_one_command() {
    let server = RedisServer::start();
    let one = warm_tier(&server.url()).await;
    for algorithm in ALGORITHMS {
        let rule = rule(algorithm, 3);
        // The server does not know the script yet.
        assert_eq!(one.step(rule, Step::Take(1)).await.unwrap().remaining, 2);
        one.step(rule, Step::Reset).await.unwrap();
        let calls = || {
            let stats = server.command(&["INFO", "commandstats"]);
            let (_, calls) = stats.split_once("cmdstat_evalsha:calls=").unwrap();
            calls.split(',').next().unwrap().parse::<u64>().unwrap()
        };
        let before = (one.connection().counts().sent, calls());
        for step in [Step::Take(1), Step::Take(9), Step::Take(0), Step::Refund(1), Step::Reset] {
            one.step(rule, step).await.unwrap();
        }
        assert_eq!(one.connection().counts().sent, before.0 + 5);
        assert_eq!(calls(), before.1 + 5);
    }
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_scripts_counts_a_step_once() {
    let server = RedisServer::start();
    let one = tier(&server.url()).await;
    for algorithm in ALGORITHMS {
        let rule = rule(algorithm, 10);
        for remaining in (0..10).rev() {
            server.command(&["SCRIPT", "FLUSH"]);
            assert_eq!(one.step(rule, Step::Take(1)).await.unwrap().remaining, remaining);
        }
        one.step(rule, Step::Reset).await.unwrap();
    }
}

#[tokio::test]
async fn many_callers_at_once_get_what_the_limit_says() {
    let server = RedisServer::start();
    let tiers = [tier(&server.url()).await, tier(&server.url()).await];
    let tiers: Vec<_> = tiers.into_iter().map(Arc::new).collect();
    for algorithm in ALGORITHMS {
        let rule = rule(algorithm, 50);
        let mut callers = JoinSet::new();
        for caller in 0..128 {
            let tier = Arc::clone(&tiers[caller % 2]);
            callers.spawn(async move {
                // Under load an answer may not come in time.
                loop {
                    match tier.step(rule, Step::Take(1)).await {
                        Ok(limited) => return limited.verdict == Verdict::Allowed,
                        Err(_) => sleep(Duration::from_millis(5)).await,
                    }
                }
            });
        }
        let granted = callers.join_all().await.into_iter().filter(|may| *may).count();
        assert!(granted <= 50, "{granted}");
        let limited = tiers[0].step(rule, Step::Take(0)).await.unwrap();
        assert_eq!(limited.remaining, 0, "what was granted and not heard of is taken");
        tiers[0].step(rule, Step::Reset).await.unwrap();
    }
}

#[tokio::test]
async fn a_step_takes_the_budget_at_most() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port());
    let one = warm_tier(&proxy.url()).await;
    let rule = rule(Algorithm::Gcra, 3);
    one.step(rule, Step::Take(1)).await.unwrap();
    proxy.set(Mode::BlackHole);
    let asked = Instant::now();
    let answer = one.step(rule, Step::Take(1)).await;
    assert!(matches!(answer, Err(Error::Timeout { budget: BUDGET })), "{answer:?}");
    assert!(asked.elapsed() >= BUDGET);
    // And soon none of it.
    until(async || one.step(rule, Step::Take(1)).await.is_err() && !one.is_usable()).await;
    assert!(matches!(one.step(rule, Step::Take(1)).await, Err(Error::Unavailable)));
    proxy.set(Mode::Pass);
    until(async || one.step(rule, Step::Take(0)).await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_refuses() {
    let server = RedisServer::start();
    let one = warm_tier(&server.url()).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let rule = rule(Algorithm::Gcra, 3);
    assert!(matches!(one.step(rule, Step::Take(1)).await, Err(Error::Refused)));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(one.may(rule).await);
}

#[tokio::test]
async fn a_clear_leaves_the_limits() {
    let server = RedisServer::start();
    let one = warm_tier(&server.url()).await;
    let rule = rule(Algorithm::Gcra, 1);
    assert!(one.may(rule).await);
    one.clear().await.unwrap();
    assert!(!one.may(rule).await);
}
