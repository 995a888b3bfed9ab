//! What the dashboard and the alerts ask for is what is published: every name, and every label.

#![cfg(feature = "metrics")]

use std::{collections::BTreeSet, iter};

use larder::__private::{Kind, METRICS, Metric};
use serde_json::Value;

const DASHBOARD: &str = include_str!("../dashboards/grafana.json");
const ALERTS: &str = include_str!("../dashboards/alerts.yml");

/// What Prometheus adds to what it scrapes.
const ADDED: [&str; 2] = ["job", "instance"];

/// What a function of a query makes of a counter or a bucket.
const RATES: [&str; 2] = ["rate(", "increase("];

#[test]
fn every_query_of_the_dashboard_asks_for_what_is_published() {
    for query in dashboard().panels.iter().flat_map(|panel| &panel.queries) {
        query.check();
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = dashboard();
    let queries = dashboard.panels.iter().flat_map(|panel| &panel.queries);
    let shown: BTreeSet<_> =
        queries.flat_map(Query::selectors).map(|selector| selector.metric().name).collect();
    let published: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, published);
}

#[test]
fn every_panel_reads_the_source_that_is_chosen_and_says_what_it_shows() {
    for Panel { title, description, datasource, .. } in dashboard().panels {
        assert_eq!(datasource, "${datasource}", "{title}");
        assert!(!description.is_empty(), "{title}");
    }
}

#[test]
fn panels_do_not_overlap() {
    let mut taken = BTreeSet::new();
    for Panel { title, area: [left, top, width, height], .. } in dashboard().panels {
        assert!(left + width <= 24, "{title} is beyond the right edge");
        for row in top..top + height {
            for column in left..left + width {
                assert!(taken.insert((row, column)), "{title} covers another one");
            }
        }
    }
}

#[test]
fn every_variable_of_a_query_is_one_of_the_dashboard() {
    let dashboard = dashboard();
    for query in dashboard.panels.iter().flat_map(|panel| &panel.queries) {
        for variable in names_after(&query.text, "$") {
            let is_known = dashboard.variables.iter().any(|(name, _)| *name == variable);
            assert!(is_known || variable == "__rate_interval", "{variable} in {}", query.text);
        }
    }
}

#[test]
fn a_variable_lists_what_a_published_label_has() {
    for (name, text) in dashboard().variables {
        let Some(inside) = text.strip_prefix("label_values(") else {
            assert_eq!((name.as_str(), text.as_str()), ("datasource", "prometheus"));
            continue;
        };
        let (selected, label) = inside.trim_end_matches(')').rsplit_once(", ").unwrap();
        assert_eq!(label, name);
        let query = Query { text: selected.to_owned(), said: Vec::new() };
        for selector in query.selectors() {
            selector.check();
            assert!(selector.has(label), "{text}");
        }
    }
}

#[test]
fn every_rule_asks_for_what_is_published_or_recorded() {
    let rules = rules();
    for rule in &rules {
        rule.query.check();
        for recorded in names(&rule.query.text).filter(|name| name.contains(':')) {
            assert!(rules.iter().any(|rule| rule.name == recorded), "{recorded} is not recorded");
        }
    }
}

#[test]
fn every_alert_waits_and_says_how_bad_it_is_what_it_means_and_what_to_do() {
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.is_alert).collect();
    assert_eq!(alerts.len(), 6);
    for Rule { name, text, .. } in alerts {
        for part in ["for: ", "severity: ", "summary: ", "description: "] {
            assert_eq!(text.matches(part).count(), 1, "{part}of {name}");
        }
        let severity = text.split_once("severity: ").unwrap().1.lines().next().unwrap();
        assert!(["warning", "critical"].contains(&severity), "{name}");
    }
}

#[test]
fn every_alert_is_tested() {
    let tests = include_str!("../dashboards/alerts.test.yml");
    for rule in rules().iter().filter(|rule| rule.is_alert) {
        let test = format!("- alertname: {}\n", rule.name);
        assert!(tests.contains(&test), "{}", rule.name);
    }
}

struct Dashboard {
    panels: Vec<Panel>,
    /// Each with what it lists.
    variables: Vec<(String, String)>,
}

struct Panel {
    title: String,
    description: String,
    datasource: String,
    queries: Vec<Query>,
    /// From the left and the top, its width and its height.
    area: [u64; 4],
}

/// A query, with the labels that what it finds is described with.
struct Query {
    text: String,
    said: Vec<String>,
}

struct Rule {
    name: String,
    is_alert: bool,
    text: String,
    query: Query,
}

fn dashboard() -> Dashboard {
    let read: Value = serde_json::from_str(DASHBOARD).unwrap();
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let panels = list(&read["panels"]).into_iter().filter(|panel| panel["type"] != "row");
    let query = |target: Value| Query {
        text: text(&target, "expr"),
        said: names_after(&text(&target, "legendFormat"), "{{"),
    };
    Dashboard {
        panels: panels
            .map(|panel| Panel {
                title: text(&panel, "title"),
                description: text(&panel, "description"),
                datasource: text(&panel["datasource"], "uid"),
                queries: list(&panel["targets"]).into_iter().map(query).collect(),
                area: ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap()),
            })
            .collect(),
        variables: list(&read["templating"]["list"])
            .iter()
            .map(|variable| {
                let listed = variable["query"].as_str().map(str::to_owned);
                (text(variable, "name"), listed.unwrap_or_else(|| text(variable, "definition")))
            })
            .collect(),
    }
}

/// By their indentation: what is no YAML at all, `promtool` finds.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in ALERTS.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let begins = line.trim_start().strip_prefix("- ").and_then(|begun| begun.split_once(": "));
        match begins {
            Some((kind @ ("alert" | "record"), name)) => rules.push(Rule {
                name: name.to_owned(),
                is_alert: kind == "alert",
                text: String::new(),
                query: Query { text: String::new(), said: Vec::new() },
            }),
            _ => {
                if let Some(rule) = rules.last_mut() {
                    rule.text.extend([line, "\n"]);
                }
            }
        }
    }
    for rule in &mut rules {
        let (_, after) = rule.text.split_once("expr: ").unwrap();
        let mut lines = after.lines();
        let first = lines.next().unwrap().trim_matches('|');
        let others = lines.take_while(|line| line.starts_with("          "));
        rule.query.text = iter::once(first).chain(others).collect::<Vec<_>>().join("\n");
        rule.query.said = names_after(&rule.text, "$labels.");
    }
    rules
}

impl Query {
    fn check(&self) {
        let selectors = self.selectors();
        for selector in &selectors {
            selector.check();
            let is_gauge = matches!(selector.metric().kind, Kind::Gauge | Kind::Greatest);
            assert_ne!(selector.is_rate, is_gauge, "{} in {}", selector.name, self.text);
        }
        let recorded = self.text.contains(':');
        assert!(recorded || !selectors.is_empty(), "it asks for nothing: {}", self.text);
        let kept = self.grouped();
        for label in &kept {
            let has = selectors.iter().any(|selector| selector.has(label));
            assert!(has, "{label} in {}", self.text);
        }
        for label in &self.said {
            let has = selectors.iter().any(|selector| selector.has(label));
            let is_kept = kept.is_empty() || kept.contains(label);
            // What is recorded has the labels that it was grouped by.
            let is_known = if recorded { label == "function" } else { has && is_kept };
            assert!(is_known, "{label} is said of {}", self.text);
        }
    }

    /// By what it is summed up.
    fn grouped(&self) -> Vec<String> {
        let groups = self.text.split(" by (").skip(1);
        let labels = groups.flat_map(|group| group.split(')').next().unwrap_or("").split(','));
        labels.map(|label| label.trim().to_owned()).collect()
    }

    fn selectors(&self) -> Vec<Selector> {
        let text = &self.text;
        let begins = text.match_indices("larder_").map(|(at, _)| at);
        begins.map(|at| Selector::read(&text[..at], &text[at..])).collect()
    }
}

/// `rate(larder_cache_hits_total{tier="redis"}[5m])`.
struct Selector {
    name: String,
    labels: Vec<String>,
    is_rate: bool,
}

impl Selector {
    fn read(before: &str, text: &str) -> Self {
        let name: String = text.chars().take_while(|at| is_of_a_name(*at)).collect();
        let after = &text[name.len()..];
        let matchers = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let matchers = matchers.map_or("", |(inside, _)| inside);
        let label =
            |matcher: &str| matcher.split(['=', '!']).next().map(str::trim).map(str::to_owned);
        Self {
            name,
            labels: matchers.split(',').filter(|one| !one.is_empty()).filter_map(label).collect(),
            is_rate: RATES.iter().any(|rate| before.ends_with(rate)),
        }
    }

    /// The part of a histogram that it asks for.
    fn part(&self) -> Option<(&str, &'static Metric)> {
        let (name, part) = self.name.rsplit_once('_')?;
        let metric = METRICS.iter().find(|metric| metric.name == name)?;
        let is_part = metric.kind == Kind::Histogram && ["bucket", "sum", "count"].contains(&part);
        is_part.then_some((part, metric))
    }

    fn metric(&self) -> &'static Metric {
        let whole = METRICS.iter().copied().find(|metric| metric.name == self.name);
        let metric = whole.or(self.part().map(|(_, metric)| metric));
        metric.unwrap_or_else(|| panic!("{} is not published", self.name))
    }

    fn has(&self, label: &str) -> bool {
        let is_bucket = matches!(self.part(), Some(("bucket", _)));
        self.metric().labels.contains(&label)
            || ADDED.contains(&label)
            || is_bucket && label == "le"
    }

    fn check(&self) {
        for label in &self.labels {
            assert!(self.has(label), "{} has no {label}", self.name);
        }
        let is_histogram = self.metric().kind == Kind::Histogram;
        assert_eq!(is_histogram, self.part().is_some(), "{} is a histogram", self.name);
    }
}

fn is_of_a_name(at: char) -> bool {
    at.is_ascii_alphanumeric() || at == '_' || at == ':'
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|at| !is_of_a_name(at)).filter(|name| !name.is_empty())
}

/// `{{function}}`, `$labels.function`, `$function`.
fn names_after(text: &str, before: &str) -> Vec<String> {
    let after = text.split(before).skip(1);
    after.filter_map(|rest| names(rest).next().map(str::to_owned)).collect()
}
