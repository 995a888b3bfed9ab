//! What stands at the key of a limit, and for how long.

use super::*;

impl Entry {
    /// A step, by the server's clock.
    pub(super) fn step(&mut self, rule: Rule, step: Step) -> Limited {
        let key = self.key.clone();
        let body = call(&key, rule, step, |command| command.cmd("EVAL", command.script().body));
        said(rule, step, body.query(&mut self.connection).unwrap()).limited
    }

    fn take(&mut self, rule: Rule, cost: u32) -> Verdict {
        self.step(rule, Step::Take(cost)).verdict
    }
}

#[test]
fn a_key_goes_when_nothing_of_it_counts_any_more() {
    for algorithm in ALGORITHMS {
        let mut entry = Entry::new();
        let rule = rule(algorithm, 1, 150_000);
        let limited = entry.step(rule, Step::Take(1));
        assert_eq!(limited.verdict, Verdict::Allowed);
        let left = u128::try_from(entry.left()).unwrap();
        assert!(left <= limited.reset_after.as_millis() + 1, "{left} {limited:?}");
        let asked = std::time::Instant::now();
        while entry.type_of() != "none" {
            assert!(asked.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(entry.take(rule, 1), Verdict::Allowed);
    }
}

#[test]
fn who_is_denied_and_who_asks_for_nothing_changes_nothing() {
    for algorithm in ALGORITHMS {
        let mut entry = Entry::new();
        let rule = rule(algorithm, 2, HOUR);
        assert_eq!(entry.take(rule, 0), Verdict::Allowed);
        assert_eq!(entry.take(rule, 3), Verdict::Never);
        assert_eq!(entry.step(rule, Step::Refund(5)).remaining, 2);
        assert_eq!(entry.get(), None, "no key for what was not taken");
        entry.take(rule, 2);
        let key = entry.key.clone();
        let look = |entry: &mut Entry| {
            (entry.get(), entry.redis::<i64>(&[b"PEXPIRETIME", key.as_bytes()]))
        };
        let before = look(&mut entry);
        for cost in [0, 1, 2, 3, u32::MAX] {
            entry.take(rule, cost);
        }
        assert_eq!(look(&mut entry), before);
    }
}

#[test]
fn what_was_not_used_comes_back_and_no_more() {
    for algorithm in ALGORITHMS {
        let mut entry = Entry::new();
        let rule = rule(algorithm, 10, 24 * HOUR);
        entry.take(rule, 8);
        assert_eq!(entry.step(rule, Step::Refund(5)).remaining, 7);
        assert_eq!(entry.step(rule, Step::Refund(u32::MAX)).remaining, 10);
        assert_eq!(entry.get(), None);
        entry.take(rule, 10);
        assert_eq!(entry.step(rule, Step::Reset).remaining, 10);
        assert_eq!(entry.get(), None);
    }
}

#[test]
fn a_server_without_room_refuses_a_step_that_it_would_have_to_keep() {
    let server = RedisServer::start_with(&["--maxmemory", "1"]);
    let mut connection = server.connect();
    for algorithm in ALGORITHMS {
        let rule = rule(algorithm, 10, HOUR);
        let mut step = |step| -> redis::RedisResult<Value> {
            let body =
                call("key", rule, step, |command| command.cmd("EVAL", command.script().body));
            body.query(&mut connection)
        };
        assert_eq!(step(Step::Take(1)).unwrap_err().code(), Some("OOM"));
        for other in [Step::Take(0), Step::Take(11), Step::Refund(1), Step::Reset] {
            let reply = step(other).unwrap();
            assert_eq!(said(rule, other, reply).limited.remaining, 10);
        }
    }
}
