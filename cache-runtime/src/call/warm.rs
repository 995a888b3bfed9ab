use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use super::{Cached, Source};

/// Makes these calls, so many at once, so that those that come later find their values: after a start, or
/// before a peak.
///
/// Each call is one like any other: what is there already is not loaded again, and what another process
/// loads is waited for. `progress` is told after each of them. A `limit` of zero is one.
///
/// ```
/// use larder::{Cache, cached, warm};
///
/// #[cached(ttl = 60, key = "user:{id}")]
/// async fn get_user(id: u64) -> Result<String, String> { Ok(format!("user {id}")) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() { Cache::memory().scope(async {
/// let report = warm((1..=100).map(get_user), 8, |progress| {
///     println!("{} of {:?}", progress.done, progress.total);
/// }).await;
/// assert_eq!(report.loaded, 100);
/// # }).await }
/// ```
///
/// # Panics
///
/// Where one of the functions does.
pub async fn warm<F: Future>(
    calls: impl IntoIterator<Item = Cached<F>>,
    limit: usize,
    mut progress: impl FnMut(Progress),
) -> WarmReport {
    let mut calls = calls.into_iter();
    let total = calls.size_hint().1;
    let mut report = WarmReport::default();
    let mut under_way = Vec::new();
    poll_fn(move |cx| {
        loop {
            let room = limit.max(1) - under_way.len();
            under_way.extend(calls.by_ref().take(room).map(|call| Box::pin(end(call))));
            let before = under_way.len();
            under_way.retain_mut(|call| match call.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(end) => {
                    report.count(&end);
                    progress(Progress { done: report.calls(), failed: report.failed, total });
                    false
                }
            });
            if before == 0 {
                return Poll::Ready(report);
            }
            if under_way.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// How far [`warm`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Calls that have ended.
    pub done: usize,
    /// Those of them that returned an `Err`.
    pub failed: usize,
    /// How many there are, where the iterator says at most how many it has.
    pub total: Option<usize>,
}

/// What the calls of [`warm`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmReport {
    /// Their functions ran, for them or for another that they waited for.
    pub loaded: usize,
    /// Their values were there.
    pub present: usize,
    /// Old values were there, which are refreshed, or could not be.
    pub stale: usize,
    /// Their functions returned an `Err`.
    pub failed: usize,
}

impl WarmReport {
    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.loaded + self.present + self.stale + self.failed
    }

    fn count(&mut self, end: &End) {
        *match end {
            End::Present => &mut self.present,
            End::Stale => &mut self.stale,
            End::Loaded => &mut self.loaded,
            End::Failed => &mut self.failed,
        } += 1;
    }
}

/// How a call ended.
enum End {
    Present,
    Stale,
    Loaded,
    Failed,
}

async fn end<F: Future>(call: Cached<F>) -> End {
    let mut call = Box::pin(call);
    let is_failure = call.as_mut().behind().policy().is_failure;
    let (output, source) = poll_fn(|cx| call.as_mut().poll_with_source(cx)).await;
    if is_failure(&output) {
        return End::Failed;
    }
    match source {
        Source::Memory { .. } | Source::Redis { .. } => End::Present,
        Source::Stale { .. } => End::Stale,
        Source::Shared | Source::Function | Source::Disabled => End::Loaded,
        Source::Denied => End::Failed,
    }
}
