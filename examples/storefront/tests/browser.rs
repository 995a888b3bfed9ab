//! The live page in a real browser, over the real service.

#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/picture.rs"]
mod picture;
#[path = "common/service.rs"]
#[allow(dead_code)]
mod service;

use std::{env, fs};

use driver::Page;
use serde_json::{Value, json};
use service::Service;

/// With PostgreSQL and Redis.
const SERVERS: [&str; 5] = ["--port", "0", "--servers", "--products", "1000"];

/// On SQLite and memory.
const ALONE: [&str; 2] = ["--port", "0"];

/// How the tests read the page.
const READERS: &str = include_str!("browser/readers.js");

/// The page of a service, which has answered it.
async fn open(service: &Service) -> Page {
    let page = Page::open(&format!("http://{}", service.address)).await;
    page.run(READERS).await;
    page.until("is('link', 'live')").await;
    page
}

/// What is noted of it, as soon as all that it counts is shown.
async fn send_a_thousand(page: &Page) -> String {
    let noted = page.run("return notes().length").await;
    page.click("#send").await;
    page.until(&format!("notes().length > {noted}")).await;
    page.run("window.counted = await live()").await;
    page.until("number('requests-total') >= counted.requests").await;
    let note = page.run("return notes().at(-1)").await;
    note.as_str().expect("a text").to_owned()
}

/// Clicks on it, and waits for what is noted.
async fn click(page: &Page, button: &str, note: &str) {
    page.click(button).await;
    page.until(&format!("notes().at(-1) === {note:?}")).await;
}

/// Nothing failed but checkouts, perhaps: their lock is in a Redis that may be away, or slow on a busy machine.
fn everybody_read(note: &str) {
    let failed = note.rsplit_once(" ms, ").expect("times").1;
    let checkouts = failed.split_once(" failed, of which ").map(|(failed, _)| failed);
    let is_read = failed == "0 failed"
        || checkouts.is_some_and(|count| failed.contains(&format!("which {count} checkouts,")));
    assert!(is_read, "{note}");
}

/// Nothing went wrong in the scripts, and nothing of what is shown is none.
async fn is_sound(page: &Page) {
    assert_eq!(page.errors().await, Vec::<Value>::new());
    let text = page.text("body").await;
    for none in ["NaN", "undefined", "null", "Infinity", "[object"] {
        assert!(!text.contains(none), "{none} in {text}");
    }
}

#[tokio::test]
async fn each_function_is_shown_with_its_policy_and_why() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    let functions = page.run("return (await live()).functions").await;
    let rows = page.run("return rows()").await;
    let (functions, rows) = (functions.as_array().expect("some"), rows.as_array().expect("some"));
    assert!(functions.len() >= 12, "{functions:?}");
    assert_eq!(rows.len(), functions.len());
    for (row, function) in rows.iter().zip(functions) {
        let row = row.as_str().expect("a text");
        for part in ["name", "policy", "why"] {
            let part = function[part].as_str().expect("a text");
            assert!(row.contains(part), "{part} in {row}");
        }
    }
    is_sound(&page).await;
}

#[tokio::test]
async fn what_is_not_cached_says_why() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    send_a_thousand(&page).await;
    let row = page.text("#functions tr.uncached").await;
    assert!(row.starts_with("stock"), "{row}");
    assert!(row.contains("not cached"), "{row}");
    assert!(row.contains("A number that is a second old sells what is not there"), "{row}");
    is_sound(&page).await;
}

#[tokio::test]
async fn a_thousand_requests_move_the_numbers() {
    let service = Service::start(&SERVERS, "", "");
    let page = open(&service).await;
    assert_eq!(page.text("#hit-rate").await, "–");
    let note = send_a_thousand(&page).await;
    assert!(note.starts_with("1,000 requests: "), "{note}");
    everybody_read(&note);
    let counts = "return [count('all', 'memory'), count('all', 'runs'), number('spared')]";
    let first = page.run(counts).await;
    send_a_thousand(&page).await;
    let second = page.run(counts).await;
    for at in 0..3 {
        assert!(second[at].as_u64() > first[at].as_u64(), "{first} and then {second}");
    }
    assert!(page.text("#locks").await.contains("checkout:{}"));
    let unknown = "return (await live()).functions.filter(one => one.is_cached && !one.counted)";
    assert_eq!(page.run(unknown).await, json!([]), "the cache knows no such functions");

    // What is shown of the last seconds, while there is something.
    page.click("#keep-on").await;
    page.until("parseFloat(document.getElementById('hit-rate').textContent) > 0").await;
    page.until("number('requests') > 0 && number('queries') > 0").await;
    page.until("document.getElementById('requests-line').getAttribute('d').includes('L')").await;
    is_sound(&page).await;
}

/// In memory, as a Redis that is too slow on a busy machine is done without, and that is no hit.
#[tokio::test]
async fn a_thousand_requests_raise_the_hit_rate() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    send_a_thousand(&page).await;
    let first = page.run("return hitRate('all')").await;
    send_a_thousand(&page).await;
    let second = page.run("return hitRate('all')").await;
    assert!(first.as_f64() > Some(0.0) && second.as_f64() > first.as_f64(), "{first}, {second}");
    is_sound(&page).await;
}

#[tokio::test]
async fn what_is_invalidated_is_missed_and_run_again() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    send_a_thousand(&page).await;
    // Kept for an hour, and so nothing but a person makes it run again.
    let counts = "return [count('categories', 'misses'), count('categories', 'runs')]";
    let first = page.run(counts).await;
    send_a_thousand(&page).await;
    assert_eq!(page.run(counts).await, first);

    click(&page, "#invalidate-all", "cleared").await;
    send_a_thousand(&page).await;
    let second = page.run(counts).await;
    for at in 0..2 {
        assert!(second[at].as_u64() > first[at].as_u64(), "{first} and then {second}");
    }
    click(&page, "#invalidate-key button", "invalidated product:1").await;
    click(&page, "#invalidate-tag button", "invalidated the tag category:1").await;
    is_sound(&page).await;
}

#[tokio::test]
async fn redis_that_is_stopped_is_seen_and_everybody_reads_on() {
    let service = Service::start(&SERVERS, "", "");
    let page = open(&service).await;
    send_a_thousand(&page).await;
    page.until("is('redis', 'connected')").await;

    click(&page, "[data-redis=stop]", "Redis is stopped").await;
    page.until("is('redis', 'stopped')").await;
    let note = send_a_thousand(&page).await;
    everybody_read(&note);

    click(&page, "[data-redis=start]", "Redis runs").await;
    page.until("is('redis', 'connected')").await;
    everybody_read(&send_a_thousand(&page).await);
    is_sound(&page).await;
}

#[tokio::test]
async fn redis_that_is_not_there_has_no_buttons() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    page.until("is('redis', 'not used')").await;
    page.until("document.querySelector('[data-redis=stop]').matches(':disabled')").await;
    assert!(page.text("#redis-hint").await.contains("--servers"));
    is_sound(&page).await;
}

#[tokio::test]
async fn who_tries_too_many_passwords_is_counted() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    page.click("#log-in").await;
    page.until("document.querySelector('#limits .denied')?.textContent === '1'").await;
    page.until("notes().some(note => note.includes('1 × “too many attempts”'))").await;
    let row = page.text("#limits tbody").await;
    assert!(row.starts_with("login:{}"), "{row}");
}

#[tokio::test]
async fn a_service_that_is_away_is_waited_for() {
    let service = Service::start(&ALONE, "", "");
    let page = open(&service).await;
    service.freeze();
    page.until("document.getElementById('link').textContent.startsWith('The service is away')")
        .await;
    service.thaw();
    page.until("is('link', 'live')").await;
    send_a_thousand(&page).await;
    is_sound(&page).await;
}

/// `STOREFRONT_SCREENSHOT=docs/storefront.png` draws what a README shows; `STOREFRONT_COLOURS=dark`, in the dark.
#[tokio::test]
async fn the_page_is_a_picture() {
    let Some(path) = env::var_os("STOREFRONT_SCREENSHOT") else { return };
    let service = Service::start(&SERVERS, "", "");
    let page = open(&service).await;
    let colours = env::var("STOREFRONT_COLOURS").unwrap_or_else(|_| "light".to_owned());
    page.colour(&colours).await;
    for _ in 0..3 {
        send_a_thousand(&page).await;
    }
    page.click("#log-in").await;
    page.until("notes().length > 3").await;
    page.click("#keep-on").await;
    // The chart is of a minute.
    page.until("number('requests-total') >= 9000").await;
    click(&page, "#invalidate-all", "cleared").await;
    page.until("number('requests-total') >= 12000").await;
    click(&page, "#invalidate-tag button", "invalidated the tag category:1").await;
    page.until("number('requests-total') >= 13000").await;
    page.resize_to_all().await;
    fs::write(path, picture::packed(page.picture().await)).expect("the picture is written");
}
