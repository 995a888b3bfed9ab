use proc_macro2::{Ident, Span};

use super::{Dur, Names, Value, dur, expr, flag};
use crate::errors::Errors;

/// `stale`, `stale_if_error`, `refresh_early` and `max_wait`: what is done with a value that is old,
/// or about to be.
#[derive(Default)]
pub(crate) struct Freshness {
    pub(crate) stale: Option<Period>,
    pub(crate) stale_if_error: Option<Period>,
    pub(crate) refresh_early: Option<Span>,
    pub(crate) max_wait: Option<Period>,
}

/// A time, and the name of its option.
#[derive(Clone, Copy)]
pub(crate) struct Period {
    pub(crate) name: Span,
    pub(crate) dur: Dur,
}

impl Freshness {
    pub(super) fn set(&mut self, name: &Ident, value: Value) -> syn::Result<()> {
        match name.to_string().as_str() {
            "stale" => self.stale = Some(period(name, value, "30")?),
            "stale_if_error" => self.stale_if_error = Some(period(name, value, "\"1h\"")?),
            "refresh_early" => self.refresh_early = Some(flag(name, &value)?),
            _ => self.max_wait = Some(period(name, value, "\"200ms\"")?),
        }
        Ok(())
    }

    pub(super) fn check(&self, names: &Names, errors: &mut Errors) {
        if let Some(max_wait) = self.max_wait
            && !names.were_meant("stale")
            && !names.were_meant("stale_if_error")
        {
            let message = "`max_wait` has no old value to give; add `stale` or `stale_if_error`";
            errors.at(max_wait.name, message);
        }
        if let (Some(stale), Some(if_error)) = (self.stale, self.stale_if_error)
            && if_error.dur.millis <= stale.dur.millis
        {
            let message = "`stale_if_error` is not longer than `stale`, which outlasts an error too; \
                           leave it out";
            errors.at(if_error.dur.span, message);
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        self.stale_if_error.is_some() || self.leaves_at().is_some()
    }

    /// The option for whose sake a run leaves its caller, if it can.
    pub(crate) fn leaves_at(&self) -> Option<Span> {
        let name = |period: Period| period.name;
        self.max_wait.map(name).or(self.stale.map(name)).or(self.refresh_early)
    }

    /// How long past `ttl` a value may be served, and the option that says so.
    pub(crate) fn longest(&self) -> Option<(&'static str, u64)> {
        let stale = self.stale.map(|stale| ("stale", stale.dur.millis));
        let if_error = self.stale_if_error.map(|stale| ("stale_if_error", stale.dur.millis));
        stale.into_iter().chain(if_error).max_by_key(|(_, millis)| *millis)
    }
}

fn period(name: &Ident, value: Value, example: &str) -> syn::Result<Period> {
    let dur = dur(&name.to_string(), &expr(name, value, example)?)?;
    Ok(Period { name: name.span(), dur })
}
