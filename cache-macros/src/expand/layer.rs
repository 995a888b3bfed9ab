use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Attribute, Meta, Path};

use super::Handle;
use crate::{
    args::{CachedArgs, InvalidatesArgs, LockedArgs, RateLimitedArgs, UpdatesArgs},
    check::{check_settings, check_targets},
    errors::Errors,
    signature::{Function, Shape},
};

/// One attribute of this crate on a function.
pub(super) struct Layer {
    name: &'static str,
    /// Its name where it is written, or all of it if it is the topmost: no token of that one is
    /// known.
    at: TokenStream,
    pub(super) args: Args,
}

#[allow(clippy::large_enum_variant, reason = "there are as many as attributes on a function")]
pub(super) enum Args {
    Cached(CachedArgs),
    Invalidates(InvalidatesArgs),
    Updates(UpdatesArgs),
    RateLimited(RateLimitedArgs),
    Locked(LockedArgs),
}

/// All attributes of this crate on a function. They nest as they are read: the topmost is the
/// outermost, and expands the others.
pub(super) struct Layers(Vec<Layer>);

/// The attributes of this crate, by their last path segment.
const OURS: [&str; 5] = ["cached", "invalidates", "updates", "rate_limited", "locked"];

impl Layers {
    /// The attribute that is expanded, and those of this crate that stand below it, which leave
    /// the function.
    pub(super) fn of(
        name: &'static str,
        args: TokenStream,
        function: &mut Function,
        shape: Option<&Shape>,
        errors: &mut Errors,
    ) -> Self {
        let topmost = quote_spanned!(Span::call_site()=> _);
        let mut layers = vec![Layer::parse(name, topmost, args, shape, errors)];
        let mut others = Vec::new();
        for attr in std::mem::take(&mut function.attrs) {
            let Some(name) = ours(&attr) else {
                others.push(attr);
                continue;
            };
            let at = attr.path().to_token_stream();
            let args = match attr.meta {
                Meta::List(list) => list.tokens,
                Meta::Path(_) | Meta::NameValue(_) => TokenStream::new(),
            };
            layers.push(Layer::parse(name, at, args, shape, errors));
        }
        function.attrs = others;
        let layers = Self(layers);
        layers.check_order(errors);
        layers.check_guards(errors);
        layers.use_below(function);
        layers
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Layer> {
        self.0.iter()
    }

    /// What callers get, if that is not what the function returns.
    pub(super) fn handle(&self) -> Option<Handle> {
        self.iter().find_map(|layer| match &layer.args {
            Args::Cached(args) => Some(Handle::of(args)),
            Args::Invalidates(_) | Args::Updates(_) | Args::RateLimited(_) | Args::Locked(_) => {
                None
            }
        })
    }

    /// What stands above one of them.
    pub(super) fn above(&self, at: usize) -> impl Iterator<Item = &Args> {
        self.0[..at].iter().map(|layer| &layer.args)
    }

    /// One that says where this crate is says it for all.
    pub(super) fn krate(&self) -> Option<&Path> {
        self.iter().find_map(|layer| match &layer.args {
            Args::Cached(args) => args.krate.as_ref(),
            Args::Invalidates(args) => args.krate.as_ref(),
            Args::Updates(args) => args.krate.as_ref(),
            Args::RateLimited(args) => args.krate.as_ref(),
            Args::Locked(args) => args.krate.as_ref(),
        })
    }

    /// Names the attributes below the topmost in the body: rustc sees them nowhere else, and would
    /// call their imports unused.
    fn use_below(&self, function: &mut Function) {
        let below = self.0[1..].iter().map(|layer| &layer.at);
        let statements = function.body.stream();
        let body = quote!(#(#[allow(unused_imports)] use #below as _;)* #statements);
        let span = function.body.span();
        function.body = Group::new(Delimiter::Brace, body);
        function.body.set_span(span);
    }

    /// What changes the cache does so when the function runs, and a call of a cached function does
    /// not run it each time. A guard may stand anywhere: above, it is in front of each call.
    fn check_order(&self, errors: &mut Errors) {
        let Some(cached) = self.iter().position(Layer::is_cached) else { return };
        let changes = self.0[..cached].iter().filter(|layer| layer.is_change());
        for Layer { name, at, .. } in changes {
            let message = format_args!(
                "`#[{name}]` goes below `#[cached]`, so that it acts when the function runs"
            );
            errors.on(at, message);
        }
        for again in self.0[cached + 1..].iter().filter(|layer| layer.is_cached()) {
            errors.on(&again.at, "`#[cached]` is already applied to this function");
        }
    }

    /// Two guards that are one to the runtime: a limit would count a call twice, and who has a lock wait
    /// for it.
    fn check_guards(&self, errors: &mut Errors) {
        for (at, layer) in self.iter().enumerate() {
            let before = &self.0[..at];
            match &layer.args {
                Args::RateLimited(args) if before.iter().any(|other| other.is_limit(args)) => {
                    let message = "a `#[rate_limited]` above has the same key, `per` and \
                                   algorithm, and would count each call twice; give this one \
                                   another `key`";
                    errors.on(&layer.at, message);
                }
                Args::Locked(args) if before.iter().any(|other| other.is_lock(args)) => {
                    let message = "a `#[locked]` above holds this lock already; remove one of them";
                    errors.on(&layer.at, message);
                }
                _ => {}
            }
        }
    }
}

impl Layer {
    fn parse(
        name: &'static str,
        at: TokenStream,
        args: TokenStream,
        shape: Option<&Shape>,
        errors: &mut Errors,
    ) -> Self {
        let args_of_function = shape.map_or(&[][..], |shape| &shape.args);
        let args = match name {
            "cached" => {
                let args = CachedArgs::parse(args, &at, errors);
                check_settings(&args, errors);
                Args::Cached(args)
            }
            "invalidates" => {
                let args = InvalidatesArgs::parse(args, &at, args_of_function, errors);
                check_targets(&args, errors);
                Args::Invalidates(args)
            }
            "updates" => Args::Updates(UpdatesArgs::parse(args, &at, args_of_function, errors)),
            "rate_limited" => Args::RateLimited(RateLimitedArgs::parse(args, &at, errors)),
            "locked" => Args::Locked(LockedArgs::parse(args, &at, errors)),
            other => unreachable!("`{other}` is no attribute of this crate"),
        };
        Self { name, at, args }
    }

    fn is_change(&self) -> bool {
        matches!(self.args, Args::Invalidates(_) | Args::Updates(_))
    }

    fn is_limit(&self, args: &RateLimitedArgs) -> bool {
        matches!(&self.args, Args::RateLimited(own) if own.is(args))
    }

    fn is_lock(&self, args: &LockedArgs) -> bool {
        matches!(&self.args, Args::Locked(own) if own.is(args))
    }

    fn is_cached(&self) -> bool {
        matches!(self.args, Args::Cached(_))
    }
}

fn ours(attr: &Attribute) -> Option<&'static str> {
    let last = attr.path().segments.last()?;
    OURS.into_iter().find(|name| last.ident == name)
}
