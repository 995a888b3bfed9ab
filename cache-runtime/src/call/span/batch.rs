//! The span of a batch: one for all of its elements, for their run is one, and who looks at a trace does not
//! look for a thousandth of it.

use tracing::{Level, Span, field::Empty, level_filters::LevelFilter, span, span::EnteredSpan};

use super::{
    super::{Call, Source, engine::Why},
    TARGET,
    call::{of_run, outcome},
    ending::Ending,
};
use crate::cache::Running;

/// That of a batch, or of what goes on of it without its caller.
#[derive(Default)]
pub(in super::super) struct BatchSpan {
    /// If somebody is interested.
    on: Option<On>,
    /// Of what its elements have come to so far, the one that comes last in `OUTCOMES`.
    furthest: usize,
}

struct On {
    ending: Ending,
    /// Where the batch was made. `None` on a task, all of which is in the span.
    around: Option<Span>,
}

/// What an element can come to. Of a batch is told what comes last.
const OUTCOMES: [&str; 8] =
    ["memory", "redis", "stale", "shared", "disabled", "function", "error", "panicked"];

impl BatchSpan {
    /// Of a batch of so many elements, so many of which memory did not answer.
    pub(in super::super) fn of(call: &Call, elements: usize, missed: usize) -> Self {
        // One look, where nobody is interested.
        if LevelFilter::current() < Level::DEBUG {
            return Self::default();
        }
        let span = span!(
            target: TARGET,
            Level::DEBUG,
            "larder.batch",
            function = crate::key::function(call.instance.number),
            elements,
            missed,
            outcome = Empty,
        );
        let is_on = !span.is_disabled();
        Self {
            on: is_on.then(|| On { ending: Ending::of(span), around: Some(Span::current()) }),
            furthest: 0,
        }
    }

    /// It is polled until this is dropped.
    pub(in super::super) fn enter(&mut self) -> Option<EnteredSpan> {
        let On { ending, around } = self.on.as_mut()?;
        ending.is_polled();
        around.is_some().then(|| ending.span().clone().entered())
    }

    /// It was polled, and is not ready.
    pub(in super::super) fn waits(&mut self) {
        if let Some(On { ending, .. }) = &mut self.on {
            ending.waits();
        }
    }

    /// An element has its value from there.
    pub(in super::super) fn note_source(&mut self, source: Source) {
        self.note(outcome(source));
    }

    /// It has come to that.
    pub(in super::super) fn note(&mut self, outcome: &'static str) {
        let rank = OUTCOMES.iter().position(|known| *known == outcome).unwrap_or(0);
        self.furthest = self.furthest.max(rank);
    }

    pub(in super::super) fn end(&mut self) {
        if let Some(On { ending, .. }) = &mut self.on {
            ending.end(OUTCOMES[self.furthest]);
        }
    }

    /// That of what goes on without the caller, which is permitted to.
    pub(in super::super) fn leave(&self, call: Option<&Call>, running: Running) -> (Self, Running) {
        let (Some(On { ending, around: Some(around) }), Some(call)) = (&self.on, call) else {
            return (Self::default(), running);
        };
        let (ending, running) = of_run(call, ending.span(), around, Why::Refresh, running);
        (Self { on: Some(On { ending, around: None }), furthest: 0 }, running)
    }
}
