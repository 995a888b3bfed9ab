use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Data, DeriveInput, Fields, Index, Path, parse_quote, spanned::Spanned as _};

/// Input: `struct Page { author: String, number: u32 }`.
/// Output: `impl KeyPart for Page { fn write(&self, out) { out.tuple(|out| { out.part(…); … }) } }`.
pub(crate) fn key_part(item: TokenStream) -> TokenStream {
    match syn::parse2(item).and_then(|item| expand(&item)) {
        Ok(expanded) => expanded,
        Err(error) => error.to_compile_error(),
    }
}

fn expand(item: &DeriveInput) -> syn::Result<TokenStream> {
    let krate = krate(item)?;
    let write = match &item.data {
        Data::Struct(data) => {
            let fields = fields(&data.fields, |index, name| {
                if let Some(name) = name {
                    quote!(&self.#name)
                } else {
                    let index = Index::from(index);
                    quote!(&self.#index)
                }
            });
            match &data.fields {
                // A newtype is what is in it.
                Fields::Unnamed(unnamed) if unnamed.unnamed.len() == 1 => quote!(#(#fields)*),
                _ => quote!(__out.tuple(|__out| { #(#fields)* })),
            }
        }
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let ident = &variant.ident;
                let name = ident.to_string();
                let bound: Vec<Ident> = (0..variant.fields.len())
                    .map(|index| format_ident!("__field_{index}"))
                    .collect();
                let fields = fields(&variant.fields, |index, _| {
                    let bound = &bound[index];
                    quote!(#bound)
                });
                match &variant.fields {
                    Fields::Unit => quote!(Self::#ident => __out.part(#name),),
                    Fields::Unnamed(_) => quote!(
                        Self::#ident(#(#bound),*) => __out.variant(#name, |__out| { #(#fields)* }),
                    ),
                    Fields::Named(named) => {
                        let idents = named.named.iter().map(|field| &field.ident);
                        quote!(
                            Self::#ident { #(#idents: #bound),* } => {
                                __out.variant(#name, |__out| { #(#fields)* })
                            }
                        )
                    }
                }
            });
            if data.variants.is_empty() {
                quote!(match *self {})
            } else {
                quote!(match self { #(#arms)* })
            }
        }
        Data::Union(data) => {
            let message = "a union has no canonical form, so it is no key part";
            return Err(syn::Error::new(data.union_token.span, message));
        }
    };
    let mut generics = item.generics.clone();
    for param in generics.type_params_mut() {
        param.bounds.push(parse_quote!(#krate::KeyPart));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let ident = &item.ident;
    // At the call site, as its parts are: no expression of the user stands in it, whose names
    // could meet ours.
    Ok(quote!(
        #[automatically_derived]
        impl #impl_generics #krate::KeyPart for #ident #type_generics #where_clause {
            #[allow(unused_variables)]
            fn write(&self, __out: &mut #krate::KeyWriter<'_>) {
                #write
            }

            const NESTING: #krate::__private::Nesting = #krate::__private::Nesting::Plain;
        }
    ))
}

/// One `part` for each field, spanned at its type: there is the error if it is no key part.
fn fields<'a>(
    fields: &'a Fields,
    access: impl Fn(usize, Option<&'a Ident>) -> TokenStream + 'a,
) -> impl Iterator<Item = TokenStream> + 'a {
    fields.iter().enumerate().map(move |(index, field)| {
        let value = access(index, field.ident.as_ref());
        let ty = &field.ty;
        let part = quote_spanned!(ty.span()=> part::<#ty>);
        quote!(__out.#part(#value);)
    })
}

fn krate(item: &DeriveInput) -> syn::Result<Path> {
    let mut krate: Path = parse_quote!(::larder);
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("key_part")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                krate = meta.value()?.call(Path::parse_mod_style)?;
                Ok(())
            } else {
                Err(meta.error("expected `#[key_part(crate = ::pantry)]`"))
            }
        })?;
    }
    Ok(krate)
}
