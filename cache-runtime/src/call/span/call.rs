//! The span of a call, and that of a run that goes on without it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tracing::{Level, Span, field::Empty, level_filters::LevelFilter, span};

use super::{
    super::{
        Call, Source,
        engine::{Function, Missed, Pursuit, Settling, Step, Why, run_alone},
    },
    TARGET,
    ending::Ending,
};
use crate::{
    cache::{InScope, Running},
    key::function,
    local::{Kept, Lead, Mode, SharedError},
    watch::events,
};

/// Begins what a call does that memory did not answer.
pub(in super::super) fn begin(call: &Call, mode: Mode, function: &mut dyn Function) -> Step {
    match of_call(call) {
        None => call.begin(mode, function),
        Some(span) => Step::Go(Box::pin(Spanned::new(span, Some(mode), None))),
    }
}

/// What a call does that runs the function without the cache.
pub(in super::super) fn alone() -> Missed {
    Box::pin(Alone)
}

/// A call has its value from there. Told in its span, or that of its batch.
pub(in super::super) fn was_served(call: &Call, missed: Option<&Missed>, source: Source) {
    if let Source::Stale { .. } = source {
        let _entered = missed.and_then(|missed| missed.span()).map(Span::enter);
        events::stale_served(function(call.instance.number));
    }
}

/// Its span, if somebody is interested. An element is in that of its batch.
fn of_call(call: &Call) -> Option<Span> {
    // One look, where nobody is.
    if LevelFilter::current() < Level::DEBUG || InScope::is_of_element() {
        return None;
    }
    let span = span!(
        target: TARGET,
        Level::DEBUG,
        "larder.call",
        function = function(call.instance.number),
        outcome = Empty,
    );
    Some(span).filter(|span| !span.is_disabled())
}

/// The span of a run that goes on without the caller, whose span that is, and what is around it. A refresh is
/// beside the call that has begun it: that one does not wait for it, and is not to seem as long. The run is
/// in its span, or where that would be if nobody is interested in it.
pub(super) fn of_run(
    call: &Call,
    caller: &Span,
    around: &Span,
    why: Why,
    running: Running,
) -> (Ending, Running) {
    let (parent, why) = match why {
        Why::Refresh => (around, "refresh"),
        Why::Run => (caller, "detached"),
    };
    let span = span!(
        target: TARGET,
        parent: parent,
        Level::DEBUG,
        "larder.run",
        function = function(call.instance.number),
        why,
        outcome = Empty,
    );
    span.follows_from(caller);
    let running = running.within(if span.is_disabled() { parent } else { &span });
    (Ending::of(span), running)
}

pub(super) fn outcome(source: Source) -> &'static str {
    match source {
        Source::Memory { .. } => "memory",
        Source::Redis { .. } => "redis",
        Source::Stale { .. } => "stale",
        Source::Shared => "shared",
        Source::Function => "function",
        Source::Disabled => "disabled",
        Source::Denied => "denied",
    }
}

/// Runs the function without the cache. Whether somebody is interested is asked when it is polled.
struct Alone;

impl Pursuit for Alone {
    fn poll(
        self: Pin<&mut Self>,
        call: &Call,
        _: &mut dyn Function,
        _: &mut Context<'_>,
    ) -> Poll<Step> {
        let alone = run_alone(Source::Function);
        Poll::Ready(Step::Go(match of_call(call) {
            None => alone,
            Some(span) => Box::pin(Spanned::new(span, None, Some(alone))),
        }))
    }
}

/// Does what a call does, in a span that it says its end to.
struct Spanned {
    /// What is to begin.
    mode: Option<Mode>,
    missed: Option<Missed>,
    ending: Ending,
    /// Where the call was made. `None` on a task, all of which is in the span.
    around: Option<Span>,
}

impl Spanned {
    fn new(span: Span, mode: Option<Mode>, missed: Option<Missed>) -> Self {
        Self { mode, missed, ending: Ending::of(span), around: Some(Span::current()) }
    }

    /// As the engine does it, until there is an output.
    fn drive(
        &mut self,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<(Source, &'static str)> {
        let Self { mode, missed, ending, around } = self;
        let span = ending.span();
        let _entered = around.is_some().then(|| span.enter());
        let around = around.as_ref().unwrap_or(span);
        let function = &mut Within { function, span, around, why: Why::Run };
        let mut step = match (mode.take(), &mut *missed) {
            (Some(mode), _) => call.begin(mode, function),
            (None, Some(missed)) => ready!(missed.as_mut().poll(call, function, cx)),
            // It had something to do when it was made, and has until there is an output.
            (None, None) => unreachable!(),
        };
        loop {
            step = match step {
                Step::Made(source) => {
                    let outcome = if function.is_failure() { "error" } else { outcome(source) };
                    return Poll::Ready((source, outcome));
                }
                Step::Again(mode) => call.begin(mode, function),
                Step::Go(next) => ready!(missed.insert(next).as_mut().poll(call, function, cx)),
            };
        }
    }
}

impl Pursuit for Spanned {
    fn poll(
        mut self: Pin<&mut Self>,
        call: &Call,
        function: &mut dyn Function,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        self.ending.is_polled();
        let Poll::Ready((source, outcome)) = self.drive(call, function, cx) else {
            self.ending.waits();
            return Poll::Pending;
        };
        self.ending.end(outcome);
        Poll::Ready(Step::Made(source))
    }

    fn span(&self) -> Option<&Span> {
        Some(self.ending.span())
    }
}

/// The function, as it is seen from inside of the span.
struct Within<'a> {
    function: &'a mut dyn Function,
    span: &'a Span,
    around: &'a Span,
    /// What it was asked for last to go on without its caller.
    why: Why,
}

impl Function for Within<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.function.poll(cx)
    }

    fn join(&mut self, entry: Kept) -> bool {
        self.function.join(entry)
    }

    fn fail(&mut self, shared: &SharedError) -> bool {
        self.function.fail(shared)
    }

    fn permit(&mut self, call: &Call, why: Why) -> Option<Running> {
        self.why = why;
        self.function.permit(call, why)
    }

    fn leave(&mut self, call: &Call, missed: Missed, running: Running) {
        let (ending, running) = of_run(call, self.span, self.around, self.why, running);
        let spanned = Spanned { mode: None, missed: Some(missed), ending, around: None };
        self.function.leave(call, Box::pin(spanned), running);
    }

    fn has_left(&self) -> bool {
        self.function.has_left()
    }

    fn source(&self) -> Source {
        self.function.source()
    }

    fn counts_itself(&mut self) -> bool {
        self.function.counts_itself()
    }

    fn settle(&mut self, call: &Call, lead: Lead) -> Settling {
        self.function.settle(call, lead)
    }

    fn keep_output(&mut self) {
        self.function.keep_output();
    }

    fn is_failure(&self) -> bool {
        self.function.is_failure()
    }
}
