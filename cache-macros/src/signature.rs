//! What the attributes need to know of a function.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    Attribute, FnArg, GenericArgument, GenericParam, Pat, PathArguments, Receiver, ReturnType,
    Signature, Type, TypeParamBound, Visibility,
    parse::{Parse, ParseStream},
    spanned::Spanned as _,
};

/// A function as it is written. The body stays tokens: nothing here looks into it.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = input.parse()?;
        match input.parse()? {
            TokenTree::Group(body) => Ok(Self { attrs, vis, sig, body }),
            other => Err(syn::Error::new(other.span(), "expected a body")),
        }
    }
}

/// How the function is asynchronous.
#[derive(Clone, Copy)]
pub(crate) enum Asyncness {
    /// `async fn`
    Native,
    /// `fn … -> Pin<Box<dyn Future<…>>>`: what `#[async_trait]` has made of one.
    Boxed,
}

/// An argument: a name that the body can use.
#[derive(Clone)]
pub(crate) struct Arg {
    pub(crate) name: Ident,
    /// `impl Trait`: the caller chooses the type.
    pub(crate) is_impl: bool,
    /// What it is one of, if it is the element of a batch: a reference, then.
    pub(crate) all: Option<Ident>,
}

#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) asyncness: Asyncness,
    pub(crate) output: TokenStream,
    pub(crate) output_span: Span,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) args: Vec<Arg>,
    pub(crate) types: Vec<Ident>,
    pub(crate) consts: Vec<Ident>,
}

impl Function {
    /// `None` if the function is not asynchronous.
    pub(crate) fn shape(&self) -> Option<Shape> {
        let (asyncness, output, output_span) = self.output()?;
        let mut receiver = None;
        let mut args = Vec::new();
        for input in &self.sig.inputs {
            match input {
                FnArg::Receiver(found) => receiver = Some(found.clone()),
                FnArg::Typed(arg) => {
                    let mut names = Vec::new();
                    names_of(&arg.pat, &mut names);
                    let is_impl = matches!(*arg.ty, Type::ImplTrait(_));
                    args.extend(names.into_iter().map(|name| Arg { name, is_impl, all: None }));
                }
            }
        }
        let (mut types, mut consts) = (Vec::new(), Vec::new());
        for param in &self.sig.generics.params {
            match param {
                GenericParam::Type(param) => types.push(param.ident.clone()),
                GenericParam::Const(param) => consts.push(param.ident.clone()),
                GenericParam::Lifetime(_) => {}
            }
        }
        Some(Shape { asyncness, output, output_span, receiver, args, types, consts })
    }

    fn output(&self) -> Option<(Asyncness, TokenStream, Span)> {
        match &self.sig.output {
            ReturnType::Default if self.sig.asyncness.is_some() => {
                let span = self.sig.ident.span();
                Some((Asyncness::Native, quote::quote_spanned!(span=> ()), span))
            }
            ReturnType::Type(_, ty) if self.sig.asyncness.is_some() => {
                Some((Asyncness::Native, ty.to_token_stream(), ty.span()))
            }
            ReturnType::Type(_, ty) => {
                let output = boxed_output(ty)?;
                Some((Asyncness::Boxed, output.to_token_stream(), output.span()))
            }
            ReturnType::Default => None,
        }
    }
}

impl Shape {
    /// The arguments that a closure sees, and its own.
    pub(crate) fn seen_in<'a>(&self, closure: impl IntoIterator<Item = &'a Pat>) -> Self {
        let mut own = Vec::new();
        closure.into_iter().for_each(|pat| names_of(pat, &mut own));
        let mut shape = self.clone();
        shape.args.retain(|arg| !own.contains(&arg.name));
        shape.args.extend(own.into_iter().map(|name| Arg { name, is_impl: false, all: None }));
        shape
    }

    /// The `T` of `Result<T, E>`, `Option<T>` and `T`, where that is how it is written.
    pub(crate) fn value(&self) -> Option<Type> {
        let output: Type = syn::parse2(self.output.clone()).ok()?;
        let value = inside(&output, "Result").unwrap_or(&output);
        Some(inside(value, "Option").unwrap_or(value).clone())
    }

    /// The `V` of `Result<HashMap<K, V>, E>` and `HashMap<K, V>`.
    pub(crate) fn value_of_each(&self) -> Option<Type> {
        let output: Type = syn::parse2(self.output.clone()).ok()?;
        types_in(inside(&output, "Result").unwrap_or(&output), "HashMap")?.nth(1).cloned()
    }

    /// The output as a type that can be written in a body: `_` for what has no name in it. `None` if
    /// it has no name at all.
    pub(crate) fn named_output(&self) -> Option<TokenStream> {
        if self.unnamed_output().is_none() {
            return Some(self.output.clone());
        }
        let mut output: Type = syn::parse2(self.output.clone()).ok()?;
        infer_unnamed(&mut output);
        (!matches!(output, Type::Infer(_))).then(|| output.to_token_stream())
    }

    /// An `impl Trait` in the return type.
    pub(crate) fn unnamed_output(&self) -> Option<Span> {
        fn find(tokens: TokenStream) -> Option<Span> {
            tokens.into_iter().find_map(|token| match token {
                TokenTree::Ident(name) if name == "impl" => Some(name.span()),
                TokenTree::Group(group) => find(group.stream()),
                _ => None,
            })
        }
        find(self.output.clone())
    }
}

/// Input: `Result<impl IntoResponse, E>`. Output: `Result<_, E>`.
pub(crate) fn infer_unnamed(ty: &mut Type) {
    match ty {
        Type::ImplTrait(_) => *ty = syn::parse_quote!(_),
        Type::Array(ty) => infer_unnamed(&mut ty.elem),
        Type::Group(ty) => infer_unnamed(&mut ty.elem),
        Type::Paren(ty) => infer_unnamed(&mut ty.elem),
        Type::Reference(ty) => infer_unnamed(&mut ty.elem),
        Type::Tuple(ty) => ty.elems.iter_mut().for_each(infer_unnamed),
        Type::Path(ty) => {
            for segment in &mut ty.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
                    for argument in &mut arguments.args {
                        if let GenericArgument::Type(ty) = argument {
                            infer_unnamed(ty);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

/// The names that a pattern binds. A `_` binds none, so nothing of it can change the result.
fn names_of(pat: &Pat, names: &mut Vec<Ident>) {
    match pat {
        Pat::Type(pat) => names_of(&pat.pat, names),
        Pat::Ident(pat) => {
            names.push(pat.ident.clone());
            if let Some((_, inner)) = &pat.subpat {
                names_of(inner, names);
            }
        }
        Pat::Paren(pat) => names_of(&pat.pat, names),
        Pat::Reference(pat) => names_of(&pat.pat, names),
        Pat::Slice(pat) => pat.elems.iter().for_each(|pat| names_of(pat, names)),
        Pat::Struct(pat) => pat.fields.iter().for_each(|field| names_of(&field.pat, names)),
        Pat::Tuple(pat) => pat.elems.iter().for_each(|pat| names_of(pat, names)),
        Pat::TupleStruct(pat) => pat.elems.iter().for_each(|pat| names_of(pat, names)),
        _ => {}
    }
}

/// Input: `Pin<Box<dyn Future<Output = R> + Send + 'async_trait>>`. Output: `R`.
fn boxed_output(ty: &Type) -> Option<&Type> {
    let Type::TraitObject(future) = inside(inside(ty, "Pin")?, "Box")? else {
        return None;
    };
    let TypeParamBound::Trait(bound) = future.bounds.first()? else {
        return None;
    };
    let future = bound.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &future.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
        _ => None,
    })
}

pub(crate) fn inside<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    types_in(ty, name)?.next()
}

fn types_in<'a>(ty: &'a Type, name: &str) -> Option<impl Iterator<Item = &'a Type>> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    Some(arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }))
}
