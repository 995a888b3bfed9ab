use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// What came first.
pub(super) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for one of two; the first one wins if both are ready. Tokio's `select!` would need its
/// macros, which is a crate to build for every user.
pub(super) async fn race<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Either::First(output)),
        Poll::Pending => second.as_mut().poll(cx).map(Either::Second),
    })
    .await
}
