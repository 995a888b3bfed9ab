//! What is emitted.

mod cached;
mod key_part;

use proc_macro2::{Span, TokenStream};
use syn::{Attribute, Meta, Path, parse_quote};

use crate::{args::CachedArgs, check::check_below, errors::Errors, fallback, signature::Function};

pub(crate) use cached::typed;
pub(crate) use key_part::key_part;

/// One attribute of this crate on a function. They nest as they are read: the topmost is the
/// outermost, and expands the others.
enum Layer {
    Cached(CachedArgs),
}

/// The attributes of this crate, by their last path segment.
const OURS: [&str; 1] = ["cached"];

/// Expands the topmost attribute of this crate on a function, and with it those below.
pub(crate) fn attribute(name: &'static str, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::new();
    let Ok(mut function) = syn::parse2::<Function>(item.clone()) else {
        let message = match syn::parse2::<syn::TraitItemFn>(item.clone()) {
            Ok(_) => format!("`#[{name}]` needs a body to run; put it on the implementation"),
            Err(_) => format!("`#[{name}]` needs an `async fn`"),
        };
        errors.at(Span::call_site(), message);
        let errors = errors.finish().err();
        return quote::quote!(#errors #item);
    };
    let layers = layers(name, args, &mut function, &mut errors);
    check_below(&function.attrs, name, &mut errors);
    let mut krate: Path = parse_quote!(::larder);
    let mut emitted = None;
    // One layer for now; a guard will wrap what the layer below it has made.
    for layer in &layers {
        match layer {
            Layer::Cached(args) => {
                if let Some(path) = &args.krate {
                    krate = path.clone();
                }
                emitted = cached::expand(args, &krate, &function, &mut errors);
            }
        }
    }
    match errors.finish() {
        Ok(()) => emitted.unwrap_or(item),
        Err(errors) => {
            let function = fallback::function(&krate, &function);
            // The function first: editors take the first use of a token for what it means.
            quote::quote!(#function #errors)
        }
    }
}

/// The attribute that is expanded, and those of this crate that stand below it.
fn layers(
    name: &'static str,
    args: TokenStream,
    function: &mut Function,
    errors: &mut Errors,
) -> Vec<Layer> {
    let mut layers = vec![layer(name, args, errors)];
    let (ours, others): (Vec<Attribute>, Vec<Attribute>) =
        std::mem::take(&mut function.attrs).into_iter().partition(|attr| {
            attr.path()
                .segments
                .last()
                .is_some_and(|last| OURS.iter().any(|ours| last.ident == ours))
        });
    function.attrs = others;
    for attr in ours {
        // A second layer of one kind has nothing left to do.
        errors.on(attr.path(), "`#[cached]` is already applied to this function");
        if let Meta::List(list) = attr.meta {
            // Its own errors too, in this build.
            layers.truncate(1);
            let _ = layer(name, list.tokens, errors);
        }
    }
    layers
}

fn layer(name: &'static str, args: TokenStream, errors: &mut Errors) -> Layer {
    match name {
        "cached" => Layer::Cached(CachedArgs::parse(args, errors)),
        other => unreachable!("`{other}` is no attribute of this crate"),
    }
}
