use proc_macro2::TokenStream;
use syn::{Expr, Path};

use super::{Dur, Given, Names, Tpl, dur, expr, krate, tpl};
use crate::errors::Errors;

/// `#[locked(…)]`
#[derive(Default)]
pub(crate) struct LockedArgs {
    /// If there is none, there is an error.
    pub(crate) key: Option<Tpl>,
    pub(crate) lease: Option<Dur>,
    pub(crate) wait: Option<Dur>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

/// It is renewed at a third of it, over a network.
const SHORTEST_LEASE_MILLIS: u64 = 1000;

/// The longest lease and the longest wait of the runtime.
const YEAR_MILLIS: u64 = 365 * 24 * 60 * 60 * 1000;

const KEY_TAKES: &str = "`key` takes a template; write for example `key = \"job:{id}\"`, or \
                         `key = (\"day:{day}\", day = date.to_string())`";

pub(super) const OPTIONS: [&str; 5] = ["key", "lease", "wait", "cache", "crate"];

impl LockedArgs {
    /// `at` is the attribute, for what is missing in it.
    pub(crate) fn parse(tokens: TokenStream, at: &TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let names = Names::set(&OPTIONS, tokens, errors, |given, _| args.set(given));
        if !names.were_meant("key") {
            errors.on(at, "`key` is required; write for example `key = \"job:{id}\"`");
        }
        args
    }

    /// Whether both are the same lock.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.key.as_ref().zip(other.key.as_ref()).is_some_and(|(key, other)| key.is(other))
    }

    fn set(&mut self, given: Given) -> syn::Result<()> {
        let Given { name, value } = given;
        match name.to_string().as_str() {
            "key" => self.key = Some(tpl(expr(&name, value, "\"job:{id}\"")?, KEY_TAKES)?),
            "lease" => self.lease = Some(lease(&expr(&name, value, "30")?)?),
            "wait" => self.wait = Some(upto_a_year("wait", &expr(&name, value, "\"5s\"")?)?),
            "cache" => self.cache = Some(expr(&name, value, "self.cache")?),
            _ => self.krate = Some(krate(&name, value)?),
        }
        Ok(())
    }
}

fn lease(value: &Expr) -> syn::Result<Dur> {
    let lease = upto_a_year("lease", value)?;
    if lease.millis < SHORTEST_LEASE_MILLIS {
        let message = "`lease` is under 1s, shorter than its renewal can be";
        return Err(syn::Error::new(lease.span, message));
    }
    Ok(lease)
}

fn upto_a_year(option: &str, value: &Expr) -> syn::Result<Dur> {
    let time = dur(option, value)?;
    if time.millis > YEAR_MILLIS {
        let message = format_args!("`{option}` is longer than a year; write a shorter one");
        return Err(syn::Error::new(time.span, message));
    }
    Ok(time)
}
