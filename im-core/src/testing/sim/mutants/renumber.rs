use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::Placed;

/// Other numbers than those that a sound store gives: from some version on, all of a timeline are moved.
#[derive(Debug, Default)]
pub(super) struct Renumber(Mutex<BTreeMap<TimelineId, Shifts>>);

#[derive(Debug, Default)]
struct Shifts {
    /// The newest version that was given.
    newest: Version,
    /// From which version on, by how much.
    shifts: Vec<(Version, i64)>,
}

impl Renumber {
    /// Notes that `version` was given.
    pub(super) fn given(&self, timeline: &TimelineId, version: Version) {
        let mut timelines = self.lock();
        let newest = &mut timelines.entry(timeline.clone()).or_default().newest;
        *newest = (*newest).max(version);
    }

    /// Moves all versions that are still to be given.
    pub(super) fn shift(&self, timeline: &TimelineId, by: i64) {
        let mut timelines = self.lock();
        if let Some(state) = timelines.get_mut(timeline) {
            let from = state.newest.next();
            state.shifts.push((from, by));
        }
    }

    /// Moves the next versions of all timelines that have any.
    pub(super) fn shift_all(&self, by: i64) {
        for state in self.lock().values_mut() {
            let from = state.newest.next();
            state.shifts.push((from, by));
        }
    }

    pub(super) fn outer(&self, timeline: &TimelineId, version: Version) -> Version {
        let timelines = self.lock();
        let shifts = timelines.get(timeline).map_or(&[][..], |state| &state.shifts);
        let by: i64 = shifts.iter().filter(|(from, _)| *from <= version).map(|(_, by)| by).sum();
        Version(version.0.saturating_add(by))
    }

    pub(super) fn inner(&self, timeline: &TimelineId, version: Version) -> Version {
        let timelines = self.lock();
        let shifts = timelines.get(timeline).map_or(&[][..], |state| &state.shifts);
        let mut inner = version;
        for (from, by) in shifts.iter().rev() {
            let before: i64 = shifts.iter().filter(|(other, _)| other <= from).map(|(_, by)| by).sum();
            if version.0.saturating_sub(before) >= from.0 {
                return Version(version.0.saturating_sub(before));
            }
            let _ = by;
            inner = Version(inner.0.min(from.0.saturating_sub(1)).max(0));
        }
        Version(inner.0.min(version.0.max(0)).max(version.0.min(0)))
    }

    pub(super) fn placed(&self, home: &TimelineId, copy: Option<&TimelineId>, placed: Placed) -> Placed {
        Placed {
            home: self.outer(home, placed.home),
            copy: copy.zip(placed.copy).map(|(copy, version)| self.outer(copy, version)),
            ..placed
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TimelineId, Shifts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
