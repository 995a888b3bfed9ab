use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens as _;
use syn::{
    Expr, ExprLit, Lit, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    punctuated::Punctuated,
};

use super::{
    Dur, Each, Freshness, Given, Names, Tpl, Value, boolean, dur, each::each, expr, flag, krate,
    pieces, tpl, ungrouped,
};
use crate::errors::Errors;

/// `#[cached(…)]`
#[derive(Default)]
pub(crate) struct CachedArgs {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) key: Option<Tpl>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) none_ttl: Option<Dur>,
    pub(crate) cache_if: Option<Expr>,
    pub(crate) share_error: Option<Expr>,
    pub(crate) tags: Vec<Tpl>,
    pub(crate) tags_strict: Option<Span>,
    pub(crate) local: Option<Local>,
    /// `remote = false`, at its option.
    pub(crate) not_remote: Option<Span>,
    pub(crate) freshness: Freshness,
    pub(crate) detached: Option<Detached>,
    /// Whether there is an `each`; what is in it may be an error.
    pub(crate) is_batch: bool,
    pub(crate) each: Option<Each>,
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

/// Whether each run leaves its caller, or none does; where that is said.
#[derive(Clone, Copy)]
pub(crate) enum Detached {
    Always(Span),
    /// `detached = false`
    Never(Span),
}

/// Each of them is a stamp to compare with every read.
const MOST_TAGS: usize = 8;

const KEY_TAKES: &str = "`key` takes a template; write for example `key = \"user:{id}\"`, or \
                         `key = (\"day:{day}\", day = date.to_string())`";

const TAGS_TAKE: &str = "`tags` takes templates; write for example `tags(\"team:{team}\")`";

pub(super) const OPTIONS: [&str; 20] = [
    "ttl",
    "jitter",
    "key",
    "skip",
    "none_ttl",
    "cache_if",
    "share_error",
    "tags",
    "tags_strict",
    "local",
    "remote",
    "stale",
    "stale_if_error",
    "refresh_early",
    "max_wait",
    "detached",
    "version",
    "cache",
    "each",
    "crate",
];

impl CachedArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(tokens: TokenStream, at: &TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let names = Names::set(&OPTIONS, tokens, errors, |given, errors| args.set(given, errors));
        // A misspelt `ttl` is one error, and not that it is missing too.
        if !names.were_meant("ttl") {
            errors.on(at, "`ttl` is required; write for example `ttl = 60`");
        }
        if let Some(strict) = args.tags_strict
            && !names.were_meant("tags")
        {
            let message = "`tags_strict` has no tags to read; add `tags(\"team:{team}\")`";
            errors.at(strict, message);
        }
        args.freshness.check(&names, errors);
        args.is_batch = names.were_meant("each");
        args
    }

    fn set(&mut self, given: Given, errors: &mut Errors) -> syn::Result<()> {
        let Given { name, value } = given;
        match name.to_string().as_str() {
            "ttl" => self.ttl = Some(ttl(expr(&name, value, "60")?)?),
            "jitter" => self.jitter = Some(jitter(&expr(&name, value, "10")?)?),
            "key" => self.key = Some(tpl(expr(&name, value, "\"user:{id}\"")?, KEY_TAKES)?),
            "skip" => self.skip = skip(&name, value, errors)?,
            "none_ttl" => self.none_ttl = Some(dur("none_ttl", &expr(&name, value, "5")?)?),
            "cache_if" => self.cache_if = Some(expr(&name, value, "|user| user.active")?),
            "share_error" => {
                self.share_error = Some(expr(&name, value, "|error| DbError::from(error)")?);
            }
            "tags" => self.tags = tags(&name, value, errors)?,
            "tags_strict" => self.tags_strict = Some(flag(&name, &value)?),
            "local" => self.local = Some(local(&expr(&name, value, "5")?)?),
            "remote" => {
                if boolean(&expr(&name, value, "false")?) != Some(false) {
                    let message = "`remote` takes `false`; without it, it is on";
                    return Err(syn::Error::new(name.span(), message));
                }
                self.not_remote = Some(name.span());
            }
            "stale" | "stale_if_error" | "refresh_early" | "max_wait" => {
                self.freshness.set(&name, value)?;
            }
            "detached" => match value {
                Value::Flag => self.detached = Some(Detached::Always(name.span())),
                Value::Is(value) if boolean(&value) == Some(false) => {
                    self.detached = Some(Detached::Never(name.span()));
                }
                _ => {
                    let message = "`detached` stands alone, or is `detached = false`";
                    return Err(syn::Error::new(name.span(), message));
                }
            },
            "each" => self.each = Some(each(&name, value)?),
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

fn tags(name: &Ident, value: Value, errors: &mut Errors) -> syn::Result<Vec<Tpl>> {
    let list = match value {
        Value::List(list) if !list.is_empty() => list,
        _ => return Err(syn::Error::new(name.span(), TAGS_TAKE)),
    };
    let mut tags: Vec<Tpl> = Vec::new();
    let values = pieces(list, errors, |input, _| input.parse().map(ungrouped));
    for (at, value) in values.into_iter().enumerate() {
        if at == MOST_TAGS {
            errors.on(value, format_args!("a function has at most {MOST_TAGS} tags"));
            break;
        }
        let Some(tag) = errors.keep(tpl(value, TAGS_TAKE)) else { continue };
        if tags.iter().any(|other| other.is(&tag)) {
            let template = tag.template.to_token_stream();
            errors.on(&tag.template, format_args!("duplicate tag `{template}`"));
        } else {
            tags.push(tag);
        }
    }
    Ok(tags)
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
