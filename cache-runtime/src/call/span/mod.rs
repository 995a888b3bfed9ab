//! Spans, with the feature `tracing`: one of each call that memory did not answer, or of its batch, and one of
//! each run that goes on without its caller. They are entered while they are polled, so that what is read and
//! waited for is in them, and the function.
//!
//! Where no subscriber is interested there is none, and a call goes on as it does without the feature. A call
//! that memory answers does not come here, and has no room for a span.

#[cfg(feature = "tracing")]
mod batch;
#[cfg(feature = "tracing")]
mod call;
#[cfg(feature = "tracing")]
mod ending;

#[cfg(feature = "tracing")]
pub(super) use self::{
    batch::BatchSpan,
    call::{alone, begin, was_served},
};
#[cfg(not(feature = "tracing"))]
pub(super) use off::{BatchSpan, alone, begin};

/// Nobody is interested.
#[cfg(not(feature = "tracing"))]
mod off {
    use super::super::{
        Call, Source,
        engine::{Function, Missed, Step, run_alone},
    };
    use crate::{cache::Running, local::Mode};

    pub(in super::super) fn begin(call: &Call, mode: Mode, function: &mut dyn Function) -> Step {
        call.begin(mode, function)
    }

    pub(in super::super) fn alone() -> Missed {
        run_alone(Source::Function)
    }

    #[derive(Default)]
    pub(in super::super) struct BatchSpan(());

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl BatchSpan {
        pub(in super::super) fn of(_call: &Call, _elements: usize, _missed: usize) -> Self {
            Self(())
        }

        pub(in super::super) fn enter(&mut self) -> Option<()> {
            None
        }

        pub(in super::super) fn waits(&mut self) {}

        pub(in super::super) fn note(&mut self, _outcome: &'static str) {}

        pub(in super::super) fn note_source(&mut self, _source: Source) {}

        pub(in super::super) fn end(&mut self) {}

        pub(in super::super) fn leave(
            &self,
            _call: Option<&Call>,
            running: Running,
        ) -> (Self, Running) {
            (Self(()), running)
        }
    }
}

/// Where the spans are, for who filters by that.
#[cfg(feature = "tracing")]
pub(super) const TARGET: &str = "larder::cache";
