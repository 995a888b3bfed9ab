//! What stands in a function's place after an error: its type is as it would have been, so that
//! callers see no second error.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Path;

use crate::signature::{Asyncness, Function};

/// Input: `async fn f(id: u64) -> R { … }`.
/// Output: `fn f(id: u64) -> Cached<impl Future<Output = R>> { unexpanded(async move { … }) }`.
pub(crate) fn function(krate: &Path, function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, body } = function;
    let outer = attrs.iter().filter(|attr| !attr.path().is_ident("cached"));
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
    quote_spanned!(Span::mixed_site()=>
        #(#outer)*
        #[allow(unused_variables, unused_mut)]
        #vis #sig {
            #krate::__private::unexpanded(async move {
                #[allow(unreachable_code, clippy::diverging_sub_expression)]
                if false {
                    let __output: #output = loop {};
                    return __output;
                }
                let __output: #output = #body;
                __output
            })
        }
    )
}
