//! What stands in a function's place after an error: its type is as it would have been, so that
//! callers see no second error.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Attribute, Path};

use crate::{
    check::is_inert,
    expand::{Handle, typed},
    signature::{Asyncness, Function, Shape},
};

/// Input: `async fn f(id: u64) -> R { … }`.
/// Output: `fn f(id: u64) -> Cached<impl Future<Output = R>> { unexpanded(async move { … }) }`.
pub(crate) fn cached(
    handle: Handle,
    krate: &Path,
    function: &Function,
    shape: &Shape,
) -> TokenStream {
    let Asyncness::Native = shape.asyncness else {
        return unchanged(function);
    };
    let Function { vis, sig, body, .. } = function;
    let attrs = attrs(function);
    let mut sig = sig.clone();
    sig.asyncness = None;
    sig.output = handle.returned(krate, shape, Span::mixed_site());
    let unexpanded = handle.unexpanded();
    let statements = body.stream();
    let typed = typed(shape);
    quote_spanned!(Span::mixed_site()=>
        #(#attrs)*
        #[allow(unused_variables, unused_mut)]
        #vis #sig {
            #krate::__private::#unexpanded(async move {
                #typed
                #statements
            })
        }
    )
}

/// The function as it is written.
pub(crate) fn unchanged(function: &Function) -> TokenStream {
    let Function { vis, sig, body, .. } = function;
    let attrs = attrs(function);
    quote_spanned!(Span::mixed_site()=> #(#attrs)* #vis #sig #body)
}

/// One that wraps the body would meet a function that is not as it expects.
fn attrs(function: &Function) -> impl Iterator<Item = &Attribute> {
    function.attrs.iter().filter(|attr| is_inert(attr))
}
