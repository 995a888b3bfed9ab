//! The template of a key or of a tag, taken apart.

use proc_macro2::{Ident, Span};
use syn::{Expr, LitStr, ext::IdentExt as _, parse::Parser as _};

use crate::args::Tpl;

/// `user:{id}:{self.tenant}`
pub(crate) struct Template {
    pub(crate) literal: LitStr,
    /// The `lang = expr` behind it.
    pub(crate) named: Vec<(Ident, Expr)>,
    pub(crate) placeholders: Vec<Placeholder>,
    /// The literal pieces, with `{}` for each placeholder: what the runtime knows the template by.
    pub(crate) pieces: String,
}

/// What a template is of.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Key,
    Tag,
    /// The key of a `#[rate_limited]`.
    Limit,
    /// The key of a `#[locked]`.
    Lock,
}

/// `{id}`, `{self.tenant}`, `{T}`
pub(crate) struct Placeholder {
    /// `r#type` for `{type}`.
    pub(crate) root: String,
    /// The fields behind it.
    pub(crate) fields: Vec<String>,
    /// Where it stands in the text of the literal, in characters.
    at: usize,
}

impl Template {
    pub(crate) fn parse(tpl: &Tpl, of: Of) -> syn::Result<Self> {
        let Tpl { template: literal, named } = tpl;
        let mut template = Self {
            literal: literal.clone(),
            named: named.clone(),
            placeholders: Vec::new(),
            pieces: String::new(),
        };
        let text = template.literal.value();
        let mut chars = text.char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '{' | '}' if chars.next_if(|(_, next)| *next == char).is_some() => {
                    template.pieces.extend([char, char]);
                }
                '{' => {
                    let Some(length) = text[at..].find('}') else {
                        let message = "a placeholder is not closed; write `{{` for a brace";
                        return Err(template.error(at, 1, message));
                    };
                    let inside = &text[at + 1..at + length];
                    let placeholder = template.placeholder(at + 1, inside)?;
                    template.placeholders.push(placeholder);
                    template.pieces.push_str("{}");
                    while chars.next_if(|(next, _)| *next <= at + length).is_some() {}
                }
                '}' => {
                    let message = "a `}` without a placeholder; write `}}` for a brace";
                    return Err(template.error(at, 1, message));
                }
                char => template.pieces.push(char),
            }
        }
        let starts_with_literal = !matches!(template.pieces.chars().next(), None | Some(':'))
            && !template.pieces.starts_with("{}");
        if !starts_with_literal {
            let (what, example) = match of {
                Of::Key => ("key", "user:{id}"),
                Of::Tag => ("tag", "team:{team}"),
                Of::Limit => ("key", "login:{ip}"),
                Of::Lock => ("key", "job:{id}"),
            };
            let message = format_args!(
                "a {what} starts with a literal segment; write for example `\"{example}\"`"
            );
            return Err(syn::Error::new(template.literal.span(), message));
        }
        Ok(template)
    }

    fn placeholder(&self, at: usize, inside: &str) -> syn::Result<Placeholder> {
        let is_name = |name: &str| {
            !name.contains(char::is_whitespace) && Ident::parse_any.parse_str(name).is_ok()
        };
        let is_index = |field: &str| field.parse::<u32>().is_ok();
        let mut names = inside.split('.').map(str::to_owned);
        let mut root = names.next().unwrap_or_default();
        let fields: Vec<String> = names.collect();
        if !is_name(&root) || !fields.iter().all(|field| is_index(field) || is_name(field)) {
            let message = "a placeholder is the name of an argument or a field of one, as in \
                           `{id}` and `{self.tenant}`";
            return Err(self.error(at, inside.chars().count().max(1), message));
        }
        let is_keyword = syn::parse_str::<Ident>(&root).is_err();
        if is_keyword && !matches!(root.as_str(), "self" | "Self" | "super" | "crate" | "_") {
            root.insert_str(0, "r#");
        }
        Ok(Placeholder { root, fields, at: self.literal.value()[..at].chars().count() })
    }

    /// Whether a placeholder is one of `lang = expr`.
    pub(crate) fn is_named(&self, placeholder: &Placeholder) -> bool {
        self.named.iter().any(|(name, _)| *name == placeholder.root)
    }

    /// An error about a placeholder.
    pub(crate) fn error_at(&self, placeholder: &Placeholder, message: &str) -> syn::Error {
        let name = placeholder.root.trim_start_matches("r#");
        self.pointed(placeholder.at, name.chars().count(), message)
    }

    fn error(&self, at: usize, length: usize, message: &str) -> syn::Error {
        self.pointed(self.literal.value()[..at].chars().count(), length, message)
    }

    /// A token of a macro cannot be divided, so the message itself points into the literal.
    fn pointed(&self, at: usize, length: usize, message: &str) -> syn::Error {
        let text = self.literal.value();
        let (before, carets) = (" ".repeat(at), "^".repeat(length));
        let message = format!("{message}\n\n    {text}\n    {before}{carets}");
        syn::Error::new(self.literal.span(), message)
    }

    pub(crate) fn span(&self) -> Span {
        self.literal.span()
    }
}
