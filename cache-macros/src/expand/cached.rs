use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Path, spanned::Spanned as _};

use super::{at_output, parts::Parts};
use crate::{
    args::{CachedArgs, Jitter, Local, Ttl},
    check::{check_key, check_names, check_output, check_owned},
    errors::Errors,
    signature::{Asyncness, Function, Shape},
    template::{Of, Template},
};

/// Input:
/// ```text
/// async fn get_user(id: u64) -> Result<User, E> { … }
/// ```
/// Output:
/// ```text
/// fn get_user(id: u64) -> ::larder::Cached<impl Future<Output = Result<User, E>>> {
///     let __call = {
///         static __SITE: Site = Site::new().key("user:{}").ttl(60_000);
///         let mut __key = KeyBytes::new();
///         (&Part(&id)).write_to(__key.writer());
///         call(__key, &__SITE, path_of(&|| ()), (&&&&Output::OF).shape(), (&&&Output::OF).sharing())
///     };
///     __call.or_else(async move { … })
/// }
/// ```
pub(super) fn expand(
    args: &CachedArgs,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    run: &TokenStream,
    errors: &mut Errors,
) -> TokenStream {
    if args.detached.is_some() {
        let message = "a detached call outlives its caller, so its arguments must be owned";
        check_owned(function, message, errors);
    }
    let template = args.key.as_ref().and_then(|key| errors.keep(Template::parse(key, Of::Key)));
    check_output(args, shape, errors);
    check_key(args, template.as_ref(), shape, errors);
    let mut tags = Vec::new();
    for tag in &args.tags {
        if let Some(tag) = errors.keep(Template::parse(tag, Of::Tag)) {
            check_names(&tag, shape, errors);
            tags.push(tag);
        }
    }
    let call = call(args, krate, template.as_ref(), &tags, shape);
    emit(args, krate, function, shape, &call, run)
}

fn emit(
    args: &CachedArgs,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    call: &TokenStream,
    run: &TokenStream,
) -> TokenStream {
    let Function { attrs, vis, sig, body } = function;
    let output = &shape.output;
    let at_output = at_output(shape);
    let or_else = match args.detached {
        Some(span) => Ident::new("or_spawn", span),
        None if has_knobs(args) => Ident::new("or_else_by", at_output),
        None => Ident::new("or_else", at_output),
    };
    let or_else = quote_spanned!(at_output=> __call.#or_else);
    let run = quote_spanned!(body.span()=> async move { #run });
    let mut sig = sig.clone();
    let value = match shape.asyncness {
        Asyncness::Native => {
            sig.asyncness = None;
            // The edition of the `impl` decides what it captures: ours, whatever the user's is.
            sig.output = syn::parse_quote_spanned!(at_output=>
                -> #krate::Cached<impl ::core::future::Future<Output = #output>>
            );
            quote_spanned!(at_output=> #or_else(#run))
        }
        Asyncness::Boxed => quote_spanned!(Span::mixed_site()=>
            ::std::boxed::Box::pin(#or_else(#run))
        ),
    };
    let is_inlined = attrs.iter().any(|attr| attr.path().is_ident("inline"));
    let inline = (!is_inlined).then(|| quote!(#[inline]));
    quote_spanned!(Span::mixed_site()=>
        #(#attrs)*
        #[allow(refining_impl_trait, clippy::manual_async_fn)]
        #inline
        #vis #sig {
            #[allow(clippy::used_underscore_binding)]
            let __call = #call;
            #value
        }
    )
}

/// Whether something decides that the site, which is a constant, cannot hold.
fn has_knobs(args: &CachedArgs) -> bool {
    let has_fixed_ttl = matches!(args.ttl, None | Some(Ttl::Fixed(_)));
    !has_fixed_ttl || args.cache_if.is_some() || args.share_error.is_some()
}

/// The block that makes a call of the arguments, without the body.
fn call(
    args: &CachedArgs,
    krate: &Path,
    template: Option<&Template>,
    tags: &[Template],
    shape: &Shape,
) -> TokenStream {
    let output = &shape.output;
    let private = quote!(#krate::__private);
    let mut parts = Parts::new(&private, shape);
    match template {
        Some(template) => parts.key(template),
        None => parts.hashed(&args.skip),
    }
    let tags_of_site = tags_of_site(args, &private, tags, &mut parts);
    let site = site(args, template);
    let key = parts.into_statements();
    let at_output = at_output(shape);
    let shape_of = match (args.not_remote.is_some(), tags.is_empty()) {
        (false, true) => "shape",
        (true, true) => "memory_shape",
        (false, false) => "tagged_shape",
        (true, false) => "tagged_memory_shape",
    };
    let shape_of = Ident::new(shape_of, at_output);
    let sharing = match &args.share_error {
        Some(copy) => quote_spanned!(at_output=> .share_error(#copy)),
        None => quote!(),
    };
    let start = format_ident!("{}", if args.cache.is_some() { "call_on" } else { "call" });
    let on = args.cache.as_ref().map(|cache| quote_spanned!(cache.span()=> &#cache,));
    let ttl = match &args.ttl {
        Some(Ttl::Of(ttl)) => {
            let set = Ident::new("ttl", ttl.span());
            quote_spanned!(at_output=> .#set(#ttl))
        }
        Some(Ttl::By(ttl)) => quote_spanned!(at_output=> .ttl_by(#ttl)),
        Some(Ttl::Fixed(_)) | None => quote!(),
    };
    let cache_if =
        args.cache_if.as_ref().map(|admit| quote_spanned!(at_output=> .cache_if(#admit)));
    let none_ttl = args.none_ttl.map(|_| quote_spanned!(at_output=> __call.none_ttl();));
    let shape = quote_spanned!(at_output=> (&&&&#private::Output::<#output>::OF).#shape_of());
    quote_spanned!(at_output=> {
        #[allow(unused_imports)]
        use #private::{
            AnyError as _, ClonedError as _, NoPart as _, PartOf as _, ShapeOf as _, TextError as _,
        };
        static __SITE: #private::Site = #private::Site::new()#site #tags_of_site;
        #[allow(unused_mut)]
        let mut __key = #private::KeyBytes::new();
        #key
        let __call = #private::#start(
            #on
            __key,
            &__SITE,
            #private::path_of(&|| ()),
            #shape,
            (&&&#private::Output::<#output>::OF).sharing(),
        );
        let __call = __call #ttl #cache_if #sharing;
        #none_ttl
        __call
    })
}

/// Input: `tags("team:{team}", "users")`. Output: `.tags(&[Tag { template: "team:{}", … }, …], 1)`.
fn tags_of_site(
    args: &CachedArgs,
    private: &TokenStream,
    tags: &[Template],
    parts: &mut Parts<'_>,
) -> Option<TokenStream> {
    if tags.is_empty() {
        return None;
    }
    let own = parts.len();
    let tags = tags.iter().map(|tag| {
        let (template, parts) = (&tag.pieces, parts.tag(tag));
        quote!(#private::Tag { template: #template, parts: &[#(#parts),*] })
    });
    let strict = args.tags_strict.map(|_| quote!(.tags_strict()));
    Some(quote!(.tags(&[#(#tags),*], #own) #strict))
}

fn site(args: &CachedArgs, template: Option<&Template>) -> TokenStream {
    let mut site = TokenStream::new();
    if let Some(template) = template {
        let pieces = &template.pieces;
        site.extend(quote!(.key(#pieces)));
    }
    if let Some(Ttl::Fixed(ttl)) = &args.ttl {
        let millis = ttl.millis;
        site.extend(quote!(.ttl(#millis)));
    }
    match &args.jitter {
        Some(Jitter::Upto(most)) => {
            let millis = most.millis;
            site.extend(quote!(.jitter(#millis)));
        }
        Some(Jitter::Percent(percent)) => site.extend(quote!(.jitter_percent(#percent))),
        None => {}
    }
    if let Some(none_ttl) = &args.none_ttl {
        let millis = none_ttl.millis;
        site.extend(quote!(.none_ttl(#millis)));
    }
    match &args.local {
        Some(Local::Upto(most)) => {
            let millis = most.millis;
            site.extend(quote!(.local(#millis)));
        }
        Some(Local::Not) => site.extend(quote!(.local(0))),
        None => {}
    }
    if args.not_remote.is_some() {
        site.extend(quote!(.not_remote()));
    }
    if let Some(version) = args.version {
        site.extend(quote!(.version(#version)));
    }
    site
}
