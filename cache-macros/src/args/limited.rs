use proc_macro2::{Ident, Span, TokenStream};
use syn::{Expr, ExprUnary, Path, UnOp};

use super::{Dur, Given, Names, Tpl, dur, expr, krate, number, one_of, tpl};
use crate::errors::Errors;

/// `#[rate_limited(…)]`
#[derive(Default)]
pub(crate) struct RateLimitedArgs {
    pub(crate) limit: Option<Count>,
    pub(crate) per: Option<Dur>,
    pub(crate) key: Option<Tpl>,
    pub(crate) burst: Option<Number>,
    /// Its variant in the runtime, as `when_down` is.
    pub(crate) algorithm: Option<&'static str>,
    pub(crate) wait: Option<Dur>,
    pub(crate) when_down: Option<&'static str>,
    pub(crate) cost: Option<Count>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

/// How many, where that may depend on the arguments.
pub(crate) enum Count {
    Fixed(Number),
    /// An expression over them.
    Of(Expr),
}

/// A whole number in a literal, above zero.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) value: u32,
    pub(crate) span: Span,
}

/// The longest time that the runtime can limit by: 2⁵⁰ microseconds.
const LONGEST_MILLIS: u64 = (1 << 50) / 1000;

const KEY_TAKES: &str = "`key` takes a template; write for example `key = \"login:{ip}\"`, or \
                         `key = (\"day:{day}\", day = date.to_string())`";

const ALGORITHMS: [(&str, &str); 3] =
    [("gcra", "Gcra"), ("fixed_window", "FixedWindow"), ("sliding_window", "SlidingWindow")];

const DEFAULT_ALGORITHM: &str = "Gcra";

const WHEN_DOWN: [(&str, &str); 3] = [("local", "Local"), ("allow", "Allow"), ("deny", "Deny")];

pub(super) const OPTIONS: [&str; 10] =
    ["limit", "per", "key", "burst", "algorithm", "wait", "when_down", "cost", "cache", "crate"];

impl RateLimitedArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(tokens: TokenStream, at: &TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let names = Names::set(&OPTIONS, tokens, errors, |given, _| args.set(given));
        let message = match (names.were_meant("limit"), names.were_meant("per")) {
            (true, true) => None,
            (false, true) => Some("`limit` is required; write for example `limit = 10`"),
            (true, false) => Some("`per` is required; write for example `per = \"1m\"`"),
            (false, false) => {
                Some("`limit` and `per` are required; write for example `limit = 10, per = \"1m\"`")
            }
        };
        if let Some(message) = message {
            errors.on(at, message);
        }
        args.check(&names, errors);
        args
    }

    fn set(&mut self, given: Given) -> syn::Result<()> {
        let Given { name, value } = given;
        match name.to_string().as_str() {
            "limit" => self.limit = Some(count(&name, expr(&name, value, "10")?)?),
            "per" => self.per = Some(per(&expr(&name, value, "\"1m\"")?)?),
            "key" => self.key = Some(tpl(expr(&name, value, "\"login:{ip}\"")?, KEY_TAKES)?),
            "burst" => self.burst = Some(number("burst", &expr(&name, value, "20")?)?),
            "algorithm" => {
                let value = expr(&name, value, "\"fixed_window\"")?;
                self.algorithm = Some(one_of("algorithm", &value, &ALGORITHMS)?);
            }
            "wait" => self.wait = Some(dur("wait", &expr(&name, value, "\"500ms\"")?)?),
            "when_down" => {
                let value = expr(&name, value, "\"deny\"")?;
                self.when_down = Some(one_of("when_down", &value, &WHEN_DOWN)?);
            }
            "cost" => self.cost = Some(count(&name, expr(&name, value, "items.len() as u32")?)?),
            "cache" => self.cache = Some(expr(&name, value, "self.cache")?),
            _ => self.krate = Some(krate(&name, value)?),
        }
        Ok(())
    }

    /// Whether both count in the same place.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let is_key = match (&self.key, &other.key) {
            (Some(key), Some(other)) => key.is(other),
            (None, None) => true,
            _ => false,
        };
        let is_per = match (self.per, other.per) {
            (Some(per), Some(other)) => per.millis == other.millis,
            // There is an error about it already.
            _ => false,
        };
        let algorithm = |args: &Self| args.algorithm.unwrap_or(DEFAULT_ALGORITHM);
        is_key && is_per && algorithm(self) == algorithm(other)
    }

    /// Settings that do nothing, or that let nothing pass.
    fn check(&self, names: &Names, errors: &mut Errors) {
        if let (Some(burst), Some("FixedWindow" | "SlidingWindow")) = (self.burst, self.algorithm) {
            errors.at(burst.span, "`burst` is for `gcra`; remove it");
            return;
        }
        if let (Some(burst), Some(per), Some(Count::Fixed(limit))) =
            (self.burst, self.per, &self.limit)
            && u128::from(burst.value) * u128::from(per.millis)
                > u128::from(limit.value) * u128::from(LONGEST_MILLIS)
        {
            let message = "`burst` is more than comes back in 35 years; write a smaller one";
            errors.at(burst.span, message);
            return;
        }
        let (most, of) = match (self.burst, &self.limit) {
            (Some(burst), _) => (burst, "burst"),
            (None, Some(Count::Fixed(limit))) if !names.were_meant("burst") => (*limit, "limit"),
            _ => return,
        };
        if let Some(Count::Fixed(cost)) = &self.cost
            && cost.value > most.value
        {
            errors.at(cost.span, format_args!("`cost` is above `{of}` and never passes"));
        }
    }
}

/// A number, or an expression over the arguments.
fn count(name: &Ident, value: Expr) -> syn::Result<Count> {
    match &value {
        Expr::Lit(_) | Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
            number(&name.to_string(), &value).map(Count::Fixed)
        }
        _ => Ok(Count::Of(value)),
    }
}

fn per(value: &Expr) -> syn::Result<Dur> {
    let per = dur("per", value)?;
    if per.millis > LONGEST_MILLIS {
        let message = "`per` is longer than 35 years, and no limit is; write a shorter one";
        return Err(syn::Error::new(per.span, message));
    }
    Ok(per)
}
