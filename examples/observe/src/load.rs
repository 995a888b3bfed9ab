//! Those who use the service, and what goes wrong.

use std::{future::pending, io, sync::Arc, thread, time::Duration};

use larder::Cache;
use tokio::{
    sync::{Semaphore, watch},
    task,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::instrument;

use crate::service::{HANGS, mail, price, rename, report, search, user};

/// So many requests in each hundredth of a second.
const AT_ONCE: usize = 5;

/// More than so many are not under way at once: the rest is turned away.
const MOST: usize = 1000;

const USERS: u64 = 300;

/// What goes wrong, until something else is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Calm,
    /// The database does not answer.
    Hang,
    /// Prices are invalidated faster than they can be read.
    Race,
    /// Something clears the cache again and again.
    Clear,
}

impl Trouble {
    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "calm" => Some(Self::Calm),
            "hang" => Some(Self::Hang),
            "race" => Some(Self::Race),
            "clear" => Some(Self::Clear),
            _ => None,
        }
    }
}

/// Reads what goes wrong, a word in a line.
pub(crate) fn typed() -> watch::Receiver<Trouble> {
    let (trouble, typed) = watch::channel(Trouble::Calm);
    // Not a task: the program could not end while it reads.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if let Some(new) = Trouble::parse(&line) {
                let _ = trouble.send(new);
            }
        }
    });
    typed
}

/// Uses the service, and disturbs it as `typed` says, until that ends with the input.
pub(crate) async fn run(mut typed: watch::Receiver<Trouble>) {
    let users = task::spawn(use_it());
    loop {
        let trouble = *typed.borrow_and_update();
        HANGS.send_replace(trouble == Trouble::Hang);
        tokio::select! {
            changed = typed.changed() => if changed.is_err() { break },
            () = disturb(trouble) => {}
        }
    }
    users.abort();
    // Or what it is asked for now would never end.
    HANGS.send_replace(false);
}

async fn disturb(trouble: Trouble) {
    match trouble {
        Trouble::Calm | Trouble::Hang => pending().await,
        Trouble::Race => {
            let _ = Cache::current().invalidate_tag("prices").await;
            sleep(Duration::from_millis(2)).await;
        }
        Trouble::Clear => {
            let _ = Cache::current().clear().await;
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn use_it() {
    let room = Arc::new(Semaphore::new(MOST));
    let mut tick = interval(Duration::from_millis(10));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        for _ in 0..AT_ONCE {
            if let Ok(room) = Arc::clone(&room).try_acquire_owned() {
                task::spawn(async move {
                    request(fastrand::u64(..100)).await;
                    drop(room);
                });
            }
        }
    }
}

/// A request of this kind, of a hundred.
#[instrument]
pub(crate) async fn request(kind: u64) {
    match kind {
        0 => drop(rename(popular(USERS)).await),
        1..10 => drop(search(popular(10)).await),
        10..15 => drop(mail().await),
        15..20 => drop(report(popular(3)).await),
        20..40 => drop(price(popular(50)).await),
        _ => drop(user(popular(USERS)).await),
    }
}

/// One of so many, of which the first are asked for most.
fn popular(count: u64) -> u64 {
    let chance = fastrand::f64().powi(3);
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is less than `count`"
    )]
    let popular = (chance * count as f64) as u64;
    popular
}
