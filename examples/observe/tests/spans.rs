//! Spans nest in OpenTelemetry as they do in `tracing`: what a function does is in the request that has called
//! it, with nothing but spans of larder between.

use std::process::{Command, Stdio};

/// As the exporter prints it.
#[derive(Debug)]
struct Span {
    name: String,
    id: String,
    parent: String,
}

#[test]
fn what_a_function_does_is_in_the_request_that_called_it() {
    let spans = exported();
    let path = path(&spans, named(&spans, "select"));
    let ["first", between @ .., "select"] = path.as_slice() else {
        panic!("{path:?}");
    };
    assert!(between.iter().all(|name| name.starts_with("larder")), "{path:?}");
}

#[test]
fn a_hit_has_no_span() {
    let spans = exported();
    let second = named(&spans, "second");
    assert!(spans.iter().all(|span| span.parent != second.id));
}

/// What the example prints.
fn exported() -> Vec<Span> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-observe"));
    let output = command.arg("--otel").env("LARDER_URL", "").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let spans = output.split("Span #").skip(1);
    let read = |span: &str| Span {
        name: field(span, "\n\tName"),
        id: field(span, "\n\tSpanId"),
        parent: field(span, "\n\tParentSpanId"),
    };
    spans.map(read).collect()
}

fn field(span: &str, name: &str) -> String {
    let (_, after) = span.split_once(name).unwrap();
    let (_, value) = after.split_once(':').unwrap();
    value.lines().next().unwrap().trim().to_owned()
}

/// The first that ended.
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap()
}

/// From the outermost to it.
fn path<'a>(spans: &'a [Span], span: &'a Span) -> Vec<&'a str> {
    let parent = spans.iter().find(|other| other.id == span.parent);
    let mut path = parent.map_or_else(Vec::new, |parent| path(spans, parent));
    path.push(&span.name);
    path
}
