//! Where the function runs: where its caller is polled, or on a task of its own.

use proc_macro2::{Ident, Span};

use super::{at_output, cached::knobs};
use crate::{
    args::{CachedArgs, Detached},
    elements::Elements,
    errors::Errors,
    owned::{check_owned, is_owned},
    signature::{Function, Shape},
};

/// The method that takes the body, at what decides on it.
pub(super) fn or_run(
    args: &CachedArgs,
    function: &Function,
    elements: Option<&Elements>,
    shape: &Shape,
) -> Ident {
    let at_output = at_output(shape);
    let leaves_at = leaves_at(args, function, elements, shape);
    match (args.detached, elements, leaves_at) {
        (_, Some(_), Some(leaves_at)) => Ident::new("or_load_leaving", leaves_at),
        (_, Some(_), None) => Ident::new("or_load", at_output),
        (Some(Detached::Always(detached)), None, _) => Ident::new("or_spawn", detached),
        (_, None, Some(leaves_at)) => Ident::new("or_leave", leaves_at),
        (_, None, None) if args.freshness.is_given() || !knobs(args, at_output).is_empty() => {
            Ident::new("or_else_by", at_output)
        }
        (_, None, None) => Ident::new("or_else", at_output),
    }
}

/// The option for whose sake a run may leave its caller; `None` if it stays.
fn leaves_at(
    args: &CachedArgs,
    function: &Function,
    elements: Option<&Elements>,
    shape: &Shape,
) -> Option<Span> {
    let option = args.freshness.leaves_at()?;
    let is_kept = matches!(args.detached, Some(Detached::Never(_)));
    // With `max_wait` it has to: rustc says of a type that the caller chooses what it has to be.
    let can_leave = args.freshness.max_wait.is_some() || is_owned(function, elements, shape);
    (!is_kept && can_leave).then_some(option)
}

pub(super) fn check_leaving(
    args: &CachedArgs,
    function: &Function,
    elements: Option<&Elements>,
    errors: &mut Errors,
) {
    let message = match (args.detached, args.freshness.max_wait) {
        (Some(Detached::Always(_)), _) if !args.is_batch => {
            "a detached call outlives its caller, so its arguments must be owned"
        }
        (Some(Detached::Always(_)) | None, Some(_)) => {
            "`max_wait` leaves the run going without its caller, so its arguments must be owned"
        }
        _ => return,
    };
    if !args.is_batch || elements.is_some() {
        check_owned(function, elements, message, errors);
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::*;

    /// The method for a function with these options.
    fn method(options: TokenStream, function: TokenStream) -> String {
        let function: Function = syn::parse2(function).unwrap();
        let shape = function.shape().unwrap();
        let mut errors = Errors::new();
        let args = CachedArgs::parse(options, &quote!(_), &mut errors);
        let elements =
            args.each.as_ref().and_then(|each| Elements::of(each, &function, &shape, &mut errors));
        check_leaving(&args, &function, elements.as_ref(), &mut errors);
        errors.finish().unwrap();
        or_run(&args, &function, elements.as_ref(), &shape).to_string()
    }

    fn of_owned(options: TokenStream) -> String {
        method(
            options,
            quote!(
                async fn get(self: Arc<Self>, id: u64) -> u64 {}
            ),
        )
    }

    fn of_borrowed(options: TokenStream) -> String {
        method(
            options,
            quote!(
                async fn get(&self, id: u64) -> u64 {}
            ),
        )
    }

    fn of_chosen(options: TokenStream) -> String {
        method(
            options,
            quote!(
                async fn get<T>(id: T) -> u64 {}
            ),
        )
    }

    fn of_batch(options: TokenStream) -> String {
        method(
            options,
            quote!(
                async fn load(ids: &[u64]) -> HashMap<u64, u64> {}
            ),
        )
    }

    #[test]
    fn a_run_stays_where_its_caller_is() {
        assert_eq!(of_owned(quote!(ttl = 60)), "or_else");
        assert_eq!(of_owned(quote!(ttl = SHORT)), "or_else_by");
        assert_eq!(of_owned(quote!(ttl = 60, cache_if = |_| true)), "or_else_by");
        assert_eq!(of_owned(quote!(ttl = 60, stale_if_error = 30)), "or_else_by");
        assert_eq!(of_owned(quote!(ttl = 60, stale = 30, detached = false)), "or_else_by");
    }

    #[test]
    fn a_run_that_owns_all_it_has_leaves_its_caller() {
        assert_eq!(of_owned(quote!(ttl = 60, stale = 30)), "or_leave");
        assert_eq!(of_owned(quote!(ttl = 60, refresh_early)), "or_leave");
        assert_eq!(of_owned(quote!(ttl = 60, stale_if_error = 30, max_wait = 1)), "or_leave");
        assert_eq!(of_owned(quote!(ttl = 60, detached)), "or_spawn");
        assert_eq!(of_owned(quote!(ttl = 60, stale = 30, max_wait = 1, detached)), "or_spawn");
    }

    #[test]
    fn a_run_that_may_borrow_stays() {
        assert_eq!(of_borrowed(quote!(ttl = 60, stale = 30, refresh_early)), "or_else_by");
        assert_eq!(of_chosen(quote!(ttl = 60, stale = 30, refresh_early)), "or_else_by");
        assert_eq!(of_chosen(quote!(ttl = 60, stale = 30, max_wait = 1)), "or_leave");
    }

    #[test]
    fn a_batch_owns_its_elements() {
        assert_eq!(of_batch(quote!(ttl = SHORT, each(id in ids))), "or_load");
        assert_eq!(of_batch(quote!(ttl = 60, each(id in ids), stale_if_error = 30)), "or_load");
        let stale = quote!(ttl = 60, each(id in ids), stale = 30);
        assert_eq!(of_batch(quote!(#stale, detached = false)), "or_load");
        assert_eq!(of_batch(quote!(#stale, max_wait = 1)), "or_load_leaving");
        let borrows = quote!(
            async fn load(db: &Db, ids: &[u64]) -> HashMap<u64, u64> {}
        );
        assert_eq!(method(stale.clone(), borrows), "or_load");
        let of_strings = quote!(
            async fn load(ids: Vec<&str>) -> HashMap<String, u64> {}
        );
        assert_eq!(method(stale, of_strings), "or_load");
    }
}
