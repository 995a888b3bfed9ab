use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{
    Expr, ExprCall, ExprClosure, ExprLit, Lit, Path, Token, ext::IdentExt as _, parse::ParseStream,
};

use super::{
    Dur, Given, Names, Tpl, Value, dur, expr, flag, krate, option, pieces, tpl, tpl_of, ungrouped,
};
use crate::{
    errors::{Errors, nearest},
    signature::Arg,
};

/// `#[invalidates(…)]`
#[derive(Default)]
pub(crate) struct InvalidatesArgs {
    /// Taken before the body runs.
    pub(crate) before: Vec<Before>,
    /// `|out| …`, taken after it.
    pub(crate) after: Vec<After>,
    /// That of the tags.
    pub(crate) cache: Option<Expr>,
    pub(crate) hold: Option<Dur>,
    pub(crate) hold_required: Option<Span>,
    /// `on = "always"`, at its value.
    pub(crate) always: Option<Span>,
    pub(crate) krate: Option<Path>,
}

pub(crate) enum Before {
    Call(Expr),
    /// `tag("team:{team}")`
    Tag(Tpl),
}

pub(crate) struct After {
    pub(crate) closure: ExprClosure,
    /// If its body is a `tag("team:{out.team}")`.
    pub(crate) tag: Option<Tpl>,
}

/// `#[updates(…)]`
#[derive(Default)]
pub(crate) struct UpdatesArgs {
    /// If there is none, there is an error.
    pub(crate) target: Option<Expr>,
    pub(crate) value: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

const TAG_TAKES: &str = "`tag` takes one template; write for example `tag(\"team:{team}\")`";

pub(super) const INVALIDATES: [&str; 5] = ["hold", "hold_required", "on", "cache", "crate"];
pub(super) const UPDATES: [&str; 2] = ["value", "crate"];

impl InvalidatesArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(
        tokens: TokenStream,
        at: &TokenStream,
        args_of_function: &[Arg],
        errors: &mut Errors,
    ) -> Self {
        let mut args = Self::default();
        let mut cache_at = None;
        let targets = targets(tokens, &INVALIDATES, args_of_function, errors, |given| {
            let Given { name, value } = given;
            match name.to_string().as_str() {
                "hold" => args.hold = Some(dur("hold", &expr(&name, value, "\"5s\"")?)?),
                "hold_required" => args.hold_required = Some(flag(&name, &value)?),
                "on" => args.always = always(&expr(&name, value, "\"always\"")?)?,
                "cache" => {
                    args.cache = Some(expr(&name, value, "self.cache")?);
                    cache_at = Some(name);
                }
                _ => args.krate = Some(krate(&name, value)?),
            }
            Ok(())
        });
        let Some(targets) = targets else { return args };
        if targets.is_empty() {
            let message =
                "nothing to invalidate; name a call, as in `#[invalidates(get_user(id))]`";
            errors.on(at, message);
        } else if let Some(cache) = cache_at
            && !targets.iter().any(has_tag)
        {
            errors.at(cache.span(), "`cache` is that of a `tag`; a call has its own");
        }
        for target in targets {
            match target {
                Expr::Closure(closure) if closure.inputs.len() == 1 => {
                    let Some(tag) = errors.keep(tag_of(&closure.body).transpose()) else {
                        continue;
                    };
                    args.after.push(After { closure, tag });
                }
                Expr::Closure(closure) => {
                    let message = "`|out| …` takes one argument: the value inside the output";
                    errors.on(head(&closure), message);
                }
                target => {
                    let Some(tag) = errors.keep(tag_of(&target).transpose()) else { continue };
                    args.before.push(tag.map_or(Before::Call(target), Before::Tag));
                }
            }
        }
        args
    }
}

impl UpdatesArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(
        tokens: TokenStream,
        at: &TokenStream,
        args_of_function: &[Arg],
        errors: &mut Errors,
    ) -> Self {
        let mut args = Self::default();
        let targets = targets(tokens, &UPDATES, args_of_function, errors, |given| {
            let Given { name, value } = given;
            match name.to_string().as_str() {
                "value" => args.value = Some(value_of(expr(&name, value, "|out| out.clone()")?)?),
                _ => args.krate = Some(krate(&name, value)?),
            }
            Ok(())
        });
        let Some(targets) = targets else { return args };
        if targets.is_empty() {
            let message = "nothing to update; name a call, as in `#[updates(get_user(id))]`";
            errors.on(at, message);
        }
        for target in targets {
            match target {
                Expr::Closure(closure) => {
                    let message = "`#[updates]` holds its target before the body runs; use a \
                                   plain call instead of `|out|`";
                    errors.on(head(&closure), message);
                }
                tag if has_tag(&tag) => {
                    let message = "`#[updates]` stores a value, and a tag has none; use \
                                   `#[invalidates(tag(…))]`";
                    errors.on(tag, message);
                }
                call if args.target.is_some() => {
                    let message = "`#[updates]` takes one call; give this one an `#[updates]` of \
                                   its own";
                    errors.on(call, message);
                }
                call => args.target = Some(call),
            }
        }
        args
    }
}

/// What stands between two commas.
enum Piece {
    Target(Expr),
    Option(Given),
}

/// The targets in the order that they are written in, and the options to `set`. `None` if one of
/// the targets is no expression.
fn targets(
    tokens: TokenStream,
    known: &'static [&'static str],
    args: &[Arg],
    errors: &mut Errors,
    mut set: impl FnMut(Given) -> syn::Result<()>,
) -> Option<Vec<Expr>> {
    let mut are_refused = false;
    let pieces = pieces(tokens, errors, |input, errors| {
        if is_option(input, known, args) {
            return option(input, errors).map(Piece::Option);
        }
        let target = input.parse().map(ungrouped);
        are_refused |= target.is_err();
        target.map(Piece::Target)
    });
    let mut names = Names::of(known);
    let mut targets = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Target(target) => targets.push(target),
            Piece::Option(given) => {
                if names.take(&given.name, errors) && !matches!(given.value, Value::Refused) {
                    errors.keep(set(given));
                }
            }
        }
    }
    (!are_refused).then_some(targets)
}

/// `name = …`, or a name alone, if it is that of an option, or is near to it and is no argument:
/// an argument may be an entry itself.
fn is_option(input: ParseStream<'_>, known: &[&'static str], args: &[Arg]) -> bool {
    let ahead = input.fork();
    let Ok(name) = ahead.call(Ident::parse_any) else { return false };
    if ahead.peek(Token![=]) {
        return true;
    }
    let is_alone = ahead.is_empty() || ahead.peek(Token![,]);
    let name_text = name.to_string();
    is_alone
        && (known.contains(&name_text.as_str())
            || !args.iter().any(|arg| arg.name == name)
                && nearest(&name_text, known.iter().copied()).is_some())
}

/// A tag, or a closure that gives one.
fn has_tag(target: &Expr) -> bool {
    match target {
        Expr::Closure(closure) => tag_call(&closure.body).is_some(),
        target => tag_call(target).is_some(),
    }
}

/// `tag("team:{team}")`, `tag("day:{d}", d = …)` or `tag(("day:{d}", d = …))`; `None` of a call.
fn tag_of(target: &Expr) -> Option<syn::Result<Tpl>> {
    let mut args = tag_call(target)?.args.iter().cloned();
    let first = ungrouped(args.next()?);
    Some(match first {
        Expr::Lit(_) => tpl_of(first, args, TAG_TAKES),
        first => match args.next() {
            Some(other) => Err(syn::Error::new_spanned(other, TAG_TAKES)),
            None => tpl(first, TAG_TAKES),
        },
    })
}

/// By syntax: a function of the user may have that name too, and is one if it is given no literal.
fn tag_call(target: &Expr) -> Option<&ExprCall> {
    let Expr::Call(call) = target else { return None };
    let Expr::Path(function) = &*call.func else { return None };
    let is_tag = function.qself.is_none() && function.path.is_ident("tag");
    (is_tag && starts_with_literal(call.args.to_token_stream())).then_some(call)
}

/// A string, or a parenthesis with one.
fn starts_with_literal(tokens: TokenStream) -> bool {
    match tokens.into_iter().next() {
        Some(TokenTree::Literal(literal)) => matches!(Lit::new(literal), Lit::Str(_)),
        Some(TokenTree::Group(group)) => {
            matches!(group.delimiter(), Delimiter::Parenthesis | Delimiter::None)
                && starts_with_literal(group.stream())
        }
        _ => false,
    }
}

/// Input: `"always"`. Output: where it is.
fn always(value: &Expr) -> syn::Result<Option<Span>> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value {
        match text.value().as_str() {
            "ok" => return Ok(None),
            "always" => return Ok(Some(text.span())),
            _ => {}
        }
    }
    Err(syn::Error::new_spanned(value, "`on` takes `\"ok\"` or `\"always\"`"))
}

fn value_of(value: Expr) -> syn::Result<Expr> {
    match &value {
        Expr::Closure(closure) if closure.inputs.len() != 1 => {
            let message = "`value` takes one argument: the value inside the output";
            Err(syn::Error::new_spanned(head(closure), message))
        }
        _ => Ok(value),
    }
}

/// The `|out|` of a closure: what has to change if there is to be none.
pub(crate) fn head(closure: &ExprClosure) -> TokenStream {
    let ExprClosure { inputs_begin, inputs, inputs_end, .. } = closure;
    quote!(#inputs_begin #inputs #inputs_end)
}
