//! How something ended: told once, whatever comes.

use tracing::Span;

/// The span of something that has not ended yet.
pub(super) struct Ending {
    span: Span,
    /// As what it ends if it is dropped now; `None` once it is told.
    otherwise: Option<&'static str>,
}

impl Ending {
    pub(super) fn of(span: Span) -> Self {
        Self { span, otherwise: Some("dropped") }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// It is polled from now on: who does not come back has panicked.
    pub(super) fn is_polled(&mut self) {
        self.otherwise = Some("panicked");
    }

    /// It was polled, and is not ready.
    pub(super) fn waits(&mut self) {
        self.otherwise = Some("dropped");
    }

    pub(super) fn end(&mut self, outcome: &'static str) {
        self.otherwise = None;
        self.span.record("outcome", outcome);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(outcome) = self.otherwise {
            self.span.record("outcome", outcome);
        }
    }
}
