use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

use crate::elements::Elements;

/// Input:
/// ```text
/// #[cached(ttl = 60, key = "user:{id}", each(id in ids))]
/// async fn load_users(db: &Db, ids: &[u64]) -> Result<HashMap<u64, User>, E> { … }
/// ```
/// Output:
/// ```text
/// fn load_users(db: &Db, ids: &[u64]) -> ::larder::Batch<impl Future<Output = Result<HashMap<u64, User>, E>>> {
///     let __call = {
///         static __SITE: Site = Site::new().key("user:{}").ttl(60_000);
///         batch(
///             &ids,
///             |id| {
///                 let mut __key = KeyBytes::new();
///                 (&Part(&(*id))).write_to(__key.writer());
///                 __key
///             },
///             &__SITE, path_of(&|| ()), (&&Output::OF).each_shape(), (&&&Output::OF).sharing(),
///         )
///     };
///     __call.or_load(move |__ids: Vec<_>| async move {
///         let ids: &[u64] = &__ids;
///         …
///     })
/// }
/// ```
///
/// That is `load`: the body, as a function of the elements that it has to be run for.
pub(super) fn load(elements: &Elements, body: Span, run: &TokenStream) -> TokenStream {
    let ids = Ident::new("__ids", Span::mixed_site());
    let rebound = elements.rebound(&ids);
    let run = quote_spanned!(body=> async move { #rebound #run });
    quote_spanned!(Span::mixed_site()=> move |#ids: ::std::vec::Vec<_>| #run)
}

/// The elements, and the key of one of them.
pub(super) fn elements_and_key(elements: &Elements, key: &TokenStream) -> TokenStream {
    let Elements { element, all, .. } = elements;
    // Spanned at the argument: there is the error if it has no elements.
    let all = quote_spanned!(all.span()=> &#all);
    quote_spanned!(Span::mixed_site()=>
        #all,
        |#element| {
            #key
            __key
        }
    )
}
