use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::wait;
use crate::redis::free_port;

const RULES: &str = include_str!("../../../../dashboards/alerts.yml");

/// A server that runs until it is dropped.
pub(super) struct Prometheus {
    port: u16,
    folder: PathBuf,
    /// A shell that ends the server with its own input, also where this process was killed.
    shell: Child,
}

impl Prometheus {
    /// Looks twice a second, by rules in which a minute is a second.
    pub(super) fn start(scraped: u16) -> Self {
        let port = free_port();
        let folder = env::temp_dir().join(format!("prometheus-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("alerts.yml"), hurried(RULES)).unwrap();
        fs::write(folder.join("prometheus.yml"), configuration(scraped)).unwrap();
        let prometheus = Self { shell: start(port, &folder), port, folder };
        wait(
            "prometheus does not start; is it installed? `scripts/test-alerts` sees to it",
            || prometheus.get("/-/ready").is_ok_and(|(status, _)| status.contains(" 200 ")),
        );
        prometheus
    }

    /// Of an alert: `inactive`, `pending` or `firing`.
    pub(super) fn state(&self, alert: &str) -> String {
        let rules = self.ask("/api/v1/rules?type=alert");
        let groups = rules["groups"].as_array().unwrap().iter();
        let mut rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let rule = rules.find(|rule| rule["name"] == alert).unwrap();
        assert_eq!(rule["lastError"], Value::Null, "{alert}");
        rule["state"].as_str().unwrap().to_owned()
    }

    /// Whether there is any series that the query finds.
    pub(super) fn finds(&self, query: &str) -> bool {
        let found = self.ask(&format!("/api/v1/query?query={}", escaped(query)));
        !found["result"].as_array().unwrap().is_empty()
    }

    fn ask(&self, path: &str) -> Value {
        let (_, body) = self.get(path).unwrap();
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {body}");
        answer["data"].take()
    }

    /// The status and what comes with it.
    fn get(&self, path: &str) -> io::Result<(String, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        // In this version an answer ends with the connection, and is in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        // What is left in the directory of temporary files does not fail a test.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start(port: u16, folder: &Path) -> Child {
    let script = r#"prometheus "$@" >prometheus.log 2>&1 </dev/null & cat >/dev/null; kill -9 $!"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn configuration(scraped: u16) -> String {
    format!(
        "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: observe
    static_configs: [targets: ['127.0.0.1:{scraped}']]
"
    )
}

/// With seconds for minutes, and minutes for hours: in ranges, offsets and what an alert waits.
fn hurried(rules: &str) -> String {
    let mut hurried = String::new();
    let mut rest = rules;
    while let Some(digit) = rest.find(|at: char| at.is_ascii_digit()) {
        let (before, number) = rest.split_at(digit);
        let end = number.find(|at: char| !at.is_ascii_digit()).unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        let is_time = ["[", "offset ", "for: "].iter().any(|begin| before.ends_with(begin));
        let unit = after.chars().next().filter(|unit| is_time && "mh".contains(*unit));
        hurried.extend([before, number]);
        rest = after;
        if let Some(unit) = unit {
            hurried.push(if unit == 'm' { 's' } else { 'm' });
            rest = &after[1..];
        }
    }
    hurried + rest
}

/// For an address.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
