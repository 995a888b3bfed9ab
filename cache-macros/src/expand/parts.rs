//! How placeholders become the parts of a key.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::{Expr, ext::IdentExt as _};

use crate::{
    check::idents,
    signature::{Arg, Shape},
    template::{Placeholder, Template},
};

/// What is written into `__key`, part by part.
pub(super) struct Parts<'a> {
    private: &'a TokenStream,
    shape: &'a Shape,
    /// What each part is. `None` of a type that no placeholder asks for.
    known: Vec<Option<Part>>,
    templates: usize,
    statements: TokenStream,
}

/// What a part is of: equal ones are the same value.
#[derive(PartialEq)]
struct Part {
    /// The number of the template whose `lang = expr` it is.
    named_in: Option<usize>,
    root: String,
    fields: Vec<String>,
    /// It is written with its type.
    is_typed: bool,
}

/// The `lang = expr` of a template, by what their values are bound to.
struct Bound<'a> {
    template: &'a Template,
    number: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(private: &'a TokenStream, shape: &'a Shape) -> Self {
        Self { private, shape, known: Vec::new(), templates: 0, statements: TokenStream::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn into_statements(self) -> TokenStream {
        self.statements
    }

    /// Without `key`: every argument that is not skipped, in the order of the signature.
    pub(super) fn hashed(&mut self, skip: &[Ident]) {
        for arg in self.shape.args.iter().filter(|arg| !skip.contains(&arg.name)) {
            // Spanned at the argument: there is the error if it is no key part.
            let span = arg.all.as_ref().unwrap_or(&arg.name).span();
            let write = Ident::new(if arg.is_impl { "typed" } else { "part" }, span);
            let argument = argument(arg, span);
            let argument = quote_spanned!(span=> &#argument);
            self.statements
                .extend(quote_spanned!(Span::mixed_site()=> __key.writer().#write(#argument);));
            let root = arg.name.to_string();
            let part = Part { named_in: None, root, fields: Vec::new(), is_typed: arg.is_impl };
            self.known.push(Some(part));
        }
    }

    /// Every placeholder of a tag, in the order of the template.
    pub(super) fn all(&mut self, template: &Template) {
        self.write(template, false, |_, _| None);
    }

    /// With `key`: its placeholders, and the types that count with them.
    pub(super) fn key(&mut self, template: &Template) {
        self.write(template, true, |_, _| None);
        // An argument of a type that the caller chooses counts with its type, asked for or not.
        let is_typed = |arg: &Arg| {
            template.placeholders.iter().any(|placeholder| {
                arg.name == placeholder.root
                    && placeholder.fields.is_empty()
                    && !template.is_named(placeholder)
            })
        };
        let is_used = |arg: &Arg| {
            template.placeholders.iter().any(|placeholder| arg.name == placeholder.root)
                || template.named.iter().any(|(_, value)| mentions(value, &arg.name))
        };
        for arg in &self.shape.args {
            if arg.is_impl && !is_typed(arg) && is_used(arg) {
                let (private, argument) = (self.private, argument(arg, arg.name.span()));
                self.statements.extend(quote_spanned!(Span::mixed_site()=>
                    __key.writer().type_name(#private::type_name_of(&#argument));
                ));
                self.known.push(None);
            }
        }
    }

    /// The part of each placeholder of a tag, in the order of the template. Only what is no part yet
    /// is written.
    ///
    /// Never with its type: functions of other types have the same tag.
    pub(super) fn tag(&mut self, template: &Template) -> Vec<usize> {
        self.write(template, false, |known, part| {
            known.iter().position(|known| known.as_ref() == Some(part))
        })
    }

    /// Writes what is not `found` among the parts that are there; `with_types` an argument of a type
    /// that the caller chooses with that. The part of each placeholder.
    fn write(
        &mut self,
        template: &Template,
        with_types: bool,
        found: impl Fn(&[Option<Part>], &Part) -> Option<usize>,
    ) -> Vec<usize> {
        let bound = Bound { template, number: self.templates };
        self.templates += 1;
        let mut parts = Vec::new();
        let mut new = Vec::new();
        for placeholder in &template.placeholders {
            let is_named = template.is_named(placeholder);
            let is_impl =
                self.shape.args.iter().any(|arg| arg.is_impl && arg.name == placeholder.root);
            let part = Part {
                named_in: is_named.then_some(bound.number),
                root: placeholder.root.clone(),
                fields: placeholder.fields.clone(),
                is_typed: with_types && is_impl && !is_named && placeholder.fields.is_empty(),
            };
            parts.push(found(&self.known, &part).unwrap_or_else(|| {
                new.push((placeholder, part.is_typed));
                self.known.push(Some(part));
                self.known.len() - 1
            }));
        }
        let (private, shape) = (self.private, self.shape);
        let bindings = bound.bindings();
        let check = bound.check(&new, private, shape);
        let writes = new.iter().map(|(placeholder, is_typed)| {
            bound.write(placeholder, *is_typed, check.is_some(), private, shape)
        });
        self.statements.extend(quote_spanned!(Span::mixed_site()=> #bindings #check #(#writes)*));
        parts
    }
}

impl Bound<'_> {
    fn bindings(&self) -> TokenStream {
        let bindings = self.template.named.iter().map(|(name, value)| {
            let name = self.name(name);
            quote_spanned!(Span::mixed_site()=> let #name = &(#value);)
        });
        bindings.collect()
    }

    /// What the value of `lang = expr` is bound to: apart from any argument, and from that of
    /// another template.
    fn name(&self, name: &Ident) -> Ident {
        let (number, name) = (self.number, name.unraw());
        format_ident!("__key_{number}_{name}", span = Span::mixed_site())
    }

    /// The user's own literal, handed to rustc: what is no key part is an error at the placeholder,
    /// which no span of a macro can point to. Only plain names are such a literal.
    fn check(
        &self,
        new: &[(&Placeholder, bool)],
        private: &TokenStream,
        shape: &Shape,
    ) -> Option<TokenStream> {
        let Template { literal, placeholders, .. } = self.template;
        let is_plain = placeholders.iter().all(|placeholder| {
            placeholder.fields.is_empty()
                && (self.template.is_named(placeholder)
                    || shape.args.iter().any(|arg| arg.name == placeholder.root))
        });
        if !is_plain || new.is_empty() {
            return None;
        }
        let shadows = placeholders.iter().enumerate().filter_map(|(at, placeholder)| {
            let root = &placeholder.root;
            // One name is one value, and shadowed once.
            if placeholders[..at].iter().any(|before| before.root == *root) {
                return None;
            }
            let shadow = ident(root, literal.span());
            // What is written elsewhere is checked there.
            let is_new = new.iter().any(|(new, _)| new.root == *root);
            let value = if is_new { self.value_of(placeholder, shape) } else { quote!(()) };
            Some(quote_spanned!(Span::mixed_site()=> let #shadow = #private::Part(&#value);))
        });
        Some(quote_spanned!(Span::mixed_site()=>
            if false {
                #(#shadows)*
                let _ = ::core::format_args!(#literal);
            }
        ))
    }

    fn write(
        &self,
        placeholder: &Placeholder,
        is_typed: bool,
        is_checked: bool,
        private: &TokenStream,
        shape: &Shape,
    ) -> TokenStream {
        let root = placeholder.root.as_str();
        let is_named = self.template.is_named(placeholder);
        let value = self.value_of(placeholder, shape);
        if !is_named && (root == "Self" || shape.types.iter().any(|name| name == root)) {
            return quote_spanned!(Span::mixed_site()=>
                __key.writer().type_name(::core::any::type_name::<#value>());
            );
        }
        let (checked, unchecked) =
            if is_typed { ("write_typed_to", "typed") } else { ("write_to", "part") };
        if is_checked {
            let write = Ident::new(checked, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> (&#private::Part(&#value)).#write(__key.writer());)
        } else {
            let span = self.template.span();
            let write = Ident::new(unchecked, span);
            let value = quote_spanned!(span=> (&#value));
            quote_spanned!(Span::mixed_site()=> __key.writer().#write #value;)
        }
    }

    /// Input: `{self.tenant}`. Output: `self.tenant`.
    fn value_of(&self, placeholder: &Placeholder, shape: &Shape) -> TokenStream {
        let span = self.template.span();
        let root = placeholder.root.as_str();
        if let Some((name, _)) = self.template.named.iter().find(|(name, _)| name == root) {
            return with_fields(&self.name(name).to_token_stream(), placeholder, span);
        }
        // Named as in the signature, but at the literal, where the user can change it.
        let at = |known: Span| span.resolved_at(known);
        let root = match &shape.receiver {
            Some(receiver) if root == "self" => {
                syn::token::SelfValue(at(receiver.self_token.span)).to_token_stream()
            }
            _ => {
                if let Some(arg) = shape.args.iter().find(|arg| arg.name == root) {
                    argument(arg, span)
                } else {
                    let known = shape.types.iter().chain(&shape.consts).find(|name| *name == root);
                    ident(root, known.map_or(span, |known| at(known.span()))).to_token_stream()
                }
            }
        };
        with_fields(&root, placeholder, span)
    }
}

/// The value of an argument, as an expression at another place.
fn argument(arg: &Arg, span: Span) -> TokenStream {
    let mut name = arg.name.clone();
    name.set_span(span.resolved_at(name.span()));
    match arg.all {
        // An element comes by reference.
        Some(_) => quote_spanned!(span=> (*#name)),
        None => name.to_token_stream(),
    }
}

fn ident(name: &str, span: Span) -> Ident {
    name.strip_prefix("r#").map_or_else(|| Ident::new(name, span), |raw| Ident::new_raw(raw, span))
}

fn with_fields(root: &TokenStream, placeholder: &Placeholder, span: Span) -> TokenStream {
    let fields = placeholder.fields.iter().map(|field| {
        if let Ok(index) = field.parse() {
            let index = syn::Index { index, span };
            quote_spanned!(span=> .#index)
        } else {
            let field = ident(field, span);
            quote_spanned!(span=> .#field)
        }
    });
    quote!(#root #(#fields)*)
}

fn mentions(value: &Expr, name: &Ident) -> bool {
    let mut names = Vec::new();
    idents(value.to_token_stream(), &mut names);
    names.iter().any(|found| name == found)
}

#[cfg(test)]
mod tests {
    use syn::{LitStr, parse_quote};

    use super::*;
    use crate::{args::Tpl, signature::Function, template::Of};

    fn shape(function: TokenStream) -> Shape {
        syn::parse2::<Function>(function).unwrap().shape().unwrap()
    }

    fn template(text: &str) -> Template {
        named_template(text, Vec::new())
    }

    fn named_template(text: &str, named: Vec<(Ident, Expr)>) -> Template {
        let template = LitStr::new(text, Span::call_site());
        Template::parse(&Tpl { template, named }, Of::Tag).unwrap()
    }

    #[test]
    fn a_placeholder_of_the_key_is_its_part() {
        let shape = shape(quote!(
            async fn list<T>(&self, team: u64, opts: Opts) {}
        ));
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        parts.key(&template("list:{self.tenant}:{team}:{T}:{opts.page}"));
        assert_eq!(parts.tag(&template("page:{opts.page}:of:{team}")), [3, 1]);
        assert_eq!(parts.tag(&template("tenant:{self.tenant}:{T}")), [0, 2]);
        assert_eq!(parts.tag(&template("lists")), []);
        assert_eq!(parts.len(), 4);
    }

    #[test]
    fn what_is_not_in_the_key_is_one_more_part() {
        let shape = shape(quote!(
            async fn list(db: &Db, team: u64) {}
        ));
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        parts.key(&template("list:{team}"));
        assert_eq!(parts.tag(&template("shard:{db.shard}:{team}:{db.shard}")), [1, 0, 1]);
        assert_eq!(parts.tag(&template("shard:{db.shard}:{db}")), [1, 2]);
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn a_named_expression_is_a_part_of_its_own() {
        let shape = shape(quote!(
            async fn list(day: Date) {}
        ));
        let named = |value| named_template("list:{day}:{day}", vec![(parse_quote!(day), value)]);
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        parts.key(&named(parse_quote!(day.iso())));
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.tag(&named(parse_quote!(day.month()))), [2, 2]);
        assert_eq!(parts.tag(&template("day:{day}")), [3]);
    }

    #[test]
    fn a_type_that_is_not_asked_for_is_in_front_of_what_tags_alone_have() {
        let shape = shape(quote!(
            async fn show(value: impl Show, page: u64) {}
        ));
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        let named = vec![(parse_quote!(text), parse_quote!(value.text()))];
        parts.key(&named_template("show:{text}", named));
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.tag(&template("page:{page}")), [2]);
    }

    #[test]
    fn a_tag_is_without_the_type_that_a_caller_chooses() {
        let shape = shape(quote!(
            async fn show(value: impl Show) {}
        ));
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        parts.key(&template("show:{value}"));
        assert_eq!(parts.tag(&template("of:{value}")), [1]);
        assert_eq!(parts.tag(&template("also:{value}")), [1]);
    }

    #[test]
    fn an_element_stands_where_its_argument_does() {
        let mut shape = shape(quote!(
            async fn list(lang: &str, id: &[u64], page: u8) {}
        ));
        shape.args[1].all = Some(parse_quote!(ids));
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        parts.hashed(&[]);
        assert_eq!(parts.tag(&template("of:{id}:{page}:{id.0}")), [1, 2, 3]);
        let statements = parts.into_statements().to_string();
        assert!(statements.contains("part (& (* id))"), "{statements}");
        assert!(statements.contains("(& (* id) . 0)"), "{statements}");
    }

    #[test]
    fn a_hashed_argument_is_the_part_where_it_stands() {
        let shape = shape(quote!(
            async fn list(db: &Db, r#type: u8, (x, y): (u32, u32)) {}
        ));
        let private = quote!(private);
        let mut parts = Parts::new(&private, &shape);
        parts.hashed(&[parse_quote!(db)]);
        assert_eq!(parts.len(), 3);
        assert_eq!(parts.tag(&template("of:{type}:{y}:{db}:{y.sign}")), [0, 2, 3, 4]);
    }
}
