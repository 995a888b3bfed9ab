//! What is known of a function before it is called: the `static` in its body.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::parts::Parts;
use crate::{
    args::{CachedArgs, Dur, Freshness, Jitter, Local, Ttl},
    template::Template,
};

/// Input: `ttl = 60, key = "user:{id}"`. Output: `.key("user:{}").ttl(60_000)`.
pub(super) fn site(args: &CachedArgs, template: Option<&Template>) -> TokenStream {
    let mut site = TokenStream::new();
    if let Some(template) = template {
        let pieces = &template.pieces;
        site.extend(quote!(.key(#pieces)));
    }
    if let Some(Ttl::Fixed(ttl)) = &args.ttl {
        site.extend(time("ttl", *ttl));
    }
    match &args.jitter {
        Some(Jitter::Upto(most)) => site.extend(time("jitter", *most)),
        Some(Jitter::Percent(percent)) => site.extend(quote!(.jitter_percent(#percent))),
        None => {}
    }
    if let Some(none_ttl) = args.none_ttl {
        site.extend(time("none_ttl", none_ttl));
    }
    match &args.local {
        Some(Local::Upto(most)) => site.extend(time("local", *most)),
        Some(Local::Not) => site.extend(quote!(.local(0))),
        None => {}
    }
    if args.not_remote.is_some() {
        site.extend(quote!(.not_remote()));
    }
    site.extend(freshness(&args.freshness));
    if let Some(version) = args.version {
        site.extend(quote!(.version(#version)));
    }
    site
}

fn freshness(freshness: &Freshness) -> TokenStream {
    let Freshness { stale, stale_if_error, refresh_early, max_wait } = freshness;
    let early = refresh_early.map(|_| quote!(.refresh_early()));
    let times = [("stale", stale), ("stale_if_error", stale_if_error), ("max_wait", max_wait)];
    let times =
        times.into_iter().filter_map(|(name, period)| Some(time(name, period.as_ref()?.dur)));
    early.into_iter().chain(times).collect()
}

fn time(set: &str, time: Dur) -> TokenStream {
    let (set, millis) = (format_ident!("{set}"), time.millis);
    quote!(.#set(#millis))
}

/// Input: `tags("team:{team}", "users")`. Output: `.tags(&[Tag { template: "team:{}", … }, …], 1)`.
pub(super) fn tags_of_site(
    args: &CachedArgs,
    private: &TokenStream,
    tags: &[Template],
    parts: &mut Parts<'_>,
) -> Option<TokenStream> {
    if tags.is_empty() {
        return None;
    }
    let own = parts.len();
    let tags = tags.iter().map(|tag| {
        let (template, parts) = (&tag.pieces, parts.tag(tag));
        quote!(#private::Tag { template: #template, parts: &[#(#parts),*] })
    });
    let strict = args.tags_strict.map(|_| quote!(.tags_strict()));
    Some(quote!(.tags(&[#(#tags),*], #own) #strict))
}
