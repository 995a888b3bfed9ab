use crate::{call::Call, counters::Count};

/// The run of a batch, which counts as one however many elements it is for.
pub(super) struct Counted {
    call: Call,
    started: u64,
    /// The same in microseconds, and exactly.
    #[cfg(feature = "metrics")]
    timed: u64,
}

impl Counted {
    pub(super) fn begin(call: &Call) -> Self {
        call.counters().add(Count::Runs, 1);
        Self {
            call: call.clone(),
            started: call.cache().time.now(),
            #[cfg(feature = "metrics")]
            timed: call.cache().time.precise(),
        }
    }

    pub(super) fn failed(&self) {
        self.call.counters().add(Count::Errors, 1);
        #[cfg(feature = "tracing")]
        crate::watch::events::run_failed(crate::key::function(self.call.instance.number));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let took = self.call.cache().time.now().saturating_sub(self.started);
        self.call.counters().add(Count::Ended, 1);
        self.call.counters().add(Count::RunNanos, took);
        #[cfg(feature = "metrics")]
        {
            let took = self.call.cache().time.precise().saturating_sub(self.timed);
            crate::watch::record_run(self.call.instance.number, took);
        }
    }
}
