//! What stands in a function's place after an error: its type is as it would have been, so that
//! callers see no second error.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Path;

use crate::{
    check::is_inert,
    expand::typed,
    signature::{Asyncness, Function},
};

/// Input: `async fn f(id: u64) -> R { … }`.
/// Output: `fn f(id: u64) -> Cached<impl Future<Output = R>> { unexpanded(async move { … }) }`.
pub(crate) fn function(krate: &Path, function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, body } = function;
    // One that wraps the body would meet a function that is not as it expects.
    let outer = attrs.iter().filter(|attr| is_inert(attr));
    let Some(shape) = function.shape() else {
        return quote_spanned!(Span::mixed_site()=> #(#outer)* #vis #sig #body);
    };
    let Asyncness::Native = shape.asyncness else {
        return quote_spanned!(Span::mixed_site()=> #(#outer)* #vis #sig #body);
    };
    let output = &shape.output;
    let mut sig = sig.clone();
    sig.asyncness = None;
    sig.output = syn::parse_quote_spanned!(Span::mixed_site()=>
        -> #krate::Cached<impl ::core::future::Future<Output = #output>>
    );
    let statements = body.stream();
    let typed = shape.unnamed_output().is_none().then(|| typed(&shape));
    quote_spanned!(Span::mixed_site()=>
        #(#outer)*
        #[allow(unused_variables, unused_mut)]
        #vis #sig {
            #krate::__private::unexpanded(async move {
                #typed
                #statements
            })
        }
    )
}
