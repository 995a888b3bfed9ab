use hyper::StatusCode;
use serde_json::json;

use crate::common::{Answer, Client, Shop, on_all_backends};

on_all_backends!(
    who_has_the_password_is_logged_in,
    a_wrong_password_and_an_unknown_address_are_told_the_same,
    the_sixth_in_a_minute_is_told_when_to_try_again,
    an_address_in_other_letters_is_the_same_address,
);

async fn who_has_the_password_is_logged_in(shop: &mut Shop) {
    let answer = log_in(shop, "Customer9@Example.com", "larder").await;
    assert_eq!(answer.status, StatusCode::OK);
    let customer = answer.json().unwrap();
    assert_eq!((&customer["id"], &customer["email"]), (&json!(9), &json!("customer9@example.com")));
    assert!(!String::from_utf8_lossy(&answer.body).contains("argon2"));
}

async fn a_wrong_password_and_an_unknown_address_are_told_the_same(shop: &mut Shop) {
    let wrong = log_in(shop, "customer9@example.com", "guessed").await;
    let unknown = log_in(shop, "nobody@example.com", "guessed").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
}

async fn the_sixth_in_a_minute_is_told_when_to_try_again(shop: &mut Shop) {
    // Nobody has this address, so that no password is checked, which takes its time.
    let answers = six_at_once(shop, ["guest@example.com"; 6]).await;
    let (denied, others): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert!(others.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED), "{others:?}");
    let [denied] = &denied[..] else { panic!("{denied:?}") };
    let header = |name: &str| denied.headers[name].to_str().unwrap();
    let seconds: u64 = header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(header("ratelimit").contains("r=0"), "{}", header("ratelimit"));
    assert!(header("ratelimit-policy").contains("q=5;w=60"), "{}", header("ratelimit-policy"));
    // Another address has attempts of its own.
    let other = log_in(shop, "somebody@example.com", "guessed").await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED);
}

async fn an_address_in_other_letters_is_the_same_address(shop: &mut Shop) {
    let addresses =
        ["a@b.example", "A@b.example", "a@B.example", "A@B.example", "A@b.Example", "a@b.EXAMPLE"];
    let answers = six_at_once(shop, addresses).await;
    let denied = answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(denied.count(), 1);
}

async fn log_in(shop: &Shop, email: &str, password: &str) -> Answer {
    shop.post("/login", json!({ "email": email, "password": password })).await
}

async fn six_at_once(shop: &Shop, emails: [&'static str; 6]) -> Vec<Answer> {
    let address = shop.service.address;
    let asked = emails.map(|email| {
        tokio::spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            let body = json!({ "email": email, "password": "guessed" });
            client.ask(hyper::Method::POST, "/login", Some(&body)).await.unwrap()
        })
    });
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    answers
}
