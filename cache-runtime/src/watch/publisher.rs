//! Gives what a cache has counted to whatever records metrics in this process.
//!
//! Counters are given as what came since the last time, and gauges as what they are: that is what every
//! recorder understands. What was given is remembered for each recorder, so that one that is installed late,
//! or for a test, gets all of it. No handle of a metric is kept: it would belong to the recorder of its day.

use std::{
    collections::BTreeMap,
    fmt,
    ptr::from_ref,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    time::Duration,
};

use metrics::{Level, Metadata, Recorder, with_recorder};
use tokio::{runtime::Handle, time::sleep};

use super::{
    reading::{Reading, Series},
    table::{Kind, METRICS, Metric},
};
use crate::cache::Inner;

/// Between two times that a cache publishes by itself.
const PAUSE: Duration = Duration::from_secs(1);

/// What a cache has published, and the task that goes on to.
pub(crate) struct Publisher {
    cache: OnceLock<Weak<Inner>>,
    /// Whether there is a task.
    attended: Arc<AtomicBool>,
    /// The recorder that was seen last is the last.
    given: Mutex<Vec<Given>>,
}

/// What one recorder was given by one cache.
struct Given {
    recorder: Identity,
    totals: BTreeMap<Series, u64>,
}

/// Where a recorder is, and its size. One that was installed for the process stays there for ever.
type Identity = (usize, usize);

/// So many recorders are remembered, of which there is one in a service.
const RECORDERS: usize = 8;

/// What all caches of the process say of their gauges, each by its address.
static GAUGES: Mutex<BTreeMap<Series, Vec<(usize, f64)>>> = Mutex::new(BTreeMap::new());

impl Publisher {
    pub(crate) fn new() -> Self {
        Self { cache: OnceLock::new(), attended: Arc::default(), given: Mutex::default() }
    }

    /// From now on its task can publish what this cache has counted.
    pub(crate) fn tell(&self, cache: &Arc<Inner>) {
        let _ = self.cache.set(Arc::downgrade(cache));
    }

    /// Sees to it that there is a task that publishes, if there is a runtime.
    #[inline]
    pub(crate) fn attend(&self) {
        if !self.attended.load(Relaxed) {
            self.begin();
        }
    }

    #[cold]
    fn begin(&self) {
        let (Some(cache), Ok(runtime)) = (self.cache.get(), Handle::try_current()) else {
            return;
        };
        if !self.attended.swap(true, AcqRel) {
            let turn = Turn(Arc::clone(&self.attended));
            runtime.spawn(keep_publishing(Weak::clone(cache), turn));
        }
    }

    /// What the counters have more than this recorder was given, and whether it was never given any.
    fn take(&self, recorder: Identity, counters: BTreeMap<Series, u64>) -> (Vec<Increment>, bool) {
        let mut all = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|given| given.recorder == recorder);
        let mut given = match at {
            Some(at) => all.remove(at),
            None => Given { recorder, totals: BTreeMap::new() },
        };
        if all.len() == RECORDERS {
            all.remove(0);
        }
        let mut increments = Vec::with_capacity(counters.len());
        for (series, total) in counters {
            let before = given.totals.entry(series.clone()).or_default();
            // A call that turns out to be a hit was counted as a miss until then.
            increments.push((series, total.saturating_sub(*before)));
            *before = total.max(*before);
        }
        all.push(given);
        (increments, at.is_none())
    }
}

type Increment = (Series, u64);

impl Inner {
    /// Gives what was counted to the recorder of this thread, else to that of the process.
    pub(crate) fn publish(&self) {
        let Reading { counters, gauges } = self.reading();
        let gauges = with_those_of_others(from_ref(self).addr(), gauges);
        with_recorder(|recorder| {
            let (increments, is_new) = self.publisher.take(identity(recorder), counters);
            if is_new {
                for metric in METRICS {
                    describe(recorder, metric);
                }
            }
            // Also those that have not changed: a recorder may forget what it has not seen for long.
            for (series, more) in increments {
                recorder.register_counter(&series.key(), &METADATA).increment(more);
            }
            set(recorder, gauges);
        });
    }

    /// The same for the last time: its gauges are nothing from now on.
    fn publish_last(&self) {
        self.publish();
        let gauges = without(from_ref(self).addr());
        with_recorder(|recorder| set(recorder, gauges));
    }

    fn reading(&self) -> Reading {
        let service = self.remote.as_ref().map(|_| self.shared_service());
        Reading::of(&self.stats(), service)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.publish_last();
    }
}

fn identity(recorder: &dyn Recorder) -> Identity {
    (from_ref(recorder).cast::<()>().addr(), size_of_val(recorder))
}

/// What is recorded comes from here.
pub(super) static METADATA: Metadata<'static> =
    Metadata::new("larder", Level::INFO, Some("larder"));

fn describe(recorder: &dyn Recorder, metric: &Metric) {
    let (name, unit, help) = (metric.name.into(), Some(metric.unit), metric.help.into());
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, unit, help),
        Kind::Gauge | Kind::Greatest => recorder.describe_gauge(name, unit, help),
        Kind::Histogram => recorder.describe_histogram(name, unit, help),
    }
}

fn set(recorder: &dyn Recorder, gauges: Vec<(Series, f64)>) {
    for (series, value) in gauges {
        recorder.register_gauge(&series.key(), &METADATA).set(value);
    }
}

/// The gauges of this cache, together with what other caches have said of the same.
fn with_those_of_others(cache: usize, gauges: BTreeMap<Series, f64>) -> Vec<(Series, f64)> {
    let mut all = GAUGES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut together = Vec::with_capacity(gauges.len());
    for (series, value) in gauges {
        let of = all.entry(series.clone()).or_default();
        match of.iter_mut().find(|(other, _)| *other == cache) {
            Some((_, old)) => *old = value,
            None => of.push((cache, value)),
        }
        let value = combined(&series, of);
        together.push((series, value));
    }
    together
}

/// The gauges of this cache, of which only what other caches have said is left.
fn without(cache: usize) -> Vec<(Series, f64)> {
    let mut all = GAUGES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut left = Vec::new();
    all.retain(|series, of| {
        let count = of.len();
        of.retain(|(other, _)| *other != cache);
        if of.len() < count {
            left.push((series.clone(), combined(series, of)));
        }
        !of.is_empty()
    });
    left
}

fn combined(series: &Series, of: &[(usize, f64)]) -> f64 {
    let values = of.iter().map(|(_, value)| *value);
    match series.metric.kind {
        Kind::Greatest => values.fold(0.0, f64::max),
        Kind::Counter | Kind::Gauge | Kind::Histogram => values.sum(),
    }
}

/// The time of one task. Dropped with it, when the runtime ends.
struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        // A runtime without timers ends it so, and would the next one.
        if !std::thread::panicking() {
            self.0.store(false, Release);
        }
    }
}

async fn keep_publishing(cache: Weak<Inner>, turn: Turn) {
    let _turn = turn;
    loop {
        sleep(PAUSE).await;
        let Some(cache) = cache.upgrade() else {
            return;
        };
        cache.publish();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("attended", &self.attended).finish_non_exhaustive()
    }
}
