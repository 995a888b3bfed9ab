use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::{Path, ext::IdentExt as _, spanned::Spanned as _};

use super::at_output;
use crate::{
    args::{CachedArgs, Jitter, Local, Ttl},
    check::{check_key, check_output, check_owned},
    errors::Errors,
    signature::{Arg, Asyncness, Function, Shape},
    template::{Placeholder, Template},
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
    let template =
        args.key.as_ref().and_then(|key| errors.keep(Template::parse(key.template.clone())));
    check_output(args, shape, errors);
    check_key(args, template.as_ref(), shape, errors);
    let call = call(args, krate, template.as_ref(), shape);
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
    shape: &Shape,
) -> TokenStream {
    let site = site(args, template);
    let output = &shape.output;
    let private = quote!(#krate::__private);
    let at_output = at_output(shape);
    let shape_of =
        Ident::new(if args.not_remote.is_some() { "memory_shape" } else { "shape" }, at_output);
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
    let key = match (&args.key, template) {
        (Some(key), Some(template)) => by_template(&private, &key.named, template, shape),
        _ => by_hash(args, shape),
    };
    quote_spanned!(at_output=> {
        #[allow(unused_imports)]
        use #private::{
            AnyError as _, ClonedError as _, NoPart as _, PartOf as _, ShapeOf as _, TextError as _,
        };
        static __SITE: #private::Site = #private::Site::new()#site;
        #[allow(unused_mut)]
        let mut __key = #private::KeyBytes::new();
        #key
        let __call = #private::#start(
            #on
            __key,
            &__SITE,
            #private::path_of(&|| ()),
            (&&&&#private::Output::<#output>::OF).#shape_of(),
            (&&&#private::Output::<#output>::OF).sharing(),
        );
        let __call = __call #ttl #cache_if #sharing;
        #none_ttl
        __call
    })
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

/// Without `key`: every argument that is not skipped, in the order of the signature.
fn by_hash(args: &CachedArgs, shape: &Shape) -> TokenStream {
    let kept = shape.args.iter().filter(|arg| !args.skip.contains(&arg.name));
    kept.map(|Arg { name, is_impl }| {
        // Spanned at the argument: there is the error if it is no key part.
        let write = Ident::new(if *is_impl { "typed" } else { "part" }, name.span());
        let argument = quote_spanned!(name.span()=> &#name);
        quote_spanned!(Span::mixed_site()=> __key.writer().#write(#argument);)
    })
    .collect()
}

/// With `key`: its placeholders, in the order of the template.
fn by_template(
    private: &TokenStream,
    named: &[(Ident, syn::Expr)],
    template: &Template,
    shape: &Shape,
) -> TokenStream {
    let bindings = named.iter().map(|(name, value)| {
        let bound = bound(name);
        quote_spanned!(Span::mixed_site()=> let #bound = &(#value);)
    });
    // The user's own literal, handed to rustc: what is no key part is an error at the
    // placeholder, which no span of a macro can point to. Only plain names are such a literal.
    let is_plain = template.placeholders.iter().all(|placeholder| {
        placeholder.fields.is_empty()
            && (named.iter().any(|(name, _)| *name == placeholder.root)
                || shape.args.iter().any(|arg| arg.name == placeholder.root))
    });
    let is_plain = is_plain && !template.placeholders.is_empty();
    let literal = &template.literal;
    let check = is_plain.then(|| {
        let shadows = template.placeholders.iter().map(|placeholder| {
            let shadow = ident(&placeholder.root, literal.span());
            let value = value_of(placeholder, named, template, shape);
            quote_spanned!(Span::mixed_site()=> let #shadow = #private::Part(&#value);)
        });
        quote_spanned!(Span::mixed_site()=>
            if false {
                #(#shadows)*
                let _ = ::core::format_args!(#literal);
            }
        )
    });
    let write = |checked: &str, unchecked: &str, value: &TokenStream| {
        if is_plain {
            let write = Ident::new(checked, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> (&#private::Part(&#value)).#write(__key.writer());)
        } else {
            let write = Ident::new(unchecked, template.span());
            let value = quote_spanned!(template.span()=> (&#value));
            quote_spanned!(Span::mixed_site()=> __key.writer().#write #value;)
        }
    };
    let mut typed: Vec<&Ident> = Vec::new();
    let mut writes = TokenStream::new();
    for placeholder in &template.placeholders {
        let root = placeholder.root.as_str();
        let is_named = named.iter().any(|(name, _)| name == root);
        let is_type = !is_named && (root == "Self" || shape.types.iter().any(|name| name == root));
        let arg = shape.args.iter().find(|arg| !is_named && arg.name == root);
        let value = value_of(placeholder, named, template, shape);
        writes.extend(match arg {
            _ if is_type => quote_spanned!(Span::mixed_site()=>
                __key.writer().type_name(::core::any::type_name::<#value>());
            ),
            Some(Arg { name, is_impl: true }) if placeholder.fields.is_empty() => {
                typed.push(name);
                write("write_typed_to", "typed", &value)
            }
            _ => write("write_to", "part", &value),
        });
    }
    // An argument of a type that the caller chooses counts with its type, asked for or not.
    let used = |arg: &&Arg| {
        let in_template =
            template.placeholders.iter().any(|placeholder| arg.name == placeholder.root);
        let in_value = named.iter().any(|(_, value)| mentions(value, &arg.name));
        arg.is_impl && !typed.contains(&&arg.name) && (in_template || in_value)
    };
    let unasked = shape.args.iter().filter(used).map(|arg| {
        let name = &arg.name;
        quote_spanned!(Span::mixed_site()=>
            __key.writer().type_name(#private::type_name_of(&#name));
        )
    });
    quote_spanned!(Span::mixed_site()=> #(#bindings)* #check #writes #(#unasked)*)
}

/// The name that the value of `lang = expr` is bound to: apart from any argument.
fn bound(name: &Ident) -> Ident {
    format_ident!("__key_{}", name.unraw(), span = Span::mixed_site())
}

fn ident(name: &str, span: Span) -> Ident {
    name.strip_prefix("r#").map_or_else(|| Ident::new(name, span), |raw| Ident::new_raw(raw, span))
}

/// Input: `{self.tenant}`. Output: `self.tenant`.
fn value_of(
    placeholder: &Placeholder,
    named: &[(Ident, syn::Expr)],
    template: &Template,
    shape: &Shape,
) -> TokenStream {
    let root = placeholder.root.as_str();
    if let Some((name, _)) = named.iter().find(|(name, _)| name == root) {
        let root = bound(name);
        return with_fields(&quote!(#root), placeholder, template);
    }
    // Named as in the signature, but at the literal, where the user can change it.
    let at = |span: Span| template.span().resolved_at(span);
    let root = match &shape.receiver {
        Some(receiver) if root == "self" => {
            let this = syn::token::SelfValue(at(receiver.self_token.span));
            this.to_token_stream()
        }
        _ => {
            let known =
                shape.args.iter().map(|arg| &arg.name).chain(&shape.types).chain(&shape.consts);
            let known = known.into_iter().find(|known| *known == root);
            let span = known.map_or(template.span(), |known| at(known.span()));
            ident(root, span).to_token_stream()
        }
    };
    with_fields(&root, placeholder, template)
}

fn with_fields(root: &TokenStream, placeholder: &Placeholder, template: &Template) -> TokenStream {
    let fields = placeholder.fields.iter().map(|field| {
        if let Ok(index) = field.parse() {
            let index = syn::Index { index, span: template.span() };
            quote_spanned!(template.span()=> .#index)
        } else {
            let field = ident(field, template.span());
            quote_spanned!(template.span()=> .#field)
        }
    });
    quote!(#root #(#fields)*)
}

fn mentions(value: &syn::Expr, name: &Ident) -> bool {
    let mut names = Vec::new();
    crate::check::idents(value.to_token_stream(), &mut names);
    names.iter().any(|found| name == found)
}
