//! The rules that meet several parts of an attribute, or an attribute and its function.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Type, ext::IdentExt as _};

use crate::{
    args::{CachedArgs, Detached, InvalidatesArgs, Local, Ttl, head},
    elements::use_of,
    errors::{Errors, did_you_mean, nearest},
    signature::{Arg, Shape},
    template::Template,
};

/// Settings that contradict each other or do nothing.
pub(crate) fn check_settings(args: &CachedArgs, errors: &mut Errors) {
    if let (Some(Local::Not), Some(remote)) = (&args.local, args.not_remote) {
        errors.at(remote, "`local = false` and `remote = false` leave nothing to store in");
    }
    if let (Some(Local::Upto(local)), Some(Ttl::Fixed(ttl))) = (&args.local, &args.ttl) {
        let served = args.freshness.longest();
        let longest = served.map_or(0, |(_, millis)| millis).saturating_add(ttl.millis);
        if local.millis > longest {
            let than = match served {
                Some((option, _)) => format!("`ttl` and `{option}` together"),
                None => "`ttl`".to_owned(),
            };
            errors.at(local.span, format_args!("`local` is longer than {than}; leave it out"));
        } else if let Some((option, _)) = served
            && args.not_remote.is_some()
            && local.millis <= ttl.millis
        {
            let message = format_args!(
                "with `remote = false` a value is gone when `local` is over, and `{option}` has \
                 nothing to serve; leave `local` out"
            );
            errors.at(local.span, message);
        }
    }
    if let (Some(Detached::Never(detached)), Some(_)) = (args.detached, args.freshness.max_wait) {
        let message = "`max_wait` leaves the run going without its caller, which `detached = false` \
                       forbids; remove one of them";
        errors.at(detached, message);
    }
    if let (Some(Detached::Always(detached)), true) = (args.detached, args.is_batch) {
        errors.at(detached, "`detached` is not for a batch; leave it out");
    }
    if let (Some(strict), Some(_)) = (args.tags_strict, args.not_remote) {
        let message = "`tags_strict` reads stamps from Redis, where nothing is with `remote = \
                       false`; remove it";
        errors.at(strict, message);
    }
}

/// A hold is there before the body runs, and so has to know then what it is for. A failure has no
/// value that a closure could make a target of.
pub(crate) fn check_targets(args: &InvalidatesArgs, errors: &mut Errors) {
    if let Some(always) = args.always
        && args.before.is_empty()
        && !args.after.is_empty()
    {
        let message = "after a failure there is no value for `|out|`; name a plain call too, or \
                       leave `on` out";
        errors.at(always, message);
    }
    if args.hold.is_some() {
        for target in &args.after {
            let message = "`hold` needs its targets before the body runs; use a plain call instead \
                           of `|out|`";
            errors.on(head(&target.closure), message);
        }
    } else if let Some(required) = args.hold_required {
        errors.at(required, "there is no hold to require; add `hold = \"5s\"`");
    }
}

/// K3: everything that can change the result is in the key, or is said not to.
pub(crate) fn check_key(
    args: &CachedArgs,
    template: Option<&Template>,
    shape: &Shape,
    errors: &mut Errors,
) {
    if args.key.is_none() {
        let meant = check_skipped(args, shape, &[], errors);
        if let Some(receiver) = &shape.receiver
            && !args.skip.iter().any(|skipped| skipped == "self")
            && !meant.iter().any(|name| name == "self")
        {
            let message = "`self` cannot be hashed; give a `key` or `skip(self)`";
            errors.at(receiver.self_token.span, message);
        }
        return;
    }
    // Without a template there is an error about it already, and no use in others.
    let Some(template) = template else { return };
    // A misspelt name is one error, and not that the right one is missing too.
    let mut meant = check_names(template, shape, errors);
    let in_key = used(template);
    meant.extend(check_skipped(args, shape, &in_key, errors));
    let is_accounted = |name: &str| {
        in_key.iter().chain(&meant).any(|root| root == name)
            || args.skip.iter().any(|skipped| skipped == name)
    };
    for arg in &shape.args {
        let name = arg.name.to_string();
        let plain = arg.name.unraw();
        if is_accounted(&name) {
            continue;
        }
        if arg.all.is_some() {
            let message =
                format_args!("element `{name}` is not part of the key; add `{{{plain}}}`");
            errors.at(arg.name.span(), message);
        } else {
            let message = format_args!(
                "argument `{name}` is not part of the key; add `{{{plain}}}`, or `skip({name})` \
                 if it cannot change the result"
            );
            errors.at(arg.name.span(), message);
        }
    }
    if let Some(receiver) = &shape.receiver
        && !is_accounted("self")
    {
        let message = "`self` is not part of the key; add a field of it as in `{self.tenant}`, or \
                       `skip(self)` if no field changes the result";
        errors.at(receiver.self_token.span, message);
    }
    let types = shape.types.iter().map(|name| ("type", name));
    for (kind, name) in types.chain(shape.consts.iter().map(|name| ("const", name))) {
        if !is_accounted(&name.to_string()) {
            let message = format_args!(
                "{kind} parameter `{name}` is not part of the key; add `{{{name}}}`, or \
                 `skip({name})` if it cannot change the result"
            );
            errors.at(name.span(), message);
        }
    }
}

/// What was meant by placeholders that are unknown.
pub(crate) fn check_names(template: &Template, shape: &Shape, errors: &mut Errors) -> Vec<String> {
    let known: Vec<String> = names(shape).collect();
    let mut meant: Vec<String> = Vec::new();
    for placeholder in &template.placeholders {
        let root = &placeholder.root;
        if template.is_named(placeholder) {
            continue;
        }
        if let Some(arg) = of_all(shape, root) {
            let (all, name) = (root.trim_start_matches("r#"), arg.name.unraw());
            let message =
                format!("`{all}` is all of the elements; write `{{{name}}}` for one of them");
            errors.add(template.error_at(placeholder, &message));
            meant.push(arg.name.to_string());
        } else if !known.contains(root) && root != "Self" {
            let near = nearest(root, known.iter().map(String::as_str));
            let message = format!("no argument named `{root}`{}", did_you_mean(near));
            errors.add(template.error_at(placeholder, &message));
            meant.extend(near.map(str::to_owned));
        }
    }
    for (at, (name, value)) in template.named.iter().enumerate() {
        for arg in &shape.args {
            if let Some(all) = &arg.all
                && let Some(span) = use_of(all, value.to_token_stream())
            {
                let element = &arg.name;
                let message = format_args!(
                    "`{all}` is all of the elements; write `{element}` for one of them"
                );
                errors.at(span, message);
                meant.push(element.to_string());
            }
        }
        if template.named[..at].iter().any(|(before, _)| before == name) {
            errors.at(name.span(), format_args!("`{name}` is named twice; remove one of them"));
        } else if !template.placeholders.iter().any(|placeholder| *name == placeholder.root) {
            let message =
                format_args!("`{name}` is not in the template; add `{{{name}}}`, or remove it");
            errors.at(name.span(), message);
        }
    }
    meant
}

/// The element of a batch, if the name is that of all of them.
fn of_all<'a>(shape: &'a Shape, name: &str) -> Option<&'a Arg> {
    let is_all = |all: &Ident| all == name;
    let is_free = || shape.args.iter().all(|arg| arg.name != name);
    shape.args.iter().find(|arg| arg.all.as_ref().is_some_and(is_all) && is_free())
}

/// The names that a template is made of.
fn used(template: &Template) -> Vec<String> {
    let mut used: Vec<String> =
        template.placeholders.iter().map(|placeholder| placeholder.root.clone()).collect();
    for (name, value) in &template.named {
        used.retain(|root| *name != root);
        let mut names = Vec::new();
        idents(value.to_token_stream(), &mut names);
        used.extend(names.iter().map(Ident::to_string));
    }
    used
}

/// What was meant by names in `skip` that are unknown.
fn check_skipped(
    args: &CachedArgs,
    shape: &Shape,
    in_key: &[String],
    errors: &mut Errors,
) -> Vec<String> {
    let known: Vec<String> = names(shape).collect();
    let mut meant = Vec::new();
    for skipped in &args.skip {
        let name = skipped.to_string();
        let element = of_all(shape, &name).or_else(|| {
            let is_element = |arg: &&Arg| arg.all.is_some() && arg.name == name;
            shape.args.iter().find(is_element).filter(|_| !in_key.contains(&name))
        });
        if let Some(element) = element {
            let message = format_args!(
                "the elements tell the entries of a batch apart; remove `{name}` from `skip`"
            );
            errors.at(skipped.span(), message);
            meant.push(element.name.to_string());
        } else if !known.contains(&name) {
            let near = nearest(&name, known.iter().map(String::as_str));
            let hint = did_you_mean(near);
            errors.at(skipped.span(), format_args!("no argument named `{name}`{hint}"));
            meant.extend(near.map(str::to_owned));
        } else if in_key.contains(&name) {
            let message = format_args!("`{name}` is in the key already; remove it from `skip`");
            errors.at(skipped.span(), message);
        }
    }
    meant
}

/// What a key can be made of.
fn names(shape: &Shape) -> impl Iterator<Item = String> {
    let receiver = shape.receiver.iter().map(|_| "self".to_owned());
    let args = shape.args.iter().map(|arg| &arg.name);
    receiver.chain(args.chain(&shape.types).chain(&shape.consts).map(Ident::to_string))
}

/// The names in an expression: an argument that one of them uses is in the key. A field or a
/// method of that name is not it.
pub(crate) fn idents(tokens: TokenStream, names: &mut Vec<Ident>) {
    let mut dots = 0;
    for token in tokens {
        match &token {
            TokenTree::Ident(name) if dots != 1 => names.push(name.clone()),
            TokenTree::Group(group) => idents(group.stream(), names),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        dots = if matches!(&token, TokenTree::Punct(dot) if dot.as_char() == '.') {
            dots + 1
        } else {
            0
        };
    }
}

/// What has no name, or is borrowed, cannot be stored.
pub(crate) fn check_output(args: &CachedArgs, shape: &Shape, errors: &mut Errors) {
    if let Some(span) = shape.unnamed_output() {
        errors.at(span, "`impl Trait` cannot be cached; return a type that has a name");
    }
    // By syntax, for the compiler says of it that `Deserialize` is not general enough.
    let value = if args.is_batch { shape.value_of_each() } else { shape.value() };
    if let Some(Type::Reference(value)) = value
        && args.not_remote.is_none()
    {
        let message = "a borrowed value cannot be stored; return an owned one, or add \
                       `remote = false` if it is `'static`";
        errors.at(value.and_token.span, message);
    }
}

/// Attributes that stand below ours and do not wrap the body, which ours leaves none of.
const INERT: [&str; 15] = [
    "doc",
    "cfg",
    "cfg_attr",
    "allow",
    "warn",
    "deny",
    "forbid",
    "expect",
    "must_use",
    "deprecated",
    "inline",
    "cold",
    "track_caller",
    "no_mangle",
    "target_feature",
];
const INERT_TOOLS: [&str; 3] = ["clippy", "rustfmt", "diagnostic"];

/// What stands below the topmost of ours.
pub(crate) fn check_below(attrs: &[Attribute], topmost: &str, errors: &mut Errors) {
    for attr in attrs.iter().filter(|attr| !is_inert(attr)) {
        let path = attr.path();
        let name = path.to_token_stream().to_string().replace(' ', "");
        let message = format_args!(
            "`#[{name}]` must go above `#[{topmost}]`, which leaves no body for it to wrap"
        );
        errors.on(path, message);
    }
}

pub(crate) fn is_inert(attr: &Attribute) -> bool {
    let segments = &attr.path().segments;
    let is_one_of = |names: &[&str]| names.iter().any(|name| segments[0].ident == name);
    if segments.len() == 1 { is_one_of(&INERT) } else { is_one_of(&INERT_TOOLS) }
}
