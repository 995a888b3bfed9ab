use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Expr, ExprClosure, ExprLit, Lit, Path, Token, ext::IdentExt as _, parse::ParseStream};

use super::{Dur, Given, Names, Value, dur, expr, krate, option, pieces, ungrouped};
use crate::{
    errors::{Errors, nearest},
    signature::Arg,
};

/// `#[invalidates(…)]`
#[derive(Default)]
pub(crate) struct InvalidatesArgs {
    /// Calls, taken before the body runs.
    pub(crate) before: Vec<Expr>,
    /// `|out| …`, taken after it.
    pub(crate) after: Vec<ExprClosure>,
    pub(crate) hold: Option<Dur>,
    pub(crate) hold_required: Option<Span>,
    /// `on = "always"`, at its value.
    pub(crate) always: Option<Span>,
    pub(crate) krate: Option<Path>,
}

/// `#[updates(…)]`
#[derive(Default)]
pub(crate) struct UpdatesArgs {
    /// If there is none, there is an error.
    pub(crate) target: Option<Expr>,
    pub(crate) value: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

const INVALIDATES: [&str; 4] = ["hold", "hold_required", "on", "crate"];
const UPDATES: [&str; 2] = ["value", "crate"];

impl InvalidatesArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(
        tokens: TokenStream,
        at: &TokenStream,
        args_of_function: &[Arg],
        errors: &mut Errors,
    ) -> Self {
        let mut args = Self::default();
        let targets = targets(tokens, &INVALIDATES, args_of_function, errors, |given| {
            let Given { name, value } = given;
            match name.to_string().as_str() {
                "hold" => args.hold = Some(dur("hold", &expr(&name, value, "\"5s\"")?)?),
                "hold_required" if matches!(value, Value::Flag) => {
                    args.hold_required = Some(name.span());
                }
                "hold_required" => {
                    let message = "`hold_required` stands alone";
                    return Err(syn::Error::new(name.span(), message));
                }
                "on" => args.always = always(&expr(&name, value, "\"always\"")?)?,
                _ => args.krate = Some(krate(&name, value)?),
            }
            Ok(())
        });
        let Some(targets) = targets else { return args };
        if targets.is_empty() {
            let message =
                "nothing to invalidate; name a call, as in `#[invalidates(get_user(id))]`";
            errors.on(at, message);
        }
        for target in targets {
            match target {
                Expr::Closure(closure) if closure.inputs.len() == 1 => args.after.push(closure),
                Expr::Closure(closure) => {
                    let message = "`|out| …` takes one argument: the value inside the output";
                    errors.on(head(&closure), message);
                }
                call => args.before.push(call),
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
