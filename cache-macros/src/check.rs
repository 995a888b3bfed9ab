//! The rules that meet several parts of an attribute, or an attribute and its function.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, FnArg, Receiver, ReceiverKind, Type};

use crate::{
    args::{CachedArgs, Local, Ttl},
    errors::{Errors, did_you_mean},
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
}

/// K3: everything that can change the result is in the key, or is said not to.
pub(crate) fn check_key(
    args: &CachedArgs,
    template: Option<&Template>,
    shape: &Shape,
    errors: &mut Errors,
) {
    let Some(key) = &args.key else {
        check_skipped(args, shape, &[], errors);
        if let Some(receiver) = &shape.receiver
            && !args.skip.iter().any(|skipped| skipped == "self")
        {
            let message = "`self` cannot be hashed; give a `key` or `skip(self)`";
            errors.at(receiver.self_token.span, message);
        }
        return;
    };
    // Without a template there is an error about it already, and no use in others.
    let Some(template) = template else { return };
    for placeholder in &template.placeholders {
        let named = key.named.iter().any(|(name, _)| *name == placeholder.root);
        let known = named || names(shape).any(|known| known == placeholder.root);
        if !known && placeholder.root != "Self" {
            let hint = did_you_mean(&placeholder.root, names(shape).collect::<Vec<_>>().iter().map(String::as_str));
            let message = format!("no argument named `{}`{hint}", placeholder.root);
            errors.add(template.error_at(placeholder, message));
        }
    }
    let mut in_key: Vec<String> =
        template.placeholders.iter().map(|placeholder| placeholder.root.clone()).collect();
    for (name, value) in &key.named {
        if !in_key.contains(&name.to_string()) {
            let message = format_args!("`{name}` is not in the template; add `{{{name}}}`, or remove it");
            errors.at(name.span(), message);
        }
        in_key.retain(|root| *name != root);
        idents(value.to_token_stream(), &mut in_key);
    }
    check_skipped(args, shape, &in_key, errors);
    let is_accounted = |name: &str| {
        in_key.iter().any(|root| root == name) || args.skip.iter().any(|skipped| skipped == name)
    };
    for arg in &shape.args {
        let name = arg.name.to_string();
        if !is_accounted(&name) {
            let message = format_args!(
                "argument `{name}` is not part of the key; add `{{{name}}}`, or `skip({name})` if \
                 it cannot change the result"
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

fn check_skipped(args: &CachedArgs, shape: &Shape, in_key: &[String], errors: &mut Errors) {
    for skipped in &args.skip {
        let name = skipped.to_string();
        if !names(shape).any(|known| known == name) {
            let known: Vec<String> = names(shape).collect();
            let hint = did_you_mean(&name, known.iter().map(String::as_str));
            errors.at(skipped.span(), format_args!("no argument named `{name}`{hint}"));
        } else if in_key.contains(&name) {
            let message = format_args!("`{name}` is in the key already; remove it from `skip`");
            errors.at(skipped.span(), message);
        }
    }
}

/// What a key can be made of.
fn names(shape: &Shape) -> impl Iterator<Item = String> {
    let receiver = shape.receiver.iter().map(|_| "self".to_owned());
    let args = shape.args.iter().map(|arg| &arg.name);
    receiver.chain(args.chain(&shape.types).chain(&shape.consts).map(Ident::to_string))
}

/// The names in an expression: an argument that one of them uses is in the key.
pub(crate) fn idents(tokens: TokenStream, names: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => names.push(name.to_string()),
            TokenTree::Group(group) => idents(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
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

/// A return type that has no name cannot be stored as one.
pub(crate) fn check_output(function: &Function, errors: &mut Errors) {
    if let syn::ReturnType::Type(_, ty) = &function.sig.output
        && let Type::ImplTrait(ty) = &**ty
    {
        errors.on(ty, "`impl Trait` cannot be cached; return a type that has a name");
    }
}

/// Attributes that stand below ours and do not wrap the body, which ours leaves none of.
const INERT: [&str; 15] = [
    "doc", "cfg", "cfg_attr", "allow", "warn", "deny", "forbid", "expect", "must_use", "deprecated",
    "inline", "cold", "track_caller", "no_mangle", "target_feature",
];
const INERT_TOOLS: [&str; 3] = ["clippy", "rustfmt", "diagnostic"];

/// What stands below the topmost of ours.
pub(crate) fn check_below(attrs: &[Attribute], topmost: &str, errors: &mut Errors) {
    for attr in attrs {
        let path = attr.path();
        let first = path.segments.first().map(|segment| segment.ident.to_string());
        let first = first.unwrap_or_default();
        let is_tool = path.segments.len() > 1 && INERT_TOOLS.contains(&first.as_str());
        let is_inert = path.segments.len() == 1 && INERT.contains(&first.as_str());
        if !is_tool && !is_inert {
            let name = path.to_token_stream().to_string().replace(' ', "");
            let message = format_args!(
                "`#[{name}]` must go above `#[{topmost}]`, which leaves no body for it to wrap"
            );
            errors.on(path, message);
        }
    }
}
