use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::counts::Counts;
use super::dice::Dice;
use super::event::Event;
use crate::time::Tick;

/// Where an event stands in the order of what is to come: its time, and its turn among those of one time.
pub(super) type Place = (Tick, u64);

/// Takes the lines of a run's log.
pub type Log = Box<dyn FnMut(&str) + Send>;

/// What all parts of one simulated world share: the time, what is to happen, the chance, and the records.
pub(super) struct Kernel(Mutex<Inner>);

struct Inner {
    now: Tick,
    places: u64,
    events: BTreeMap<Place, Event>,
    dice: Dice,
    faults: bool,
    counts: Counts,
    trace: u64,
    log: Option<Log>,
}

/// FNV-1a's offset basis and prime (Fowler, Noll, Vo; RFC 9923).
const FNV: (u64, u64) = (0xCBF2_9CE4_8422_2325, 0x0100_0000_01B3);

impl Kernel {
    pub(super) fn new(seed: u64, log: Option<Log>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner {
            now: Tick::from_millis(1),
            places: 0,
            events: BTreeMap::new(),
            dice: Dice::new(seed),
            faults: true,
            counts: Counts::default(),
            trace: FNV.0,
            log,
        })))
    }

    pub(super) fn now(&self) -> Tick {
        self.lock().now
    }

    /// Throws the dice.
    pub(super) fn dice<T>(&self, throw: impl FnOnce(&mut Dice) -> T) -> T {
        throw(&mut self.lock().dice)
    }

    /// Whether something that happens in so many of a thousand cases while there are faults happens.
    pub(super) fn fails(&self, per_mille: u64) -> bool {
        let mut inner = self.lock();
        inner.faults && inner.dice.happens(per_mille)
    }

    /// Whether things go wrong; false once the world heals.
    pub(super) fn faults(&self) -> bool {
        self.lock().faults
    }

    pub(super) fn heal(&self) {
        self.lock().faults = false;
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.lock().counts);
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn after(&self, delay: Duration, event: Event) -> Place {
        let mut inner = self.lock();
        let at = inner.now + delay;
        inner.schedule(at, event)
    }

    pub(super) fn at(&self, at: Tick, event: Event) -> Place {
        self.lock().schedule(at, event)
    }

    pub(super) fn cancel(&self, place: Place) {
        let cancelled = self.lock().events.remove(&place);
        // A waker may own what locks the kernel when it is dropped.
        drop(cancelled);
    }

    /// The next event; the clock moves to its time.
    pub(super) fn next(&self) -> Option<Event> {
        let mut inner = self.lock();
        let ((at, _), event) = inner.events.pop_first()?;
        inner.now = inner.now.max(at);
        Some(event)
    }

    /// Ends after `delay`.
    pub(super) fn sleep(self: &Arc<Self>, delay: Duration) -> Sleep {
        self.sleep_until(self.now() + delay)
    }

    pub(super) fn sleep_until(self: &Arc<Self>, deadline: Tick) -> Sleep {
        Sleep { kernel: self.clone(), deadline, place: None }
    }

    /// Puts what happened into the trace: runs of one seed must have the same.
    pub(super) fn note(&self, what: &'static str, first: u64, second: u64) {
        let mut inner = self.lock();
        let now = inner.now.0;
        for byte in what.bytes() {
            inner.mix(u64::from(byte));
        }
        for number in [now, first, second] {
            inner.mix(number);
        }
        if inner.log.is_some() {
            inner.write(format_args!("{what} {first} {second}"));
        }
    }

    /// Words for whoever replays the seed; not part of the trace.
    pub(super) fn log(&self, words: impl FnOnce() -> String) {
        let mut inner = self.lock();
        if inner.log.is_some() {
            inner.write(format_args!("    {}", words()));
        }
    }

    pub(super) fn trace(&self) -> u64 {
        self.lock().trace
    }

    /// Drops all that was to happen.
    pub(super) fn clear(&self) {
        let events = std::mem::take(&mut self.lock().events);
        drop(events);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn schedule(&mut self, at: Tick, event: Event) -> Place {
        self.places += 1;
        let place = (at.max(self.now), self.places);
        self.events.insert(place, event);
        place
    }

    fn mix(&mut self, number: u64) {
        self.trace = (self.trace ^ number).wrapping_mul(FNV.1);
        self.trace ^= self.trace >> 29;
    }

    fn write(&mut self, words: fmt::Arguments<'_>) {
        let line = format!("{:>14.6} {words}", Duration::from_nanos(self.now.0).as_secs_f64());
        if let Some(log) = &mut self.log {
            log(&line);
        }
    }
}

/// A wait in virtual time.
pub(super) struct Sleep {
    kernel: Arc<Kernel>,
    deadline: Tick,
    place: Option<Place>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(place) = self.place.take() {
            self.kernel.cancel(place);
        }
        if self.kernel.now() >= self.deadline {
            return Poll::Ready(());
        }
        self.place = Some(self.kernel.at(self.deadline, Event::Wake(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.kernel.cancel(place);
        }
    }
}
