//! The rules that meet several parts of an attribute, or an attribute and its function.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, FnArg, Receiver, ReceiverKind, Type, ext::IdentExt as _};

use crate::{
    args::{CachedArgs, InvalidatesArgs, Local, Ttl, head},
    errors::{Errors, did_you_mean, nearest},
    signature::{Function, Shape},
    template::Template,
};

/// Settings that contradict each other or do nothing.
pub(crate) fn check_settings(args: &CachedArgs, errors: &mut Errors) {
    if let (Some(Local::Not), Some(remote)) = (&args.local, args.not_remote) {
        errors.at(remote, "`local = false` and `remote = false` leave nothing to store in");
    }
    if let (Some(Local::Upto(local)), Some(Ttl::Fixed(ttl))) = (&args.local, &args.ttl)
        && local.millis > ttl.millis
    {
        errors.at(local.span, "`local` is longer than `ttl`; leave it out");
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
        if !is_accounted(&name) {
            let plain = arg.name.unraw();
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
        if !template.is_named(placeholder) && !known.contains(root) && root != "Self" {
            let near = nearest(root, known.iter().map(String::as_str));
            let message = format!("no argument named `{root}`{}", did_you_mean(near));
            errors.add(template.error_at(placeholder, &message));
            meant.extend(near.map(str::to_owned));
        }
    }
    for (at, (name, _)) in template.named.iter().enumerate() {
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

/// The names that a template is made of.
fn used(template: &Template) -> Vec<String> {
    let mut used: Vec<String> =
        template.placeholders.iter().map(|placeholder| placeholder.root.clone()).collect();
    for (name, value) in &template.named {
        used.retain(|root| *name != root);
        idents(value.to_token_stream(), &mut used);
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
        if !known.contains(&name) {
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
pub(crate) fn idents(tokens: TokenStream, names: &mut Vec<String>) {
    let mut dots = 0;
    for token in tokens {
        match &token {
            TokenTree::Ident(name) if dots != 1 => names.push(name.to_string()),
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

/// A run that outlives its caller cannot borrow from it.
pub(crate) fn check_owned(function: &Function, message: &str, errors: &mut Errors) {
    for input in &function.sig.inputs {
        let borrows = match input {
            FnArg::Receiver(Receiver { kind: ReceiverKind::Reference(..), .. }) => true,
            FnArg::Receiver(Receiver { kind: ReceiverKind::Typed(_, ty), .. }) => borrows(ty),
            FnArg::Receiver(_) => false,
            FnArg::Typed(arg) => borrows(&arg.ty),
        };
        if borrows {
            errors.on(input, message);
        }
    }
}

/// By syntax: lifetimes are erased before traits are picked. `fn(&str)` and `Fn(&str)` borrow
/// nothing.
fn borrows(ty: &Type) -> bool {
    fn any_in(tokens: TokenStream) -> bool {
        let mut tokens = tokens.into_iter().peekable();
        let mut after_name = false;
        while let Some(token) = tokens.next() {
            let found = match &token {
                TokenTree::Punct(punct) if punct.as_char() == '&' => {
                    let mut ahead = tokens.clone();
                    let is_static = matches!(ahead.next(), Some(TokenTree::Punct(quote)) if quote.as_char() == '\'')
                        && matches!(ahead.next(), Some(TokenTree::Ident(name)) if name == "static");
                    !is_static
                }
                TokenTree::Group(group) => !after_name && any_in(group.stream()),
                _ => false,
            };
            if found {
                return true;
            }
            after_name = matches!(token, TokenTree::Ident(_));
        }
        false
    }
    any_in(ty.to_token_stream())
}

/// What has no name, or is borrowed, cannot be stored.
pub(crate) fn check_output(args: &CachedArgs, shape: &Shape, errors: &mut Errors) {
    if let Some(span) = shape.unnamed_output() {
        errors.at(span, "`impl Trait` cannot be cached; return a type that has a name");
    }
    // By syntax, for the compiler says of it that `Deserialize` is not general enough.
    if let Some(Type::Reference(value)) = shape.value()
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
