use proc_macro2::{Span, TokenStream};

/// The errors of one attribute: all of them are reported in one build.
///
/// `finish` takes them; one that is dropped before has lost errors, and says so.
#[derive(Default)]
pub(crate) struct Errors {
    errors: Vec<syn::Error>,
    finished: bool,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    /// At more than one token.
    pub(crate) fn on(&mut self, tokens: impl quote::ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        self.errors.push(error);
    }

    /// `Some` of nothing, or of what went wrong.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// What to emit instead, if there was an error.
    pub(crate) fn finish(mut self) -> Result<(), TokenStream> {
        self.finished = true;
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(self.errors.drain(..).map(|error| error.to_compile_error()).collect())
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "errors were not reported");
    }
}

/// The known name that was meant, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .into_iter()
        .map(|known| (distance(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, known)| known)
}

/// `; did you mean `ttl`?`
pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |known| format!("; did you mean `{known}`?"))
}

/// How many letters to insert, remove or exchange (Levenshtein, 1965).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, left) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, right) in right.iter().enumerate() {
            let exchanged = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = exchanged.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("ttll", ["key", "ttl"]), Some("ttl"));
        assert_eq!(nearest("idd", ["id", "lang"]), Some("id"));
        assert_eq!(nearest("colour", ["key", "ttl"]), None);
    }
}
