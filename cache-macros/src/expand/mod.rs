//! What is emitted.

mod batch;
mod cached;
mod change;
mod guard;
mod handle;
mod key_part;
mod layer;
mod parts;
mod run;
mod site;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Path, parse_quote, spanned::Spanned};

use crate::{
    check::check_below,
    errors::Errors,
    fallback,
    signature::{Asyncness, Function, Shape},
};
use guard::Guard;
use layer::{Args, Layers};

pub(crate) use handle::Handle;
pub(crate) use key_part::key_part;

/// Expands the topmost attribute of this crate on a function, and with it those below.
pub(crate) fn attribute(name: &'static str, args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let Ok(mut function) = syn::parse2::<Function>(item.clone()) else {
        let message = match syn::parse2::<syn::TraitItemFn>(item.clone()) {
            Ok(_) => format!("`#[{name}]` needs a body to run; put it on the implementation"),
            Err(_) => format!("`#[{name}]` needs an `async fn`"),
        };
        errors.at(Span::call_site(), message);
        let errors = errors.finish().err();
        return quote!(#errors #item);
    };
    let shape = function.shape();
    let layers = Layers::of(name, args, &mut function, shape.as_ref(), &mut errors);
    check_below(&function.attrs, name, &mut errors);
    let krate = layers.krate().cloned().unwrap_or_else(|| parse_quote!(::larder));
    let expanded = if let Some(shape) = &shape {
        expand(&layers, &krate, &function, shape, &mut errors)
    } else {
        errors.at(function.sig.fn_token.span, format_args!("`#[{name}]` needs an `async fn`"));
        TokenStream::new()
    };
    match errors.finish() {
        Ok(()) => expanded,
        Err(errors) => {
            let function = match (&shape, layers.handle()) {
                (Some(shape), Some(handle)) => fallback::cached(handle, &krate, &function, shape),
                _ => fallback::unchanged(&function),
            };
            // The function first: editors take the first use of a token for what it means.
            quote!(#function #errors)
        }
    }
}

/// From the innermost layer to the outermost: each wraps what the one below it has made.
fn expand(
    layers: &Layers,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    errors: &mut Errors,
) -> TokenStream {
    let mut run = body(function, shape);
    for (at, layer) in layers.iter().enumerate().rev() {
        run = match &layer.args {
            // Above it are guards alone, or there is an error about what else is.
            Args::Cached(args) => {
                let guards = guards(layers.above(at), krate, function, shape, errors);
                return cached::expand(args, krate, function, shape, &run, &guards, errors);
            }
            Args::Invalidates(args) => {
                change::invalidates(args, krate, function, shape, &run, errors)
            }
            Args::Updates(args) => change::updates(args, krate, function, shape, &run),
            Args::RateLimited(args) => {
                Guard::limit(args, krate, function, shape, errors).around(&run)
            }
            Args::Locked(args) => Guard::lock(args, krate, function, shape, errors).around(&run),
        };
    }
    in_place(function, shape, &run)
}

/// The guards among layers, which are in the order that they are read in.
fn guards<'a>(
    layers: impl Iterator<Item = &'a Args>,
    krate: &Path,
    function: &Function,
    shape: &Shape,
    errors: &mut Errors,
) -> Vec<Guard> {
    let guards = layers.filter_map(|args| match args {
        Args::RateLimited(args) => Some(Guard::limit(args, krate, function, shape, errors)),
        Args::Locked(args) => Some(Guard::lock(args, krate, function, shape, errors)),
        Args::Cached(_) | Args::Invalidates(_) | Args::Updates(_) => None,
    });
    guards.collect()
}

/// The body of the function, as statements of an async block.
fn body(function: &Function, shape: &Shape) -> TokenStream {
    let body = &function.body;
    match shape.asyncness {
        Asyncness::Native => {
            let typed = typed(shape);
            // Spliced, for a block of their own would be an unneeded one.
            let statements = body.stream();
            quote!(#typed #statements)
        }
        Asyncness::Boxed => quote_spanned!(Span::mixed_site()=>
            let __body = #body;
            __body.await
        ),
    }
}

/// The function with another body, and the type that it has.
fn in_place(function: &Function, shape: &Shape, run: &TokenStream) -> TokenStream {
    let Function { attrs, vis, sig, .. } = function;
    let run = match shape.asyncness {
        Asyncness::Native => run.clone(),
        Asyncness::Boxed => quote_spanned!(Span::mixed_site()=>
            ::std::boxed::Box::pin(async move { #run })
        ),
    };
    quote_spanned!(Span::mixed_site()=> #(#attrs)* #vis #sig { #run })
}

/// At the return type: there is the error if the value is not what it has to be. One span for all
/// that needs it to be, for the compiler leaves out what follows from an error of the same span.
fn at_output(shape: &Shape) -> Span {
    Span::mixed_site().located_at(shape.output_span)
}

/// A return that is never taken: it gives inference and coercions what the signature said. Of an
/// `impl Trait` it says nothing.
pub(crate) fn typed(shape: &Shape) -> Option<TokenStream> {
    let output = shape.named_output()?;
    Some(quote_spanned!(at_output(shape)=>
        #[allow(unreachable_code, clippy::diverging_sub_expression, clippy::empty_loop)]
        if false {
            let __output: #output = loop {};
            return __output;
        }
    ))
}

/// Where the runtime is, all of it at one span: an error about a path is at all of the path.
fn private(krate: &Path, span: Span) -> TokenStream {
    let path = krate.to_token_stream().into_iter().map(|mut token| {
        token.set_span(span.resolved_at(token.span()));
        token
    });
    quote_spanned!(span=> #(#path)*::__private)
}

/// At an expression of the user: there is the error if it is not what it has to be.
fn at(expr: &impl Spanned) -> Span {
    Span::mixed_site().located_at(expr.span())
}
