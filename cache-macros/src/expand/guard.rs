//! What stands in front of a run: it lets the run through, or denies it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Expr, Path, spanned::Spanned as _};

use super::{at, at_output, parts::Parts, private};
use crate::{
    args::{Count, Dur, LockedArgs, RateLimitedArgs},
    check::check_names,
    errors::Errors,
    signature::{Function, Shape},
    template::{Of, Template},
};

/// One `#[rate_limited]` or `#[locked]`.
///
/// Input:
/// ```text
/// #[rate_limited(limit = 10, per = "1m", key = "login:{ip}")]
/// { … }
/// ```
/// Output:
/// ```text
/// let __guard = {
///     static __SITE: LimitSite = LimitSite::new().key("login:{}").per(60_000);
///     limit(&__SITE, path_of(&|| ()), { …; __key }, 10, 1)
/// };
/// if let Err(__denied) = __guard.admit().await {
///     return denied(__denied);
/// }
/// { … }
/// ```
/// Input:
/// ```text
/// #[locked(key = "job:{id}", lease = 30)]
/// { … }
/// ```
/// Output:
/// ```text
/// let __guard = {
///     static __SITE: LockSite = LockSite::new("job:{}").lease(30_000);
///     lock(&__SITE, { …; __key })
/// };
/// match __guard.run(async move { … }).await {
///     Ok(__output) => __output,
///     Err(__denied) => denied(__denied),
/// }
/// ```
pub(super) struct Guard {
    kind: Kind,
    /// The block that makes it of the arguments. It borrows none of them.
    made: TokenStream,
    /// What the function returns of a denial.
    denied: TokenStream,
    /// At the body.
    body: Span,
}

#[derive(Clone, Copy)]
enum Kind {
    Limit,
    Lock,
}

impl Guard {
    pub(super) fn limit(
        args: &RateLimitedArgs,
        krate: &Path,
        function: &Function,
        shape: &Shape,
        errors: &mut Errors,
    ) -> Self {
        let private = private(krate, Span::mixed_site());
        let key = args.key.as_ref().and_then(|key| errors.keep(Template::parse(key, Of::Limit)));
        let key = key.as_ref();
        let pieces = key.map(|key| {
            let pieces = &key.pieces;
            quote!(.key(#pieces))
        });
        let burst = args.burst.map(|burst| {
            let burst = burst.value;
            quote!(.burst(#burst))
        });
        let algorithm = variant("algorithm", &quote!(#private::Algorithm), args.algorithm);
        let when_down = variant("when_down", &quote!(#private::WhenDown), args.when_down);
        let (per, wait) = (time("per", args.per), time("wait", args.wait));
        let limit = args.limit.as_ref().map(count);
        let cost = args.cost.as_ref().map_or(quote!(1), count);
        let site = quote!(new() #pieces #per #burst #algorithm #wait #when_down);
        let key = key_of(key, &private, shape, errors);
        let (limit_on, on) = on("limit", args.cache.as_ref());
        let made = quote_spanned!(Span::mixed_site()=> {
            let __limit = #limit;
            let __cost = #cost;
            static __SITE: #private::LimitSite = #private::LimitSite::#site;
            #private::#limit_on(#on &__SITE, #private::path_of(&|| ()), #key, __limit, __cost)
        });
        Self::of(Kind::Limit, made, krate, function, shape)
    }

    pub(super) fn lock(
        args: &LockedArgs,
        krate: &Path,
        function: &Function,
        shape: &Shape,
        errors: &mut Errors,
    ) -> Self {
        let private = private(krate, Span::mixed_site());
        let key = args.key.as_ref().and_then(|key| errors.keep(Template::parse(key, Of::Lock)));
        let pieces = key.as_ref().map(|key| &key.pieces);
        let (lease, wait) = (time("lease", args.lease), time("wait", args.wait));
        let key = key_of(key.as_ref(), &private, shape, errors);
        let (lock_on, on) = on("lock", args.cache.as_ref());
        let made = quote_spanned!(Span::mixed_site()=> {
            static __SITE: #private::LockSite = #private::LockSite::new(#pieces) #lease #wait;
            #private::#lock_on(#on &__SITE, #key)
        });
        Self::of(Kind::Lock, made, krate, function, shape)
    }

    fn of(kind: Kind, made: TokenStream, krate: &Path, function: &Function, shape: &Shape) -> Self {
        let at_output = at_output(shape);
        let private = private(krate, at_output);
        // Inference knows the output by it, though it may be the first that the body returns.
        let output = shape.named_output().unwrap_or_else(|| quote_spanned!(at_output=> _));
        let denial = Ident::new(
            match kind {
                Kind::Limit => "RateLimited",
                Kind::Lock => "LockError",
            },
            at_output,
        );
        let denied = quote_spanned!(at_output=>
            #private::denied::<#krate::#denial, #output>(__denied)
        );
        Self { kind, made, denied, body: function.body.span() }
    }

    /// The run behind the guard, as statements.
    pub(super) fn around(&self, run: &TokenStream) -> TokenStream {
        let name = Ident::new("__guard", Span::mixed_site());
        let (taken, guarded) = (self.taken(&name), self.guarding(&name, run));
        quote!(#taken #guarded)
    }

    fn taken(&self, name: &Ident) -> TokenStream {
        let made = &self.made;
        quote_spanned!(Span::mixed_site()=>
            #[allow(clippy::used_underscore_binding)]
            let #name = #made;
        )
    }

    fn guarding(&self, guard: &Ident, run: &TokenStream) -> TokenStream {
        let denied = &self.denied;
        match self.kind {
            // The run in a block of its own, so that its items are not seen by the guard.
            Kind::Limit => {
                let run = quote_spanned!(self.body=> { #run });
                quote_spanned!(Span::mixed_site()=>
                    if let ::core::result::Result::Err(__denied) = #guard.admit().await {
                        return #denied;
                    }
                    #run
                )
            }
            Kind::Lock => {
                let run = quote_spanned!(self.body=> async move { #run });
                quote_spanned!(Span::mixed_site()=>
                    match #guard.run(#run).await {
                        ::core::result::Result::Ok(__output) => __output,
                        ::core::result::Result::Err(__denied) => #denied,
                    }
                )
            }
        }
    }
}

/// Guards above `#[cached]`, from the outermost: made when the call is, and asked when it is awaited.
///
/// Output: `let __guard_0 = …;` and `.guarded(move |__run| async move { …; __run.await })`.
pub(super) fn above(guards: &[Guard]) -> (TokenStream, TokenStream) {
    if guards.is_empty() {
        return (TokenStream::new(), TokenStream::new());
    }
    let mut taken = TokenStream::new();
    let mut run = quote_spanned!(Span::mixed_site()=> __run.await);
    let name = |at| format_ident!("__guard_{at}", span = Span::mixed_site());
    for (at, guard) in guards.iter().enumerate() {
        taken.extend(guard.taken(&name(at)));
    }
    for (at, guard) in guards.iter().enumerate().rev() {
        run = guard.guarding(&name(at), &run);
    }
    let guarded = quote_spanned!(Span::mixed_site()=> .guarded(move |__run| async move { #run }));
    (taken, guarded)
}

/// The parts of a guard's key.
fn key_of(
    template: Option<&Template>,
    private: &TokenStream,
    shape: &Shape,
    errors: &mut Errors,
) -> TokenStream {
    let Some(template) = template else { return quote!(#private::KeyBytes::new()) };
    check_names(template, shape, errors);
    let mut parts = Parts::new(private, shape);
    parts.all(template);
    let parts = parts.into_statements();
    quote_spanned!(Span::mixed_site()=> {
        #[allow(unused_imports)]
        use #private::{NoPart as _, PartOf as _};
        #[allow(unused_mut)]
        let mut __key = #private::KeyBytes::new();
        #parts
        __key
    })
}

/// Spanned at an expression: there is the error if it is no `u32`.
fn count(count: &Count) -> TokenStream {
    match count {
        Count::Fixed(number) => {
            let number = number.value;
            quote!(#number)
        }
        Count::Of(count) => quote_spanned!(at(count)=> {
            let __count: ::core::primitive::u32 = #count;
            __count
        }),
    }
}

/// Input: `cache = self.cache`. Output: `limit_on` and `&self.cache,`.
fn on(start: &str, cache: Option<&Expr>) -> (Ident, Option<TokenStream>) {
    let start = format_ident!(
        "{start}{}",
        if cache.is_some() { "_on" } else { "" },
        span = Span::mixed_site()
    );
    (start, cache.map(|cache| quote_spanned!(cache.span()=> &#cache,)))
}

fn time(set: &str, time: Option<Dur>) -> Option<TokenStream> {
    let (set, millis) = (format_ident!("{set}"), time?.millis);
    Some(quote!(.#set(#millis)))
}

/// Output: `.when_down(WhenDown::Deny)`.
fn variant(set: &str, of: &TokenStream, variant: Option<&str>) -> Option<TokenStream> {
    let (set, variant) = (format_ident!("{set}"), format_ident!("{}", variant?));
    Some(quote!(.#set(#of::#variant)))
}
