use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Expr, ExprLit, Lit, LitStr, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    punctuated::Punctuated,
};

use super::{Dur, Given, Names, Value, boolean, dur, expr, krate, option, pieces, ungrouped};
use crate::errors::Errors;

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

impl CachedArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(tokens: TokenStream, at: &TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let mut names = Names::of(&OPTIONS);
        for given in pieces(tokens, errors, option) {
            if names.take(&given.name, errors) && !matches!(given.value, Value::Refused) {
                let result = args.set(given, errors);
                errors.keep(result);
            }
        }
        // A misspelt `ttl` is one error, and not that it is missing too.
        if !names.were_meant("ttl") {
            errors.on(at, "`ttl` is required; write for example `ttl = 60`");
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
            _ => self.krate = Some(krate(&name, value)?),
        }
        Ok(())
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
