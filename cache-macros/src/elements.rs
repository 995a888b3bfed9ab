//! The argument that a batch takes its elements from.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Expr, FnArg, Pat, PatIdent, PatType, Signature, Type};

use crate::{
    args::{CachedArgs, Each, Ttl},
    errors::{Errors, did_you_mean, nearest},
    signature::{Arg, Function, Shape, infer_unnamed, inside},
};

/// `ids: &[u64]` of `each(id in ids)`.
pub(crate) struct Elements {
    /// What one of them is called.
    pub(crate) element: Ident,
    /// The argument, by its name in the signature.
    pub(crate) all: Ident,
    /// Where it stands among the arguments, the receiver included.
    pub(crate) at: usize,
    arg: PatType,
    /// The type of one of them; `_` if there is an error about it.
    pub(crate) ty: Type,
}

/// The type of an argument that elements can be taken from.
enum Taken<'a> {
    /// `&[T]`
    Slice(&'a Type),
    /// `Vec<T>`
    Vec(&'a Type),
}

const TAKEN_FROM: &str =
    "`each` takes its elements from a slice or a `Vec`; write for example `ids: &[u64]`";

impl Elements {
    /// `None` if there is no such argument: that is an error.
    pub(crate) fn of(
        each: &Each,
        function: &Function,
        shape: &Shape,
        errors: &mut Errors,
    ) -> Option<Self> {
        let Each { element, all } = each;
        let name = argument_named(all, shape, errors)?;
        let args = shape.args.iter().map(|arg| &arg.name);
        if args.chain(&shape.types).chain(&shape.consts).any(|known| known == element) {
            let message = format_args!(
                "`{element}` is a name of the function already; give the element one of its own"
            );
            errors.at(element.span(), message);
        }
        let mut inputs = function.sig.inputs.iter().enumerate();
        let of_name = inputs.find_map(|(at, input)| match input {
            FnArg::Typed(arg) => match &*arg.pat {
                Pat::Ident(PatIdent { ident, subpat: None, .. }) if ident == name => {
                    Some((at, arg))
                }
                _ => None,
            },
            FnArg::Receiver(_) => None,
        });
        let Some((at, arg)) = of_name else {
            // What is a part of a pattern has no type of its own.
            errors.at(name.span(), TAKEN_FROM);
            return None;
        };
        let ty = match Taken::of(&arg.ty) {
            Some(Taken::Slice(ty) | Taken::Vec(ty)) => ty.clone(),
            None => {
                errors.on(&arg.ty, TAKEN_FROM);
                Type::Infer(syn::parse_quote!(_))
            }
        };
        Some(Self { element: element.clone(), all: name.clone(), at, arg: arg.clone(), ty })
    }

    /// What a key of one of them is made of.
    pub(crate) fn shape_of_one(&self, shape: &Shape) -> Shape {
        let mut shape = shape.clone();
        for arg in &mut shape.args {
            if arg.name == self.all {
                let (name, all) = (self.element.clone(), Some(self.all.clone()));
                *arg = Arg { name, is_impl: false, all };
            }
        }
        shape
    }

    /// What is set once for a batch sees none of its elements.
    pub(crate) fn check_common(&self, args: &CachedArgs, errors: &mut Errors) {
        let element = &self.element;
        let use_in = |expr: &Expr| use_of(element, expr.to_token_stream());
        if let Some(Ttl::Of(ttl)) = &args.ttl
            && let Some(span) = use_in(ttl)
        {
            let message = format_args!(
                "`ttl` is set for all of the elements, and has no `{element}`; write `|value| …` \
                 for a life by the value"
            );
            errors.at(span, message);
        }
        if let Some(span) = args.cache.as_ref().and_then(use_in) {
            let message = format_args!(
                "`cache` is that of all of the elements, and has no `{element}`; use another argument"
            );
            errors.at(span, message);
        }
    }

    /// Input: `mut ids: &[u64]`. Output: `let mut ids: &[u64] = &__ids;`.
    pub(crate) fn rebound(&self, ids: &Ident) -> TokenStream {
        let PatType { attrs, pat, ty, .. } = &self.arg;
        let (mut ty, mut of_one) = (Type::clone(ty), self.ty.clone());
        infer_unnamed(&mut ty);
        infer_unnamed(&mut of_one);
        // Without the lifetime of the slice, which this one does not have.
        let bound = if let Some(Taken::Vec(_)) = Taken::of(&self.arg.ty) {
            quote!(#pat: #ty = #ids)
        } else {
            quote!(#pat: &[#of_one] = &#ids)
        };
        quote!(#(#attrs)* let #bound;)
    }

    /// What only its name is needed of need not be `mut`.
    pub(crate) fn remove_mut(&self, sig: &mut Signature) {
        if let Some(FnArg::Typed(arg)) = sig.inputs.iter_mut().nth(self.at)
            && let Pat::Ident(pat) = &mut *arg.pat
        {
            pat.mutability = None;
        }
    }
}

/// The argument of that name, or else the one that was meant, and an error.
fn argument_named<'a>(name: &Ident, shape: &'a Shape, errors: &mut Errors) -> Option<&'a Ident> {
    let known = || shape.args.iter().map(|arg| &arg.name);
    known().find(|known| *known == name).or_else(|| {
        let names: Vec<String> = known().map(Ident::to_string).collect();
        let near = nearest(&name.to_string(), names.iter().map(String::as_str));
        errors.at(name.span(), format_args!("no argument named `{name}`{}", did_you_mean(near)));
        known().find(|known| near.is_some_and(|near| *known == near))
    })
}

impl<'a> Taken<'a> {
    fn of(ty: &'a Type) -> Option<Self> {
        match without_groups(ty) {
            Type::Reference(slice) if slice.mutability.is_none() => {
                match without_groups(&slice.elem) {
                    Type::Slice(slice) => Some(Self::Slice(&slice.elem)),
                    _ => None,
                }
            }
            ty => inside(ty, "Vec").map(Self::Vec),
        }
    }
}

/// Without the invisible brackets around what a macro of the user has filled in.
fn without_groups(mut ty: &Type) -> &Type {
    while let Type::Group(group) = ty {
        ty = &group.elem;
    }
    ty
}

/// Where a name is used as a value: not as a field, a method or a module.
pub(crate) fn use_of(name: &Ident, tokens: TokenStream) -> Option<Span> {
    let is = |token: &TokenTree, char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == char);
    let mut tokens = tokens.into_iter();
    let mut dots = 0;
    while let Some(token) = tokens.next() {
        let found = match &token {
            TokenTree::Ident(found) if found == name && dots != 1 => {
                let mut ahead = tokens.clone();
                let is_module = (0..2).all(|_| ahead.next().is_some_and(|next| is(&next, ':')));
                (!is_module).then(|| found.span())
            }
            TokenTree::Group(group) => use_of(name, group.stream()),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        dots = if is(&token, '.') { dots + 1 } else { 0 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_used_as_a_value() {
        let id = Ident::new("id", Span::call_site());
        for used in [quote!(id), quote!(secs(*id)), quote!(id.0), quote!(0..id), quote!(a: id)] {
            assert!(use_of(&id, used.clone()).is_some(), "{used}");
        }
        for not in [quote!(user.id), quote!(user.id()), quote!(id::TTL), quote!(ids)] {
            assert!(use_of(&id, not.clone()).is_none(), "{not}");
        }
    }
}
