//! larder with tags and a URL.

use std::convert::Infallible;
use std::time::Duration;

use larder::{Cache, Source};
use tokio::time::sleep;

use super::{Filler, Group, Tier, service, url};
use crate::contestants::Calls;
use crate::values::{Profile, load};

pub struct Untagged;

/// The very same.
pub struct Again;

pub struct One;

pub struct Three;

pub struct Eight;

/// The stamps of the tags are read with each value.
pub struct OneStrict;

pub struct ThreeStrict;

pub struct EightStrict;

/// Entries that have one tag, which is the same for all of them.
pub struct Grouped;

/// The same without.
pub struct Ungrouped;

/// Of a process that hears what others change: what is known here of tags counts then, and nothing
/// does before.
async fn set_up() {
    // callgrind is slower than any server.
    let builder = Cache::builder(service()).redis(url()).redis_budget(Duration::from_secs(5));
    builder.unproven(Duration::ZERO).build().unwrap().install().unwrap();
    while !matches!(here().with_source().await, (_, Source::Memory { .. })) {
        sleep(Duration::from_millis(10)).await;
    }
}

#[larder::cached(ttl = 3600, key = "here")]
async fn here() -> u64 {
    0
}

macro_rules! tiers {
    ($($type:ident: $name:literal;)*) => {$(
        impl Tier for $type {
            const NAME: &'static str = $name;

            async fn set_up() {
                set_up().await;
            }
        }
    )*};
}
tiers! {
    Untagged: "larder, no tags";
    Again: "larder, no tags, again";
    One: "larder, 1 tag";
    Three: "larder, 3 tags";
    Eight: "larder, 8 tags";
    OneStrict: "larder, 1 tag, tags_strict";
    ThreeStrict: "larder, 3 tags, tags_strict";
    EightStrict: "larder, 8 tags, tags_strict";
}

/// An error for each of them, as in memory.
#[derive(Clone)]
enum Never<const TAGS: usize, const IS_STRICT: bool> {}

#[larder::cached(ttl = 3600, local = false, key = "user:{id}")]
async fn untagged(id: u64) -> Result<Profile, Never<0, false>> {
    Ok(load(id).await)
}

#[larder::cached(ttl = 3600, local = false, key = "user:{id}", tags("of:{id}"))]
async fn one(id: u64) -> Result<Profile, Never<1, false>> {
    Ok(load(id).await)
}

#[larder::cached(
    ttl = 3600,
    local = false,
    key = "user:{id}",
    tags("of:{id}", "users", "team:{id}:a")
)]
async fn three(id: u64) -> Result<Profile, Never<3, false>> {
    Ok(load(id).await)
}

#[larder::cached(
    ttl = 3600,
    local = false,
    key = "user:{id}",
    tags(
        "of:{id}",
        "users",
        "team:{id}:a",
        "people",
        "team:{id}:b",
        "all",
        "team:{id}:c",
        "everything"
    )
)]
async fn eight(id: u64) -> Result<Profile, Never<8, false>> {
    Ok(load(id).await)
}

#[larder::cached(ttl = 3600, local = false, key = "user:{id}", tags("of:{id}"), tags_strict)]
async fn one_strict(id: u64) -> Result<Profile, Never<1, true>> {
    Ok(load(id).await)
}

#[larder::cached(
    ttl = 3600,
    local = false,
    key = "user:{id}",
    tags("of:{id}", "users", "team:{id}:a"),
    tags_strict
)]
async fn three_strict(id: u64) -> Result<Profile, Never<3, true>> {
    Ok(load(id).await)
}

#[larder::cached(
    ttl = 3600,
    local = false,
    key = "user:{id}",
    tags(
        "of:{id}",
        "users",
        "team:{id}:a",
        "people",
        "team:{id}:b",
        "all",
        "team:{id}:c",
        "everything"
    ),
    tags_strict
)]
async fn eight_strict(id: u64) -> Result<Profile, Never<8, true>> {
    Ok(load(id).await)
}

calls! {
    Profile;
    Untagged: untagged;
    Again: untagged;
    One: one;
    Three: three;
    Eight: eight;
    OneStrict: one_strict;
    ThreeStrict: three_strict;
    EightStrict: eight_strict;
}

#[larder::cached(ttl = 3600, key = "profile:{id}", tags("group"))]
async fn grouped(id: u64) -> Result<Profile, Infallible> {
    Ok(load(id).await)
}

#[larder::cached(ttl = 3600, key = "profile:{id}")]
async fn ungrouped(id: u64) -> Result<Profile, Infallible> {
    Ok(load(id).await)
}

impl Filler for Grouped {
    const NAME: &'static str = "larder, 1 tag";

    async fn set_up() {
        set_up().await;
    }

    async fn store(id: u64) {
        let Ok(_) = grouped(id).await;
    }
}

impl Group for Grouped {
    async fn invalidate() {
        Cache::current().invalidate_tag("group").await.unwrap();
    }
}

impl Filler for Ungrouped {
    const NAME: &'static str = "larder, no tags";

    async fn set_up() {
        set_up().await;
    }

    async fn store(id: u64) {
        let Ok(_) = ungrouped(id).await;
    }
}
