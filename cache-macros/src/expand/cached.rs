use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Path, spanned::Spanned as _};

use super::{
    at_output,
    batch::{elements_and_key, load},
    guard::{Guard, above},
    handle::Handle,
    parts::Parts,
    run::{check_leaving, or_run},
    site::{site, tags_of_site},
};
use crate::{
    args::{CachedArgs, Ttl},
    check::{check_key, check_names, check_output},
    elements::Elements,
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
/// Guards above it are in front of the call: `__call.or_else(…).guarded(…)`.
pub(super) fn expand(
    args: &CachedArgs,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    run: &TokenStream,
    guards: &[Guard],
    errors: &mut Errors,
) -> TokenStream {
    let each = args.each.as_ref();
    let elements = each.and_then(|each| Elements::of(each, function, shape, errors));
    if let Some(elements) = &elements {
        elements.check_common(args, errors);
    }
    check_leaving(args, function, elements.as_ref(), errors);
    let template = args.key.as_ref().and_then(|key| errors.keep(Template::parse(key, Of::Key)));
    let tags = args.tags.iter().filter_map(|tag| errors.keep(Template::parse(tag, Of::Tag)));
    let tags: Vec<Template> = tags.collect();
    check_output(args, shape, errors);
    let of_key = elements.as_ref().map(|elements| elements.shape_of_one(shape));
    let of_key = of_key.as_ref().unwrap_or(shape);
    // Without its elements there is an error about a batch already, and no use in others.
    if !args.is_batch || elements.is_some() {
        check_key(args, template.as_ref(), of_key, errors);
        for tag in &tags {
            check_names(tag, of_key, errors);
        }
    }
    let key = Key { template: template.as_ref(), tags: &tags, shape: of_key };
    let call = call(args, krate, &key, elements.as_ref());
    let of_call = OfCall { call: &call, run, guards };
    emit(args, krate, function, shape, elements.as_ref(), &of_call)
}

/// What a key is made of.
struct Key<'a> {
    template: Option<&'a Template>,
    tags: &'a [Template],
    shape: &'a Shape,
}

/// What a call is, and what it runs.
struct OfCall<'a> {
    call: &'a TokenStream,
    run: &'a TokenStream,
    /// What stands in front of it.
    guards: &'a [Guard],
}

fn emit(
    args: &CachedArgs,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    elements: Option<&Elements>,
    of_call: &OfCall<'_>,
) -> TokenStream {
    let OfCall { call, run, guards } = of_call;
    let Function { attrs, vis, sig, body } = function;
    let at_output = at_output(shape);
    let or_run = or_run(args, function, elements, shape);
    let mut sig = sig.clone();
    let run = if let Some(elements) = elements {
        elements.remove_mut(&mut sig);
        load(elements, body.span(), run)
    } else {
        quote_spanned!(body.span()=> async move { #run })
    };
    let at_run = Span::mixed_site().located_at(or_run.span());
    let (taken, guarded) = above(guards);
    let call_and_run = quote_spanned!(at_run=> __call.#or_run(#run) #guarded);
    let value = match shape.asyncness {
        Asyncness::Native => {
            sig.asyncness = None;
            sig.output = Handle::of(args).returned(krate, shape, at_output);
            call_and_run
        }
        Asyncness::Boxed => quote_spanned!(Span::mixed_site()=>
            ::std::boxed::Box::pin(#call_and_run)
        ),
    };
    let is_inlined = attrs.iter().any(|attr| attr.path().is_ident("inline"));
    let inline = (!is_inlined).then(|| quote!(#[inline]));
    quote_spanned!(Span::mixed_site()=>
        #(#attrs)*
        #[allow(refining_impl_trait, clippy::manual_async_fn)]
        #inline
        #vis #sig {
            #taken
            #[allow(clippy::used_underscore_binding)]
            let __call = #call;
            #value
        }
    )
}

/// The block that makes a call of the arguments, without the body.
fn call(
    args: &CachedArgs,
    krate: &Path,
    key: &Key<'_>,
    elements: Option<&Elements>,
) -> TokenStream {
    let Key { template, tags, shape } = *key;
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
    let key = quote_spanned!(at_output=>
        #[allow(unused_mut)]
        let mut __key = #private::KeyBytes::new();
        #key
    );
    let (start, statements, key, shape) = match elements {
        None => {
            let shape_of = Ident::new(shape_of, at_output);
            let shape =
                quote_spanned!(at_output=> (&&&&#private::Output::<#output>::OF).#shape_of());
            ("call", Some(key), quote_spanned!(at_output=> __key), shape)
        }
        Some(elements) => {
            let shape_of = format_ident!("each_{shape_of}", span = at_output);
            let shape = quote_spanned!(at_output=> (&&#private::Output::<#output>::OF).#shape_of());
            ("batch", None, elements_and_key(elements, &key), shape)
        }
    };
    let start = format_ident!("{start}{}", if args.cache.is_some() { "_on" } else { "" });
    let on = args.cache.as_ref().map(|cache| quote_spanned!(cache.span()=> &#cache,));
    let knobs = knobs(args, at_output);
    let none_ttl = args.none_ttl.map(|_| quote_spanned!(at_output=> __call.none_ttl();));
    quote_spanned!(at_output=> {
        #[allow(unused_imports)]
        use #private::{
            AnyError as _, ClonedError as _, EachOf as _, NoPart as _, PartOf as _, ShapeOf as _,
            TextError as _,
        };
        static __SITE: #private::Site = #private::Site::new()#site #tags_of_site;
        #statements
        let __call = #private::#start(
            #on
            #key,
            &__SITE,
            #private::path_of(&|| ()),
            #shape,
            (&&&#private::Output::<#output>::OF).sharing(),
        );
        let __call = __call #knobs;
        #none_ttl
        __call
    })
}

/// What the site, which is a constant, cannot hold.
pub(super) fn knobs(args: &CachedArgs, at_output: Span) -> TokenStream {
    let ttl = match &args.ttl {
        Some(Ttl::Of(ttl)) => {
            let set = Ident::new("ttl", ttl.span());
            Some(quote_spanned!(at_output=> .#set(#ttl)))
        }
        Some(Ttl::By(ttl)) => Some(quote_spanned!(at_output=> .ttl_by(#ttl))),
        Some(Ttl::Fixed(_)) | None => None,
    };
    let cache_if =
        args.cache_if.as_ref().map(|admit| quote_spanned!(at_output=> .cache_if(#admit)));
    let share_error =
        args.share_error.as_ref().map(|copy| quote_spanned!(at_output=> .share_error(#copy)));
    quote!(#ttl #cache_if #share_error)
}
