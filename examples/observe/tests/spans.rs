//! The example's spans, as OpenTelemetry prints them.

use std::{collections::BTreeMap, process::Command};

/// A span as it is printed, by the names of its lines.
type Printed = BTreeMap<String, String>;

/// Input: `Span #0`, and below it `Name : user` and more, and attributes as `-> outcome: String(…)`.
fn printed(text: &str) -> Vec<Printed> {
    let mut spans: Vec<Printed> = Vec::new();
    let mut of = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with("Span #") {
            spans.push(Printed::new());
            of = "";
        }
        match line {
            "Links:" => of = "link of ",
            "Events:" => of = "event of ",
            "Instrumentation Scope" => of = "scope of ",
            "" => of = "",
            _ => {}
        }
        let line = line.trim_start_matches("->");
        if let (Some(span), Some((name, value))) = (spans.last_mut(), line.split_once(':')) {
            span.insert(format!("{of}{}", name.trim()), value.trim().to_owned());
        }
    }
    spans
}

fn named<'a>(spans: &'a [Printed], name: &str) -> Vec<&'a Printed> {
    spans.iter().filter(|span| span["Name"] == name).collect()
}

/// The names of the spans around the span, from the inside.
fn around<'a>(spans: &'a [Printed], span: &Printed) -> Vec<&'a str> {
    let parent = spans.iter().find(|parent| parent["SpanId"] == span["ParentSpanId"]);
    let Some(parent) = parent else {
        return Vec::new();
    };
    assert_eq!(parent["TraceId"], span["TraceId"]);
    let mut names = vec![&*parent["Name"]];
    names.extend(around(spans, parent));
    names
}

#[test]
fn calls_are_in_their_requests_and_queries_in_their_calls() {
    let mut example = Command::new(env!("CARGO_BIN_EXE_example-observe"));
    let output = example.arg("--otel").env("LARDER_URL", "").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let spans = printed(&text);

    let users: Vec<_> = named(&spans, "larder.call")
        .into_iter()
        .filter(|call| call["function"].contains("service::user"))
        .collect();
    assert_eq!(users.len(), 1, "the second request had it from memory: {text}");
    assert!(users[0]["outcome"].contains("function"));
    assert_eq!(around(&spans, users[0]), ["first"]);
    for name in ["first", "second", "change", "outdated"] {
        assert_eq!(named(&spans, name).len(), 1, "{name}: {text}");
    }
    let queries = named(&spans, "select");
    assert_eq!(around(&spans, queries[0]), ["larder.call", "first"]);

    let runs = named(&spans, "larder.run");
    assert_eq!(runs.len(), 1, "{text}");
    assert!(runs[0]["why"].contains("refresh"));
    assert_eq!(around(&spans, runs[0]), ["outdated"]);
    let call = spans.iter().find(|call| call["SpanId"] == runs[0]["link of SpanId"]).unwrap();
    assert_eq!(call["Name"], "larder.call");
    assert!(call["outcome"].contains("stale"));
    assert_eq!(call["event of Name"], "a stale value is served");
    let refreshes = queries.iter().filter(|query| query["ParentSpanId"] == runs[0]["SpanId"]);
    assert_eq!(refreshes.count(), 1);
}
