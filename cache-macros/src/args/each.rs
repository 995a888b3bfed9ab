use proc_macro2::{Ident, TokenTree};
use syn::{
    Token,
    parse::{ParseStream, Parser as _},
};

use super::Value;

/// `each(id in ids)`
pub(crate) struct Each {
    /// What one of them is called.
    pub(crate) element: Ident,
    /// The argument.
    pub(crate) all: Ident,
}

const EACH_TAKES: &str =
    "`each` names an element and its argument; write for example `each(id in ids)`";

pub(super) fn each(name: &Ident, value: Value) -> syn::Result<Each> {
    let list = match value {
        Value::List(list) if !list.is_empty() => list,
        _ => return Err(syn::Error::new(name.span(), EACH_TAKES)),
    };
    let all_of_it = list.clone();
    let parse = |input: ParseStream<'_>| {
        each_of(input).map_err(|_| match input.parse::<TokenTree>() {
            Ok(unexpected) => syn::Error::new_spanned(unexpected, EACH_TAKES),
            // It ends too early.
            Err(_) => syn::Error::new_spanned(&all_of_it, EACH_TAKES),
        })
    };
    parse.parse2(list)
}

fn each_of(input: ParseStream<'_>) -> syn::Result<Each> {
    let element = input.parse()?;
    input.parse::<Token![in]>()?;
    let all = input.parse()?;
    input.parse::<Option<Token![,]>>()?;
    if input.is_empty() { Ok(Each { element, all }) } else { Err(input.error(EACH_TAKES)) }
}

#[cfg(test)]
mod tests {
    use proc_macro2::{Span, TokenStream};
    use quote::quote;

    use super::*;

    fn parsed(list: TokenStream) -> Option<(String, String)> {
        let each = each(&Ident::new("each", Span::call_site()), Value::List(list)).ok()?;
        Some((each.element.to_string(), each.all.to_string()))
    }

    #[test]
    fn an_element_is_in_an_argument() {
        let ids = || Some(("id".to_owned(), "ids".to_owned()));
        assert_eq!(parsed(quote!(id in ids)), ids());
        assert_eq!(parsed(quote!(id in ids,)), ids());
        let raw = Some(("r#type".to_owned(), "types".to_owned()));
        assert_eq!(parsed(quote!(r#type in types)), raw);
    }

    #[test]
    fn anything_else_is_refused() {
        for list in [
            quote!(),
            quote!(id),
            quote!(id in),
            quote!(id of ids),
            quote!(_ in ids),
            quote!((a, b) in pairs),
            quote!(id in &ids),
            quote!(id in self),
            quote!(id in self.ids),
            quote!(id in ids, name in names),
        ] {
            let text = list.to_string();
            assert_eq!(parsed(list), None, "{text}");
        }
    }
}
