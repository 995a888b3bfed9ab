//! How a batch goes on: what its elements ask of the remote tier is sent together, and the function runs
//! once all that need it wait for it.

use std::{
    any::Any,
    collections::BTreeSet,
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{runtime::Handle, task::unconstrained};

use super::{
    Elements,
    counted::Counted,
    element::{Element, Failed, LeaveAs, Left, Part, Ran, Shared},
    shape::{ElementShape, Parted, Ways},
};
use crate::{
    cache::{InScope, Running, Stage},
    call::{
        Cached, Call, Front, Keep, Made, Shape, Source, denial,
        engine::{Missed, State},
        policy::{AnyKnobs, Rules, entry, hit, joined, known},
        span::BatchSpan,
    },
    local::{Batched, Kept, Mode, Run, WaitEdge},
    remote::{self, Gather, Sent},
};

/// How the elements of a batch, and then the rest of it, go on without the caller.
pub(super) type Leaving<T, V, E, R, F, B> = (LeaveAs<V, E>, fn(Rest<T, V, E, R, F, B>, Running));

/// A batch that is polled.
#[doc(hidden)]
pub struct Loading<T, V, E, R, K, P, F, B> {
    calls: Vec<Call>,
    /// What each call wants; `None` to run the function without a flight.
    mode: Option<Mode>,
    knobs: P,
    leaving: Option<Leaving<T, V, E, R, F, B>>,
    members: Vec<Member<P, V, E>>,
    found: Vec<Option<V>>,
    sources: Vec<Option<Source>>,
    failed: Vec<Failed<E>>,
    /// An element has no value, because the run has panicked.
    is_lost: bool,
    has_begun: bool,
    /// Whether it is asked where the values came from.
    has_sources: bool,
    span: BatchSpan,
    rest: Rest<T, V, E, R, F, B>,
    keep: PhantomData<fn() -> K>,
}

/// An element that memory did not answer.
struct Member<P, V, E> {
    at: usize,
    /// In the remote tier, if there is one.
    key: String,
    call: Cached<Element<P, V, E>>,
}

/// What of a batch can go on without its caller.
pub(super) struct Rest<T, V, E, R, F, B> {
    elements: Vec<T>,
    ways: Ways<T, V, E, R>,
    shared: Arc<Shared<V, E>>,
    function: Function<T, R, F, B>,
    load: Option<F>,
    body: Option<(Pin<Box<B>>, Option<Counted>)>,
    gather: Option<Arc<Gather>>,
    sent: Vec<Sent>,
    left: Vec<Left>,
    run: Arc<Batched>,
    /// The run that the batch is a part of waits for it.
    edge: Option<WaitEdge>,
    /// Values that nobody has asked for.
    extra: Vec<(T, V)>,
    /// Of the run.
    panic: Option<Box<dyn Any + Send>>,
    has_panicked: bool,
    /// A guard has denied something inside of it.
    is_denied: bool,
    /// The first call, for what all of them have in common.
    call: Option<Call>,
    /// Of what goes on without the caller.
    span: BatchSpan,
}

/// How the function is run: that `F` makes a `B`, and `B` an `R`, is known where a batch is made, and
/// asked nowhere again. Of a batch in an `async` block rustc could not tell: it looks at what is in the
/// block without the lifetimes, by which alone it knows whose future `B` is.
struct Function<T, R, F, B> {
    load: fn(F, Vec<T>) -> B,
    poll: fn(Pin<&mut B>, &mut Context<'_>) -> Poll<R>,
}

impl<T, R, F, B> Copy for Function<T, R, F, B> {}

impl<T, R, F, B> Clone for Function<T, R, F, B> {
    fn clone(&self) -> Self {
        *self
    }
}

// Nothing of it is pinned but the body, in a box of its own.
impl<T, V, E, R, K, P, F, B> Unpin for Loading<T, V, E, R, K, P, F, B> {}
impl<T, V, E, R, F, B> Unpin for Rest<T, V, E, R, F, B> {}

impl<T, V, E, R, K, P, F, B> Loading<T, V, E, R, K, P, F, B>
where
    V: Clone + Send + Sync + 'static,
    K: Keep<V>,
    P: Rules<ElementShape<V, E, K>>,
{
    pub(super) fn new(
        rest: Rest<T, V, E, R, F, B>,
        calls: Vec<Call>,
        knobs: P,
        leaving: Option<Leaving<T, V, E, R, F, B>>,
    ) -> Self {
        let count = calls.len();
        Self {
            calls,
            mode: Some(Mode::Load),
            knobs,
            leaving,
            members: Vec::new(),
            found: (0..count).map(|_| None).collect(),
            sources: vec![None; count],
            failed: Vec::new(),
            is_lost: false,
            has_begun: false,
            has_sources: false,
            span: BatchSpan::default(),
            rest,
            keep: PhantomData,
        }
    }

    /// Looks into memory, and makes members of the others.
    fn begin(&mut self) {
        self.has_begun = true;
        self.rest.gather = gather(&self.calls);
        let batch = Run::OfBatch(Arc::clone(&self.rest.run));
        let around = InScope::current_run();
        self.rest.edge = around.map(|run| WaitEdge::of_new(run, batch, false));
        for (at, call) in self.calls.iter().enumerate() {
            if self.mode == Some(Mode::Load)
                && !self.has_sources
                && let Some(Ok(value)) = hit::<ElementShape<V, E, K>>(call)
            {
                self.found[at] = value;
                continue;
            }
            let mut call = call.clone();
            let mut key = String::new();
            if let Some(gather) = &self.rest.gather {
                call.set_remote(Arc::clone(gather) as _);
                key = call.remote_key();
            }
            let leave = self.leaving.map(|(leave, _)| leave);
            let state = self.mode.map_or_else(State::alone, State::made);
            let call = Cached {
                front: Front::in_state::<ElementShape<V, E, K>>(call, state),
                open: Element::open::<ElementShape<V, E, K>>,
                body: Element::new(self.knobs, at, &self.rest.shared, leave),
            };
            if self.members.is_empty() {
                // A call is large to be moved.
                self.members.reserve(self.calls.len() - at);
            }
            self.members.push(Member { at, key, call });
        }
        if let (Some(call), false) = (self.calls.first(), self.members.is_empty()) {
            self.span = BatchSpan::of(call, self.calls.len(), self.members.len());
        }
    }

    /// Polls the members, and says whether one has ended.
    fn poll_members(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.members.len();
        let Self { members, found, sources, failed, is_lost, rest, span, .. } = self;
        members.retain_mut(|Member { at, call, .. }| {
            let polled = rest.in_panic(|| Pin::new(&mut *call).poll_with_source(cx));
            match polled {
                None => {
                    *is_lost = true;
                    span.note("panicked");
                    return false;
                }
                Some(Poll::Pending) => return true,
                Some(Poll::Ready((Ok(value), source))) => {
                    found[*at] = value;
                    sources[*at] = Some(source);
                    span.note_source(source);
                }
                Some(Poll::Ready((Err(error), _))) => {
                    failed.push(error);
                    span.note("error");
                }
            }
            false
        });
        self.members.len() < before
    }

    /// Those that were held back begin their flights, all at once.
    fn claim(&mut self) {
        if let Some(call) = &self.rest.call {
            let _together = call.cache().flights.together();
            self.members.iter_mut().for_each(|member| member.call.front.claim());
        }
    }

    /// What became of all of them.
    fn end(&mut self) -> R {
        let panic = self.rest.panic.take().filter(|_| self.is_lost);
        let output = if let Some(error) = self.failed.iter().find_map(Failed::take) {
            (self.rest.ways.error)(error)
        } else {
            let found = std::mem::take(&mut self.found);
            let extra = std::mem::take(&mut self.rest.extra);
            self.rest.join(found, extra)
        };
        self.leave();
        self.span.end();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        output
    }
}

impl<T, V, E, R, K, P, F, B> Loading<T, V, E, R, K, P, F, B> {
    /// What is not done yet goes on without the caller.
    fn leave(&mut self) {
        let permit = self.rest.shared.take_permit();
        // Also what has begun to a moment ago.
        self.rest.left.extend(self.rest.shared.take_left());
        if !self.rest.left.is_empty()
            && let (Some((_, spawn)), Some(running)) = (self.leaving, permit)
            && Handle::try_current().is_ok()
        {
            let mut rest = self.rest.take();
            let (span, running) = self.span.leave(rest.call.as_ref(), running);
            rest.span = span;
            spawn(rest, running);
        }
    }
}

impl<T, V, E, R, K, P, F, B> Drop for Loading<T, V, E, R, K, P, F, B> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T, V, E, R, F, B> Rest<T, V, E, R, F, B> {
    /// All of it, for another to go on with.
    fn take(&mut self) -> Self {
        Self {
            elements: std::mem::take(&mut self.elements),
            ways: self.ways,
            shared: Arc::clone(&self.shared),
            function: self.function,
            load: self.load.take(),
            body: self.body.take(),
            gather: self.gather.take(),
            sent: std::mem::take(&mut self.sent),
            left: std::mem::take(&mut self.left),
            run: Arc::clone(&self.run),
            edge: None,
            extra: Vec::new(),
            panic: None,
            has_panicked: self.has_panicked,
            is_denied: self.is_denied,
            call: self.call.take(),
            span: BatchSpan::default(),
        }
    }
}

impl<T, V, E, R, F, B> Rest<T, V, E, R, F, B> {
    pub(super) fn new(elements: Vec<T>, ways: Ways<T, V, E, R>, load: F, calls: &[Call]) -> Self
    where
        V: Clone,
        F: FnOnce(Vec<T>) -> B,
        B: Future<Output = R>,
    {
        Self {
            elements,
            ways,
            shared: Shared::new(),
            function: Function { load: |load, elements| load(elements), poll: B::poll },
            load: Some(load),
            body: None,
            gather: None,
            sent: Vec::new(),
            left: Vec::new(),
            run: Arc::default(),
            edge: None,
            extra: Vec::new(),
            panic: None,
            has_panicked: false,
            is_denied: false,
            call: calls.first().cloned(),
            span: BatchSpan::default(),
        }
    }

    /// The output of these values of the elements, and others.
    fn join(&self, found: Vec<Option<V>>, extra: Vec<(T, V)>) -> R {
        let elements = self.elements.iter().map(self.ways.clone);
        let found = elements.zip(found).filter_map(|(element, value)| Some((element, value?)));
        (self.ways.join)(extra.into_iter().chain(found).collect())
    }

    /// Polls something that goes on with the panic of the run, if that has panicked; `None` if it did.
    fn in_panic<O>(&self, poll: impl FnOnce() -> O) -> Option<O> {
        if !self.has_panicked {
            return Some(poll());
        }
        // What it was is known already.
        catch_unwind(AssertUnwindSafe(poll)).ok()
    }

    /// What its elements and its function are polled in.
    fn context(&self, stage: Stage) -> InScope {
        InScope::of_batch(self.call.as_ref().and_then(Call::scope), &self.run, stage)
    }

    /// How many of these elements wait for no other that goes on without the caller.
    fn count_alone(&self, members: impl Iterator<Item = usize>) -> usize {
        members.filter(|at| !self.left.iter().any(|left| left.at == *at)).count()
    }

    /// Everything but these elements, which the caller waits for, and their keys: says whether one of them
    /// may get further now.
    fn turn<'a>(
        &mut self,
        members: impl Iterator<Item = (usize, &'a str)> + Clone,
        cx: &mut Context<'_>,
    ) -> bool {
        let alone = self.count_alone(members.clone().map(|(at, _)| at));
        if to_the_end(cx, |cx| self.poll_left(cx) | self.send(members, cx)) {
            return true;
        }
        let wanted = self.shared.count_wanted();
        if wanted > 0
            && wanted == alone + self.left.len()
            && let Some(load) = self.load.take()
        {
            // Those that waited for others do so no more.
            let wanted = self.shared.wanted();
            let wanted = wanted.into_iter().filter_map(|at| self.elements.get(at));
            let wanted = wanted.map(self.ways.clone).collect();
            let body = Box::pin((self.function.load)(load, wanted));
            let is_counted = self.shared.is_counted();
            self.body = Some((body, self.call.as_ref().filter(|_| is_counted).map(Counted::begin)));
        }
        self.poll_body(cx)
    }

    /// Sends what these elements and others have asked, and says whether something was answered.
    fn send<'a>(
        &mut self,
        members: impl Iterator<Item = (usize, &'a str)>,
        cx: &mut Context<'_>,
    ) -> bool {
        if let Some(gather) = &self.gather {
            let waiting = || {
                let left = self.left.iter().map(|left| (left.at, left.key.as_str()));
                let mut waiting: BTreeSet<&str> = self.shared.unwanted(members);
                waiting.extend(self.shared.unwanted(left));
                waiting
            };
            let sent = gather.send(waiting, || WaitEdge::is_waiting(&self.run));
            self.sent.extend(sent);
        }
        let pending = self.sent.len();
        self.sent.retain_mut(|sent| sent.as_mut().poll(cx).is_pending());
        self.sent.len() < pending
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> bool {
        let new = self.shared.take_left();
        let mut is_further = !new.is_empty();
        self.left.extend(new);
        let mut left = std::mem::take(&mut self.left);
        left.retain_mut(|left| {
            let ended =
                self.in_panic(|| left.future.as_mut().poll(cx)).is_none_or(|poll| poll.is_ready());
            is_further |= ended;
            !ended
        });
        self.left = left;
        is_further
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> bool {
        let scope = self.context(Stage::Runs);
        let poll = self.function.poll;
        let Some((body, counted)) = &mut self.body else {
            return false;
        };
        let poll = || scope.enter(|| poll(body.as_mut(), cx));
        let (polled, is_denied) = denial::during(|| catch_unwind(AssertUnwindSafe(poll)));
        self.is_denied |= is_denied;
        let ran = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => match (self.ways.part)(output, &self.elements) {
                Ok(Parted { values, extra }) => {
                    self.extra = extra;
                    Ran::Values(values)
                }
                Err(error) => Ran::Error { error: Failed::of(error), is_denied: self.is_denied },
            },
            Err(panic) => {
                (self.panic, self.has_panicked) = (Some(panic), true);
                Ran::Panicked
            }
        };
        if let (Some(counted), Ran::Error { .. } | Ran::Panicked) = (counted, &ran) {
            counted.failed();
        }
        self.body = None;
        self.span.note(match &ran {
            Ran::Values(_) => "function",
            Ran::Error { .. } => "error",
            Ran::Panicked => "panicked",
        });
        self.shared.ran(ran);
        true
    }
}

impl<T, V, E, R, K, P, F, B> Future for Loading<T, V, E, R, K, P, F, B>
where
    V: Clone + Send + Sync + 'static,
    K: Keep<V>,
    P: Rules<ElementShape<V, E, K>>,
{
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = self.get_mut();
        if !this.has_begun {
            this.begin();
        }
        let _entered = this.span.enter();
        let (begins, loads) = (this.rest.context(Stage::Begins), this.rest.context(Stage::Loads));
        loop {
            let mut is_further =
                begins.clone().enter(|| to_the_end(cx, |cx| this.poll_members(cx)));
            if this.rest.run.has_held_back() {
                loads.clone().enter(|| this.claim());
                is_further = true;
            }
            if this.members.is_empty() {
                return Poll::Ready(this.end());
            }
            let Self { members, rest, .. } = &mut *this;
            let members = members.iter().map(|member| (member.at, member.key.as_str()));
            is_further |= loads.clone().enter(|| rest.turn(members, cx));
            if !is_further {
                this.span.waits();
                return Poll::Pending;
            }
        }
    }
}

impl<T, V, E, R, K, P, F, B> fmt::Debug for Loading<T, V, E, R, K, P, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// How an element goes on without its caller.
pub(super) fn goes_on<S, P, V, E>(
    knobs: &AnyKnobs,
    part: Part<V, E>,
    call: Call,
    missed: Missed,
    running: Running,
) -> Left
where
    S: Shape<Output = Result<Option<V>, Failed<E>>> + 'static,
    P: Rules<S>,
    V: Send + 'static,
    E: Send + 'static,
{
    let at = part.at();
    let key = call.remote().map(|_| call.remote_key()).unwrap_or_default();
    let knobs: P = *known(knobs);
    let front = Front::going_on::<S>(call, missed);
    let body = Element::of_part(knobs, part);
    let call = Cached { front, open: Element::open::<S>, body };
    let future = Box::pin(async move {
        let _running = running;
        // The value is where others find it.
        drop(call.await);
    });
    Left { at, key, future }
}

/// The rest of a batch goes on by itself.
pub(super) fn spawn<T, V, E, R, F, B>(mut rest: Rest<T, V, E, R, F, B>, running: Running)
where
    T: Send + 'static,
    V: Send + 'static,
    E: Send + 'static,
    R: 'static,
    F: FnOnce(Vec<T>) -> B + Send + 'static,
    B: Future<Output = R> + Send + 'static,
{
    let loads = rest.context(Stage::Loads);
    running.spawn(poll_fn(move |cx| {
        let _entered = rest.span.enter();
        while loads.clone().enter(|| rest.turn(std::iter::empty(), cx)) {}
        if rest.left.is_empty() {
            rest.span.end();
            Poll::Ready(())
        } else {
            rest.span.waits();
            Poll::Pending
        }
    }));
}

/// Where these calls gather what they ask of the remote tier, if there is one for them.
fn gather(calls: &[Call]) -> Option<Arc<Gather>> {
    let call = calls.first()?;
    let remote = remote::of(call)?;
    Some(Gather::new(Arc::clone(remote), call.cache().background.clone()))
}

/// Polls what is of this crate, to the end: the function alone leaves others their turn. Else the elements
/// of a large batch would get further in several parts, and what they ask be sent in as many.
fn to_the_end<O>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> O) -> O {
    let mut poll = Some(poll);
    let mut output = None;
    let polled = poll_fn(|cx| {
        output = poll.take().map(|poll| poll(cx));
        Poll::Ready(())
    });
    let _ = pin!(unconstrained(polled)).poll(cx);
    output.unwrap_or_else(|| unreachable!())
}

/// What is stored of each of these.
pub(super) async fn find_all(calls: Vec<Call>) -> Vec<Option<Kept>> {
    let mut found = Vec::with_capacity(calls.len());
    let gather = gather(&calls);
    let mut finding: Vec<_> = calls
        .into_iter()
        .map(|mut call| {
            if let Some(gather) = &gather {
                call.set_remote(Arc::clone(gather) as _);
            }
            found.push(None);
            Some(Box::pin(async move { call.find().await.map(|(entry, _)| entry) }))
        })
        .collect();
    let mut sent: Vec<Sent> = Vec::new();
    let find = poll_fn(move |cx| {
        loop {
            let mut is_pending = false;
            for (finding, found) in finding.iter_mut().zip(&mut found) {
                let Some(future) = finding else { continue };
                match future.as_mut().poll(cx) {
                    Poll::Ready(entry) => (*found, *finding) = (entry, None),
                    Poll::Pending => is_pending = true,
                }
            }
            if !is_pending {
                return Poll::Ready(std::mem::take(&mut found));
            }
            if let Some(gather) = &gather {
                sent.extend(gather.send(BTreeSet::new, || false));
            }
            let pending = sent.len();
            sent.retain_mut(|sent| sent.as_mut().poll(cx).is_pending());
            if sent.len() == pending {
                return Poll::Pending;
            }
        }
    });
    unconstrained(find).await
}

impl<T, V, E, R, K, P, F, B> Elements<R> for Loading<T, V, E, R, K, P, F, B>
where
    V: Clone + Send + Sync + 'static,
    K: Keep<V>,
    P: Rules<ElementShape<V, E, K>>,
{
    fn calls(self: Pin<&mut Self>) -> &[Call] {
        &self.get_mut().calls
    }

    fn set_mode(mut self: Pin<&mut Self>, mode: Option<Mode>) {
        self.mode = mode;
    }

    fn found(self: Pin<&mut Self>, found: Vec<Option<Kept>>) -> R {
        let join =
            |entry: Option<Kept>| joined::<ElementShape<V, E, K>>(K::take(entry?.value))?.ok()?;
        self.rest.join(found.into_iter().map(join).collect(), Vec::new())
    }

    fn made(self: Pin<&mut Self>, output: R) -> Vec<Option<Made>> {
        let Ok(Parted { mut values, .. }) = (self.rest.ways.part)(output, &self.rest.elements)
        else {
            return self.calls.iter().map(|_| None).collect();
        };
        let made = |(at, call)| {
            entry::<ElementShape<V, E, K>, P>(&self.knobs, call, Ok(values.remove(&at)))
        };
        self.calls.iter().enumerate().map(made).collect()
    }

    fn note_sources(mut self: Pin<&mut Self>) {
        self.has_sources = true;
    }

    fn sources(mut self: Pin<&mut Self>) -> Vec<Option<Source>> {
        std::mem::take(&mut self.sources)
    }
}
