use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ExprClosure, Path, ReturnType, parse_quote_spanned, spanned::Spanned as _};

use super::{at, at_output, parts::Parts, private};
use crate::{
    args::{After, Before, InvalidatesArgs, Tpl, UpdatesArgs},
    check::check_names,
    errors::Errors,
    signature::{Function, Shape},
    template::{Of, Template},
};

/// Input:
/// ```text
/// #[invalidates(get_user(id), tag("team:{team}"), |out| by_name(&out.name))]
/// { … }
/// ```
/// Output:
/// ```text
/// let mut __change = Change::new();
/// __change.target(get_user(id));
/// let __parts = {
///     let mut __key = KeyBytes::new();
///     (&Part(&team)).write_to(__key.writer());
///     __key
/// };
/// __change.tag("team:{}", &__parts);
/// __change.begin().await;
/// let __output = async move { … }.await;
/// let __succeeded = match (&Outcome(&__output)).success() {
///     Some(__value) => {
///         let __target = &mut __change;
///         of(__value, |out| __target.target(by_name(&out.name)));
///         true
///     }
///     None => false,
/// };
/// if __succeeded { __change.succeeded().await } else { __change.failed().await }
/// __output
/// ```
pub(super) fn invalidates(
    args: &InvalidatesArgs,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    run: &TokenStream,
    errors: &mut Errors,
) -> TokenStream {
    let private = private(krate, Span::mixed_site());
    let mut tag = |change: &str, tag: &Tpl, shape: &Shape| {
        let template = errors.keep(Template::parse(tag, Of::Tag))?;
        check_names(&template, shape, errors);
        let change = Ident::new(change, Span::mixed_site());
        Some(take_tag(&change, args.cache.is_some(), &private, &template, shape))
    };
    let hold = args.hold.map(|hold| {
        let millis = hold.millis;
        quote!(.hold(#millis))
    });
    let always = args.always.map(|_| quote!(.always()));
    // Before the body, which may move what it is a field of.
    let mut before: TokenStream = args
        .cache
        .iter()
        .map(|cache| {
            let private = super::private(krate, at(cache));
            let given = quote_spanned!(cache.span()=> &#cache);
            let cache = quote_spanned!(at(cache)=> #private::cache_of(#given));
            quote_spanned!(Span::mixed_site()=> let __cache = #cache;)
        })
        .collect();
    for target in &args.before {
        before.extend(match target {
            Before::Call(target) => {
                let take = quote_spanned!(at(target)=> __change.target(#target));
                Some(quote_spanned!(Span::mixed_site()=> #take;))
            }
            Before::Tag(template) => tag("__change", template, shape),
        });
    }
    let mut after = TokenStream::new();
    for After { closure, tag: template } in &args.after {
        let closure = match template {
            None => targeting(closure),
            Some(template) => {
                let tag = tag("__target", template, &shape.seen_in(&closure.inputs));
                let mut closure = closure.clone();
                closure.body = parse_quote_spanned!(at(&closure.body)=> { #tag });
                closure
            }
        };
        after.extend(quote_spanned!(Span::mixed_site()=>
            let __target = &mut __change;
            #private::of(__value, #closure);
        ));
    }
    let begin = if let Some(required) = args.hold_required {
        let span = Span::mixed_site().located_at(required);
        let private = super::private(krate, span);
        let unheld = quote_spanned!(span=> #private::unheld(__error));
        quote_spanned!(Span::mixed_site()=>
            if let ::core::result::Result::Err(__error) = __change.begin_required().await {
                return #unheld;
            }
        )
    } else {
        quote_spanned!(Span::mixed_site()=> __change.begin().await;)
    };
    let before = quote_spanned!(Span::mixed_site()=>
        let mut __change = #private::Change::new() #hold #always;
        #before
        #begin
    );
    around(&private, function, &before, run, &after)
}

/// The statements that take a tag.
fn take_tag(
    change: &Ident,
    has_cache: bool,
    private: &TokenStream,
    template: &Template,
    shape: &Shape,
) -> TokenStream {
    let mut parts = Parts::new(private, shape);
    parts.all(template);
    let (parts, pieces) = (parts.into_statements(), &template.pieces);
    let take = if has_cache {
        quote_spanned!(Span::mixed_site()=> #change.tag_in(&__cache, #pieces, &__parts);)
    } else {
        quote_spanned!(Span::mixed_site()=> #change.tag(#pieces, &__parts);)
    };
    quote_spanned!(Span::mixed_site()=>
        #[allow(clippy::used_underscore_binding)]
        let __parts = {
            #[allow(unused_imports)]
            use #private::{NoPart as _, PartOf as _};
            #[allow(unused_mut)]
            let mut __key = #private::KeyBytes::new();
            #parts
            __key
        };
        #take
    )
}

/// Input: `|out| by_name(&out.name)`. Output: `|out| __target.target(by_name(&out.name))`.
///
/// So the call may borrow what the closure makes for it.
fn targeting(closure: &ExprClosure) -> ExprClosure {
    let mut closure = closure.clone();
    let call = &closure.body;
    closure.body = match &closure.output {
        ReturnType::Default => parse_quote_spanned!(at(call)=> __target.target(#call)),
        ReturnType::Type(_, ty) => parse_quote_spanned!(at(call)=> {
            let __call: #ty = #call;
            __target.target(__call)
        }),
    };
    closure.output = ReturnType::Default;
    closure
}

/// Input:
/// ```text
/// #[updates(get_user(id))]
/// { … }
/// ```
/// Output:
/// ```text
/// let mut __change = Change::new();
/// let __entry = __change.updates(get_user(id));
/// __change.begin().await;
/// let __output = async move { … }.await;
/// let __succeeded = match (&Outcome(&__output)).success() {
///     Some(__value) => {
///         let __new = clone_of(__value);
///         __change.put(&__entry, __new);
///         true
///     }
///     None => false,
/// };
/// if __succeeded { __change.succeeded().await } else { __change.failed().await }
/// __output
/// ```
pub(super) fn updates(
    args: &UpdatesArgs,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    run: &TokenStream,
) -> TokenStream {
    // Without one there is an error about it already.
    let Some(target) = &args.target else { return run.clone() };
    let private = |span| super::private(krate, span);
    let take = quote_spanned!(at(target)=> __change.updates(#target));
    let change = private(Span::mixed_site());
    let before = quote_spanned!(Span::mixed_site()=>
        let mut __change = #change::Change::new();
        let __entry = #take;
        __change.begin().await;
    );
    // That it does not fit is an error at what makes it, or else at the call that it is for.
    let (new, fits) = if let Some(make) = &args.value {
        let private = private(at(make));
        (quote_spanned!(at(make)=> #private::of(__value, #make)), at(make))
    } else {
        let private = private(at_output(shape));
        (quote_spanned!(at_output(shape)=> #private::clone_of(__value)), at(target))
    };
    let put = quote_spanned!(fits=> __change.put(&__entry, __new));
    let after = quote_spanned!(Span::mixed_site()=>
        let __new = #new;
        #put;
    );
    around(&change, function, &before, run, &after)
}

/// The run with what is done before it, and after it to the value of a success.
///
/// The output is looked at before the next `await`, and not across it: so it need not be `Sync`
/// for the future to be `Send`.
fn around(
    private: &TokenStream,
    function: &Function,
    before: &TokenStream,
    run: &TokenStream,
    after: &TokenStream,
) -> TokenStream {
    let run = quote_spanned!(function.body.span()=> async move { #run });
    let success = quote_spanned!(Span::mixed_site()=> (&#private::Outcome(&__output)).success());
    let succeeded = if after.is_empty() {
        quote!(#success.is_some())
    } else {
        quote_spanned!(Span::mixed_site()=>
            match #success {
                ::core::option::Option::Some(__value) => {
                    #after
                    true
                }
                ::core::option::Option::None => false,
            }
        )
    };
    quote_spanned!(Span::mixed_site()=>
        #[allow(unused_imports)]
        use #private::Success as _;
        #before
        let __output = #run.await;
        let __succeeded = #succeeded;
        if __succeeded {
            __change.succeeded().await;
        } else {
            __change.failed().await;
        }
        __output
    )
}
