//! Whether a run can outlive its caller. By syntax: lifetimes are erased before traits are picked.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{
    FnArg, GenericArgument, GenericParam, Lifetime, Path, PathArguments, Receiver, ReceiverKind,
    Type, TypeParamBound, punctuated::Punctuated,
};

use crate::{
    check::idents,
    elements::Elements,
    errors::Errors,
    signature::{Function, Shape},
};

/// A run that outlives its caller cannot borrow from it.
pub(crate) fn check_owned(
    function: &Function,
    elements: Option<&Elements>,
    message: &str,
    errors: &mut Errors,
) {
    for (at, input) in function.sig.inputs.iter().enumerate() {
        if Held::of(at, input, elements).borrows() {
            errors.on(input, message);
        }
    }
}

/// Whether there is nothing in the receiver and the arguments that may be borrowed: of a type that
/// the caller chooses nobody knows.
pub(crate) fn is_owned(function: &Function, elements: Option<&Elements>, shape: &Shape) -> bool {
    function.sig.inputs.iter().enumerate().all(|(at, input)| {
        let held = Held::of(at, input, elements);
        !held.borrows() && !held.is_chosen(&shape.types)
    })
}

/// What a run holds of an argument.
enum Held<'a> {
    Reference(Option<&'a Lifetime>),
    /// `self`
    Own,
    Type(&'a Type),
}

impl<'a> Held<'a> {
    fn of(at: usize, input: &'a FnArg, elements: Option<&'a Elements>) -> Self {
        match input {
            FnArg::Receiver(Receiver { kind, .. }) => match kind {
                ReceiverKind::Reference(_, lifetime, _) => Self::Reference(lifetime.as_ref()),
                ReceiverKind::Typed(_, ty) => Self::Type(ty),
                _ => Self::Own,
            },
            // A batch has a copy of its elements, and leaves them.
            FnArg::Typed(arg) => match elements.filter(|elements| elements.at == at) {
                Some(elements) => Self::Type(&elements.ty),
                None => Self::Type(&arg.ty),
            },
        }
    }

    fn borrows(&self) -> bool {
        match self {
            Self::Reference(lifetime) => !lifetime.is_some_and(is_static),
            Self::Own => false,
            Self::Type(ty) => borrows(ty),
        }
    }

    fn is_chosen(&self, types: &[Ident]) -> bool {
        let Self::Type(ty) = self else { return false };
        let mut names = Vec::new();
        idents(ty.to_token_stream(), &mut names);
        names.iter().any(|name| name == "impl" || types.contains(name))
    }
}

/// A function borrows nothing by what it takes: `fn(&str)` and `dyn Fn(&str) -> &str` do not.
fn borrows(ty: &Type) -> bool {
    match ty {
        Type::Reference(ty) => !ty.lifetime.as_ref().is_some_and(is_static) || borrows(&ty.elem),
        Type::Array(ty) => borrows(&ty.elem),
        Type::Group(ty) => borrows(&ty.elem),
        Type::Paren(ty) => borrows(&ty.elem),
        Type::Ptr(ty) => borrows(&ty.elem),
        Type::Slice(ty) => borrows(&ty.elem),
        Type::Tuple(ty) => ty.elems.iter().any(borrows),
        Type::Path(ty) => {
            ty.qself.as_ref().is_some_and(|qself| borrows(&qself.ty)) || borrows_path(&ty.path)
        }
        Type::ImplTrait(ty) => borrows_bounds(&ty.bounds),
        Type::TraitObject(ty) => borrows_bounds(&ty.bounds),
        _ => false,
    }
}

fn borrows_path(path: &Path) -> bool {
    path.segments.iter().any(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().any(|argument| match argument {
                GenericArgument::Lifetime(lifetime) => !is_static(lifetime),
                GenericArgument::Type(ty) => borrows(ty),
                GenericArgument::AssocType(assoc) => borrows(&assoc.ty),
                GenericArgument::Constraint(constraint) => borrows_bounds(&constraint.bounds),
                _ => false,
            })
        }
        PathArguments::None | PathArguments::Parenthesized(_) => false,
    })
}

fn borrows_bounds<S>(bounds: &Punctuated<TypeParamBound, S>) -> bool {
    bounds.iter().any(|bound| match bound {
        TypeParamBound::Lifetime(lifetime) => !is_static(lifetime),
        // A trait for any lifetime holds none; one beside that is rustc's to find.
        TypeParamBound::Trait(bound) => {
            let has_own = |bound: &GenericParam| matches!(bound, GenericParam::Lifetime(_));
            let is_for_any =
                bound.lifetimes.as_ref().is_some_and(|own| own.lifetimes.iter().any(has_own));
            !is_for_any && borrows_path(&bound.path)
        }
        _ => false,
    })
}

fn is_static(lifetime: &Lifetime) -> bool {
    lifetime.ident == "static"
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::*;

    fn is_borrowed(ty: &TokenStream) -> bool {
        borrows(&syn::parse2(ty.clone()).unwrap())
    }

    fn is_owned(function: TokenStream) -> bool {
        let function: Function = syn::parse2(function).unwrap();
        super::is_owned(&function, None, &function.shape().unwrap())
    }

    #[test]
    fn a_type_with_a_lifetime_is_borrowed() {
        for ty in [
            quote!(&str),
            quote!(&'a str),
            quote!(Option<&str>),
            quote!((u64, &str)),
            quote!([&str; 2]),
            quote!(Cow<'_, str>),
            quote!(Cow<'a, str>),
            quote!(Box<dyn Show + 'a>),
            quote!(Box<dyn Show<Of = &'a str>>),
            quote!(impl Show<'a>),
            quote!(<Row<'a> as Show>::Of),
            quote!(&'static [&str]),
            quote!(*const &str),
        ] {
            assert!(is_borrowed(&ty), "{ty}");
        }
    }

    #[test]
    fn a_type_without_one_is_not() {
        for ty in [
            quote!(u64),
            quote!(&'static str),
            quote!(&'static [&'static str]),
            quote!(Cow<'static, str>),
            quote!(Arc<[String]>),
            quote!(fn(&str) -> &str),
            quote!(Box<dyn Fn(&str) -> &str + Send>),
            quote!(Box<dyn for<'a> Show<'a> + 'static>),
            quote!(PhantomData<fn(&str)>),
        ] {
            assert!(!is_borrowed(&ty), "{ty}");
        }
    }

    #[test]
    fn a_type_that_the_caller_chooses_may_be_borrowed() {
        assert!(is_owned(quote!(
            async fn list<T>(self: Arc<Self>, id: u64) -> T {}
        )));
        assert!(is_owned(quote!(
            async fn list<const N: usize>(&'static self, ids: [u64; N]) {}
        )));
        assert!(is_owned(quote!(
            async fn list(mut self, (a, b): (u64, String)) {}
        )));
        assert!(!is_owned(quote!(
            async fn list<T>(id: Option<T>) {}
        )));
        assert!(!is_owned(quote!(
            async fn list<T: Of>(id: T::Id) {}
        )));
        assert!(!is_owned(quote!(
            async fn list(of: Vec<impl Show>) {}
        )));
        assert!(!is_owned(quote!(
            async fn list(&self) {}
        )));
        assert!(!is_owned(quote!(
            async fn list(self: &Arc<Self>) {}
        )));
    }
}
