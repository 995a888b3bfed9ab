//! The arguments of the attributes, as they are written.

mod cached;
mod change;
mod each;
mod freshness;
mod limited;
mod locked;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{
    Expr, ExprLit, Lit, LitStr, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    spanned::Spanned as _,
};

pub(crate) use cached::{CachedArgs, Detached, Jitter, Local, Ttl};
pub(crate) use change::{After, Before, InvalidatesArgs, UpdatesArgs, head};
pub(crate) use each::Each;
pub(crate) use freshness::Freshness;
pub(crate) use limited::{Count, Number, RateLimitedArgs};
pub(crate) use locked::LockedArgs;

use crate::errors::{Errors, did_you_mean, nearest};

/// A length of time in a literal, above zero.
#[derive(Clone, Copy)]
pub(crate) struct Dur {
    pub(crate) millis: u64,
    pub(crate) span: Span,
}

/// A template as it is written: `"user:{id}"`, or `("day:{day}", day = date.to_string())`.
pub(crate) struct Tpl {
    pub(crate) template: LitStr,
    pub(crate) named: Vec<(Ident, Expr)>,
}

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

/// The options of an attribute, by the names that were given.
struct Names {
    known: &'static [&'static str],
    given: Vec<String>,
    /// What was meant by names that are unknown.
    meant: Vec<&'static str>,
}

impl Names {
    fn of(known: &'static [&'static str]) -> Self {
        Self { known, given: Vec::new(), meant: Vec::new() }
    }

    /// Of an attribute that is made of options alone: each that is known, and is given once, is set.
    fn set(
        known: &'static [&'static str],
        tokens: TokenStream,
        errors: &mut Errors,
        mut set: impl FnMut(Given, &mut Errors) -> syn::Result<()>,
    ) -> Self {
        let mut names = Self::of(known);
        for given in pieces(tokens, errors, option) {
            if names.take(&given.name, errors) && !matches!(given.value, Value::Refused) {
                let result = set(given, errors);
                errors.keep(result);
            }
        }
        names
    }

    /// Whether the option exists and was not given before; else that is an error.
    fn take(&mut self, name: &Ident, errors: &mut Errors) -> bool {
        let text = name.to_string();
        if !self.known.contains(&text.as_str()) {
            let owner = owner(&text);
            let near = match owner {
                Some(_) => None,
                None => nearest(&text, self.known.iter().copied()),
            };
            let hint = match owner {
                Some(owner) => format!("; it belongs in `#[{owner}]`"),
                None => did_you_mean(near),
            };
            errors.at(name.span(), format_args!("unknown option `{text}`{hint}"));
            self.meant.extend(near);
            return false;
        }
        if self.given.contains(&text) {
            errors.at(name.span(), format_args!("duplicate option `{text}`"));
            return false;
        }
        self.given.push(text);
        true
    }

    fn were_meant(&self, name: &str) -> bool {
        self.given.iter().any(|given| given == name) || self.meant.contains(&name)
    }
}

/// The attribute that has an option which no other has.
fn owner(option: &str) -> Option<&'static str> {
    let all: [(&str, &[&str]); 5] = [
        ("cached", &cached::OPTIONS),
        ("invalidates", &change::INVALIDATES),
        ("updates", &change::UPDATES),
        ("rate_limited", &limited::OPTIONS),
        ("locked", &locked::OPTIONS),
    ];
    let mut owners = all.into_iter().filter(|(_, options)| options.contains(&option));
    let (owner, _) = owners.next()?;
    owners.next().is_none().then_some(owner)
}

/// Splits at the commas. What cannot be parsed is an error, and the next piece goes on.
fn pieces<T>(
    tokens: TokenStream,
    errors: &mut Errors,
    mut piece: impl FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<T>,
) -> Vec<T> {
    let parse = |input: ParseStream<'_>| {
        let mut pieces = Vec::new();
        while !input.is_empty() {
            let piece = piece(input, errors);
            if piece.is_err() {
                to_comma(input)?;
            }
            pieces.extend(errors.keep(piece));
            if !input.is_empty() && !input.peek(Token![,]) {
                errors.at(input.span(), "expected `,`");
                to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(pieces)
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

/// A name that stands alone.
fn flag(name: &Ident, value: &Value) -> syn::Result<Span> {
    match value {
        Value::Flag => Ok(name.span()),
        _ => Err(syn::Error::new(name.span(), format_args!("`{name}` stands alone"))),
    }
}

/// `takes` says what is written instead of something else.
fn tpl(value: Expr, takes: &str) -> syn::Result<Tpl> {
    match value {
        Expr::Paren(inner) => tpl(ungrouped(*inner.expr), takes),
        Expr::Tuple(tuple) => {
            let mut values = tuple.elems.into_iter();
            match values.next() {
                Some(template) => tpl_of(template, values, takes),
                None => Err(syn::Error::new(tuple.paren_token.span.join(), takes)),
            }
        }
        template => tpl_of(template, [], takes),
    }
}

/// The literal, and the `name = expr` behind it.
fn tpl_of(template: Expr, named: impl IntoIterator<Item = Expr>, takes: &str) -> syn::Result<Tpl> {
    let refused = |tokens: &Expr| syn::Error::new_spanned(tokens, takes);
    let template = match ungrouped(template) {
        Expr::Lit(ExprLit { lit: Lit::Str(template), .. }) => template,
        other => return Err(refused(&other)),
    };
    let named = named.into_iter().map(|value| match ungrouped(value) {
        Expr::Assign(assign) => match &*assign.left {
            Expr::Path(path) => match path.path.get_ident() {
                Some(name) => Ok((name.clone(), *assign.right)),
                None => Err(refused(&assign.left)),
            },
            other => Err(refused(other)),
        },
        other => Err(refused(&other)),
    });
    Ok(Tpl { template, named: named.collect::<syn::Result<_>>()? })
}

impl Tpl {
    /// Whether the same is written in both.
    fn is(&self, other: &Self) -> bool {
        let named = |tpl: &Self| -> Vec<String> {
            let named = tpl.named.iter();
            named.map(|(name, value)| quote!(#name = #value).to_string()).collect()
        };
        self.template.value() == other.template.value() && named(self) == named(other)
    }
}

fn boolean(value: &Expr) -> Option<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) => Some(value.value),
        _ => None,
    }
}

/// `crate = ::pantry`
fn krate(name: &Ident, value: Value) -> syn::Result<Path> {
    match expr(name, value, "::larder")? {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path),
        other => {
            let message = "`crate` takes a path; write for example `crate = ::larder`";
            Err(syn::Error::new_spanned(other, message))
        }
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
        let instead = match option {
            "ttl" => "leave the attribute out, or use `uncached()`",
            "max_wait" => "leave it out, for `stale` does not wait",
            "per" => "write for example `per = \"1m\"`",
            _ => "leave it out",
        };
        let message = format_args!("`{option}` is zero; {instead}");
        return Err(syn::Error::new_spanned(value, message));
    }
    Ok(Dur { millis, span: value.span() })
}

/// `10`. Not zero, and nothing but digits: so there is no doubt of what it says.
fn number(option: &str, value: &Expr) -> syn::Result<Number> {
    let refused = |message: &str| Err(syn::Error::new_spanned(value, message));
    let Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) = value else {
        return refused(&format!(
            "`{option}` takes a whole number above zero; write for example `{option} = 10`"
        ));
    };
    if !digits.suffix().is_empty() {
        let digits = digits.base10_digits();
        return refused(&format!(
            "`{option}` takes a number without a suffix; write `{option} = {digits}`"
        ));
    }
    match digits.base10_parse() {
        Ok(0) => refused(match option {
            "burst" => {
                "`burst` is zero and lets nothing pass; write `burst = 1` to space calls evenly"
            }
            "cost" => "`cost` is zero and limits nothing; leave it out to count each call once",
            _ => "`limit` is zero and lets nothing pass; write for example `limit = 10`",
        }),
        Ok(number) => Ok(Number { value: number, span: digits.span() }),
        Err(_) => {
            let most = u32::MAX;
            refused(&format!("`{option}` is above {most}, and no limit is; write a smaller one"))
        }
    }
}

/// `"gcra"`: one of these names, and what it stands for.
fn one_of(
    option: &str,
    value: &Expr,
    names: &[(&'static str, &'static str); 3],
) -> syn::Result<&'static str> {
    let [first, second, third] = names.map(|(name, _)| name);
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value else {
        let message =
            format_args!("`{option}` takes `\"{first}\"`, `\"{second}\"` or `\"{third}\"`");
        return Err(syn::Error::new_spanned(value, message));
    };
    let text = text.value();
    if let Some((_, meaning)) = names.iter().find(|(name, _)| *name == text) {
        return Ok(meaning);
    }
    let instead = match nearest(&text, [first, second, third]) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use `{first}`, `{second}` or `{third}`"),
    };
    Err(syn::Error::new_spanned(value, format_args!("`{option}` cannot be `{text}`; {instead}")))
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
    fn an_option_of_one_attribute_has_an_owner() {
        assert_eq!(owner("ttl"), Some("cached"));
        assert_eq!(owner("burst"), Some("rate_limited"));
        assert_eq!(owner("lease"), Some("locked"));
        assert_eq!(owner("wait"), None);
        assert_eq!(owner("colour"), None);
    }

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
