//! Whether a replica is asked now.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use im_core::storage::Store;
use im_core::time::Tick;

use super::ReplicaLimits;
use super::counts::Tally;

/// A replica, and how it has done.
pub(super) struct Replica {
    pub(super) store: Arc<dyn Store>,
    pub(super) counts: Tally,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Not asked before.
    alone_until: Tick,
    /// How often in a row it was left alone.
    strikes: u32,
    /// When it showed the primary's epoch.
    shown: Option<Tick>,
    /// Somebody is asking for its epoch.
    checking: bool,
}

/// Leave to ask a replica. One that has to show its epoch first is asked by nobody else meanwhile.
pub(super) struct Leave<'a> {
    pub(super) replica: &'a Replica,
    pub(super) must_check: bool,
}

impl Drop for Leave<'_> {
    /// Also when the read is dropped in the middle of the check.
    fn drop(&mut self) {
        if self.must_check {
            self.replica.lock().checking = false;
        }
    }
}

impl Replica {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, counts: Tally::default(), state: Mutex::default() }
    }

    /// Whether it may be asked, and whether it has to show its epoch before.
    pub(super) fn leave(&self, now: Tick, limits: &ReplicaLimits) -> Option<Leave<'_>> {
        let mut state = self.lock();
        if now < state.alone_until || state.checking {
            return None;
        }
        let must_check = state.shown.is_none_or(|shown| now.since(shown) >= limits.recheck);
        state.checking = must_check;
        Some(Leave { replica: self, must_check })
    }

    /// It has the primary's epoch.
    pub(super) fn shown(&self, now: Tick) {
        self.lock().shown = Some(now);
    }

    /// It answered, and had what was asked for.
    pub(super) fn did_well(&self) {
        self.lock().strikes = 0;
    }

    /// It did not have what a reader knows of.
    pub(super) fn was_behind(&self, now: Tick, limits: &ReplicaLimits) {
        self.lock().leave_alone(now, limits.behind, limits.longest);
    }

    /// It failed, or is another store than the primary: it has to show its epoch before it is asked again.
    pub(super) fn failed(&self, now: Tick, limits: &ReplicaLimits) {
        let mut state = self.lock();
        state.shown = None;
        state.leave_alone(now, limits.failed, limits.longest);
    }

    /// Nothing here panics, and if it did, the state would be that of the last whole step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads that were under way together are one strike: what the first of them brought on, the others do not make longer.
    fn leave_alone(&mut self, now: Tick, first: Duration, longest: Duration) {
        if now < self.alone_until {
            return;
        }
        let doubled = first.saturating_mul(1 << self.strikes.min(16));
        self.alone_until = now + jittered(doubled.min(longest));
        self.strikes = self.strikes.saturating_add(1);
    }
}

/// Between half and all of a time, so that servers do not come back together.
fn jittered(time: Duration) -> Duration {
    let [byte, ..] = RandomState::new().hash_one(0).to_be_bytes();
    time / 2 + time * u32::from(byte) / 512
}

#[cfg(test)]
mod tests {
    use im_core::memory::MemoryStore;

    use super::*;

    fn replica() -> (Replica, ReplicaLimits) {
        (Replica::new(Arc::new(MemoryStore::default())), ReplicaLimits::default())
    }

    #[test]
    fn a_replica_shows_its_epoch_first_and_from_time_to_time() {
        let (replica, limits) = replica();
        let must_check = |now| replica.leave(now, &limits).map(|leave| leave.must_check);
        let start = Tick::from_millis(1);
        assert_eq!(must_check(start), Some(true));
        replica.shown(start);
        assert_eq!(must_check(start + limits.recheck / 2), Some(false));
        assert_eq!(must_check(start + limits.recheck), Some(true));
        replica.failed(start, &limits);
        assert_eq!(must_check(start + limits.longest), Some(true));
    }

    #[test]
    fn nobody_else_asks_while_it_shows_its_epoch() {
        let (replica, limits) = replica();
        let start = Tick::from_millis(1);
        let first = replica.leave(start, &limits);
        assert!(first.is_some() && replica.leave(start, &limits).is_none());
        drop(first);
        assert!(replica.leave(start, &limits).is_some());
    }

    #[test]
    fn it_is_left_alone_for_longer_each_time_up_to_a_bound() {
        let (replica, limits) = replica();
        let mut now = Tick::from_millis(1);
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            replica.failed(now, &limits);
            let until = replica.lock().alone_until;
            let rest = until.since(now);
            assert!(rest >= last.min(limits.longest / 2) && rest <= limits.longest, "{rest:?}");
            assert!(replica.leave(now, &limits).is_none() && replica.leave(until, &limits).is_some());
            (now, last) = (until, rest);
        }
        replica.did_well();
        replica.was_behind(now, &limits);
        assert!(replica.lock().alone_until.since(now) <= limits.behind);
    }

    #[test]
    fn failures_at_one_time_count_once() {
        let (replica, limits) = replica();
        let now = Tick::from_millis(1);
        for _ in 0..10 {
            replica.failed(now, &limits);
        }
        assert!(replica.lock().alone_until.since(now) <= limits.failed);
    }
}
