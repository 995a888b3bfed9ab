//! The arguments of `#[cached(…)]`, as they are written.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Expr, ExprLit, Lit, LitStr, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    punctuated::Punctuated,
    spanned::Spanned as _,
};

use crate::errors::{Errors, did_you_mean, nearest};

/// `#[cached(…)]`
#[derive(Default)]
pub(crate) struct CachedArgs {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) key: Option<Key>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) none_ttl: Option<Dur>,
    pub(crate) cache_if: Option<Expr>,
    pub(crate) share_error: Option<Expr>,
    pub(crate) local: Option<Local>,
    /// `remote = false`, at its option.
    pub(crate) not_remote: Option<Span>,
    pub(crate) detached: Option<Span>,
    pub(crate) version: Option<u32>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

/// A length of time in a literal, above zero.
#[derive(Clone, Copy)]
pub(crate) struct Dur {
    pub(crate) millis: u64,
    pub(crate) span: Span,
}

pub(crate) enum Ttl {
    Fixed(Dur),
    /// An expression over the arguments.
    Of(Expr),
    /// `|value| …`
    By(Expr),
}

pub(crate) enum Jitter {
    Upto(Dur),
    Percent(u32),
}

pub(crate) enum Local {
    Upto(Dur),
    Not,
}

/// `"user:{id}"`, or `("user:{day}", day = date.to_string())`.
pub(crate) struct Key {
    pub(crate) template: LitStr,
    pub(crate) named: Vec<(Ident, Expr)>,
}

const OPTIONS: [&str; 13] = [
    "ttl",
    "jitter",
    "key",
    "skip",
    "none_ttl",
    "cache_if",
    "share_error",
    "local",
    "remote",
    "detached",
    "version",
    "cache",
    "crate",
];

/// An option with what follows its name.
struct Given {
    name: Ident,
    value: Value,
}

enum Value {
    Flag,
    /// `ttl =` and no more.
    Missing,
    /// What no expression is; there is an error about it already.
    Refused,
    Is(Expr),
    List(TokenStream),
}

impl CachedArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let mut seen: Vec<String> = Vec::new();
        // A misspelt `ttl` is one error, and not that it is missing too.
        let mut has_ttl = false;
        for given in options(tokens, errors) {
            let name = given.name.to_string();
            if !OPTIONS.contains(&name.as_str()) {
                let near = nearest(&name, OPTIONS);
                let hint = did_you_mean(near);
                errors.at(given.name.span(), format_args!("unknown option `{name}`{hint}"));
                has_ttl |= near == Some("ttl");
                continue;
            }
            if seen.contains(&name) {
                errors.at(given.name.span(), format_args!("duplicate option `{name}`"));
                continue;
            }
            has_ttl |= name == "ttl";
            seen.push(name);
            if let Value::Refused = given.value {
                continue;
            }
            let result = args.set(given, errors);
            errors.keep(result);
        }
        if !has_ttl {
            errors.at(Span::call_site(), "`ttl` is required; write for example `ttl = 60`");
        }
        args
    }

    fn set(&mut self, given: Given, errors: &mut Errors) -> syn::Result<()> {
        let Given { name, value } = given;
        match name.to_string().as_str() {
            "ttl" => self.ttl = Some(ttl(expr(&name, value, "60")?)?),
            "jitter" => self.jitter = Some(jitter(&expr(&name, value, "10")?)?),
            "key" => self.key = Some(key(expr(&name, value, "\"user:{id}\"")?)?),
            "skip" => self.skip = skip(&name, value, errors)?,
            "none_ttl" => self.none_ttl = Some(dur("none_ttl", &expr(&name, value, "5")?)?),
            "cache_if" => self.cache_if = Some(expr(&name, value, "|user| user.active")?),
            "share_error" => {
                self.share_error = Some(expr(&name, value, "|error| DbError::from(error)")?);
            }
            "local" => self.local = Some(local(&expr(&name, value, "5")?)?),
            "remote" => {
                if boolean(&expr(&name, value, "false")?) != Some(false) {
                    let message = "`remote` takes `false`; without it, it is on";
                    return Err(syn::Error::new(name.span(), message));
                }
                self.not_remote = Some(name.span());
            }
            "detached" => match value {
                Value::Flag => self.detached = Some(name.span()),
                Value::Is(value) if boolean(&value) == Some(false) => {}
                _ => {
                    let message = "`detached` stands alone, or is `detached = false`";
                    return Err(syn::Error::new(name.span(), message));
                }
            },
            "version" => self.version = Some(version(&expr(&name, value, "1")?)?),
            "cache" => self.cache = Some(expr(&name, value, "self.cache")?),
            _ => match expr(&name, value, "::larder")? {
                Expr::Path(path) if path.qself.is_none() => self.krate = Some(path.path),
                other => {
                    let message = "`crate` takes a path; write for example `crate = ::larder`";
                    return Err(syn::Error::new_spanned(other, message));
                }
            },
        }
        Ok(())
    }
}

/// Splits at the commas. An option that cannot be parsed is an error, and the next one goes on.
fn options(tokens: TokenStream, errors: &mut Errors) -> Vec<Given> {
    let parse = |input: ParseStream<'_>| {
        let mut options = Vec::new();
        while !input.is_empty() {
            let option = option(input, errors);
            if option.is_err() {
                to_comma(input)?;
            }
            options.extend(errors.keep(option));
            if !input.is_empty() && !input.peek(Token![,]) {
                errors.at(input.span(), "expected `,`");
                to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(options)
    };
    parse.parse2(tokens).unwrap_or_default()
}

fn to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

fn option(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Given> {
    let name = input.call(Ident::parse_any)?;
    let value = if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        if input.is_empty() || input.peek(Token![,]) {
            Value::Missing
        } else if let Some(value) = errors.keep(input.parse()) {
            Value::Is(ungrouped(value))
        } else {
            to_comma(input)?;
            Value::Refused
        }
    } else if input.peek(syn::token::Paren) {
        let list;
        syn::parenthesized!(list in input);
        Value::List(list.parse()?)
    } else {
        Value::Flag
    };
    Ok(Given { name, value })
}

/// Without the invisible brackets around what a macro of the user has filled in.
fn ungrouped(mut value: Expr) -> Expr {
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    value
}

fn expr(name: &Ident, value: Value, example: &str) -> syn::Result<Expr> {
    match value {
        Value::Is(expr) => Ok(expr),
        Value::Flag | Value::Missing | Value::Refused | Value::List(_) => {
            let message =
                format_args!("`{name}` takes a value; write for example `{name} = {example}`");
            Err(syn::Error::new(name.span(), message))
        }
    }
}

fn boolean(value: &Expr) -> Option<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) => Some(value.value),
        _ => None,
    }
}

fn skip(name: &Ident, value: Value, errors: &mut Errors) -> syn::Result<Vec<Ident>> {
    let Value::List(names) = value else {
        let message = "`skip` takes names; write for example `skip(db)`";
        return Err(syn::Error::new(name.span(), message));
    };
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with_any.parse2(names)?;
    let mut skipped: Vec<Ident> = Vec::new();
    for name in names {
        if skipped.contains(&name) {
            errors.at(name.span(), format_args!("`{name}` is in `skip` twice"));
        } else {
            skipped.push(name);
        }
    }
    Ok(skipped)
}

/// `self` and `Self` are names too.
trait ParseNames: Sized {
    fn parse_terminated_with_any(input: ParseStream<'_>) -> syn::Result<Self>;
}

impl ParseNames for Punctuated<Ident, Token![,]> {
    fn parse_terminated_with_any(input: ParseStream<'_>) -> syn::Result<Self> {
        Self::parse_terminated_with(input, Ident::parse_any)
    }
}

fn ttl(value: Expr) -> syn::Result<Ttl> {
    match &value {
        Expr::Lit(_) | Expr::Unary(_) => Ok(Ttl::Fixed(dur("ttl", &value)?)),
        Expr::Closure(closure) if closure.inputs.len() == 1 => Ok(Ttl::By(value)),
        Expr::Closure(_) => {
            let message = "`ttl` by the value takes one argument: `|value| …`";
            Err(syn::Error::new_spanned(value, message))
        }
        _ => Ok(Ttl::Of(value)),
    }
}

fn jitter(value: &Expr) -> syn::Result<Jitter> {
    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value
        && let Some(percent) = text.value().strip_suffix('%')
    {
        return match percent.trim().parse() {
            Ok(0) => Err(syn::Error::new(text.span(), "`jitter` has no effect at 0%")),
            Ok(percent) => Ok(Jitter::Percent(percent)),
            Err(_) => {
                let message =
                    format_args!("`jitter` in percent is a whole number, as in `\"10%\"`");
                Err(syn::Error::new(text.span(), message))
            }
        };
    }
    dur("jitter", value).map(Jitter::Upto)
}

fn local(value: &Expr) -> syn::Result<Local> {
    match boolean(value) {
        Some(false) => Ok(Local::Not),
        Some(true) => {
            let message = "`local` takes a time or `false`; without it, it is on";
            Err(syn::Error::new_spanned(value, message))
        }
        None => dur("local", value).map(Local::Upto),
    }
}

fn version(value: &Expr) -> syn::Result<u32> {
    if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = value
        && let Ok(version) = number.base10_parse()
    {
        return Ok(version);
    }
    let message = "`version` takes a whole number; write for example `version = 1`";
    Err(syn::Error::new_spanned(value, message))
}

fn key(value: Expr) -> syn::Result<Key> {
    const TAKES: &str = "`key` takes a template; write for example `key = \"user:{id}\"`, or \
                         `key = (\"day:{day}\", day = date.to_string())`";
    let refused = |tokens: &Expr| syn::Error::new_spanned(tokens, TAKES);
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(template), .. }) => {
            Ok(Key { template, named: Vec::new() })
        }
        Expr::Paren(inner) => key(*inner.expr),
        Expr::Tuple(tuple) => {
            let mut parts = tuple.elems.into_iter().map(ungrouped);
            let template = match parts.next() {
                Some(Expr::Lit(ExprLit { lit: Lit::Str(template), .. })) => template,
                Some(other) => return Err(refused(&other)),
                None => return Err(syn::Error::new(tuple.paren_token.span.join(), TAKES)),
            };
            let mut named = Vec::new();
            for part in parts {
                match part {
                    Expr::Assign(assign) => match &*assign.left {
                        Expr::Path(path) if path.path.get_ident().is_some() => {
                            named.extend(
                                path.path.get_ident().cloned().map(|name| (name, *assign.right)),
                            );
                        }
                        other => return Err(refused(other)),
                    },
                    other => return Err(refused(&other)),
                }
            }
            Ok(Key { template, named })
        }
        other => Err(refused(&other)),
    }
}

/// Seconds, or a number with a unit: `60`, `"250ms"`, `"1h30m"`. Not zero.
fn dur(option: &str, value: &Expr) -> syn::Result<Dur> {
    let millis = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(seconds), .. }) if seconds.suffix().is_empty() => {
            let seconds: u64 = seconds.base10_parse()?;
            seconds.checked_mul(1000).ok_or_else(|| too_long(value))?
        }
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            written(&text.value()).map_err(|problem| syn::Error::new(text.span(), problem))?
        }
        _ => {
            let message = format_args!(
                "`{option}` takes whole seconds or a time with its unit: `{option} = 60`, \
                 `{option} = \"1500ms\"`"
            );
            return Err(syn::Error::new_spanned(value, message));
        }
    };
    if millis == 0 {
        let instead = if option == "ttl" {
            "leave the attribute out, or use `uncached()`"
        } else {
            "leave it out"
        };
        let message = format_args!("`{option}` is zero; {instead}");
        return Err(syn::Error::new_spanned(value, message));
    }
    Ok(Dur { millis, span: value.span() })
}

fn too_long(value: &Expr) -> syn::Error {
    syn::Error::new_spanned(value, "this is longer than time can be counted")
}

/// Input: `1h30m`. Output: 5,400,000.
fn written(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let unknown = || format!("unknown unit in `\"{text}\"`; use ms, s, m, h or d");
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(format!("`\"{text}\"` is not a time; write for example `\"1h30m\"`"));
        }
        let length = tail.find(|char: char| char.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(unknown)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*millis));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("`\"{text}\"` is longer than time can be counted"))?;
        rest = tail;
    }
    if text.is_empty() { Err(unknown()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_sum_of_numbers_with_units() {
        assert_eq!(written("250ms"), Ok(250));
        assert_eq!(written("1h30m"), Ok(5_400_000));
        assert_eq!(written("7d"), Ok(604_800_000));
        assert!(written("5x").unwrap_err().starts_with("unknown unit in `\"5x\"`"));
        assert!(written("5").is_err());
        assert!(written("").is_err());
        assert!(written("-5s").is_err());
        assert!(written("99999999999999999999s").is_err());
    }
}
