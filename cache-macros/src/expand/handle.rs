use proc_macro2::{Ident, Span};
use syn::{Path, ReturnType, parse_quote_spanned};

use crate::{args::CachedArgs, signature::Shape};

/// What a caller gets: a future that is also the handle of what is cached.
#[derive(Clone, Copy)]
pub(crate) enum Handle {
    Cached,
    Batch,
}

impl Handle {
    pub(crate) fn of(args: &CachedArgs) -> Self {
        if args.is_batch { Self::Batch } else { Self::Cached }
    }

    /// Output: `-> ::larder::Cached<impl Future<Output = R>>`.
    pub(crate) fn returned(self, krate: &Path, shape: &Shape, span: Span) -> ReturnType {
        let handle = Ident::new(
            match self {
                Self::Cached => "Cached",
                Self::Batch => "Batch",
            },
            span,
        );
        let output = &shape.output;
        // The edition of the `impl` decides what it captures: ours, whatever the user's is.
        parse_quote_spanned!(span=>
            -> #krate::#handle<impl ::core::future::Future<Output = #output>>
        )
    }

    /// What is in the place of the function after an error.
    pub(crate) fn unexpanded(self) -> Ident {
        let name = match self {
            Self::Cached => "unexpanded",
            Self::Batch => "unexpanded_batch",
        };
        Ident::new(name, Span::mixed_site())
    }
}
