use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::{Placed, Post};

/// Other numbers than those that a sound store gives: from some version on, all of a timeline are moved.
#[derive(Debug, Default)]
pub(super) struct Renumber(Mutex<BTreeMap<TimelineId, Shifts>>);

/// From which version on, by how much; in order of the versions.
type Shifts = Vec<(i64, i64)>;

impl Renumber {
    /// Moves all versions of a timeline that come after `newest`.
    pub(super) fn shift(&self, timeline: &TimelineId, newest: Version, by: i64) {
        let mut timelines = self.lock();
        let shifts = timelines.entry(timeline.clone()).or_default();
        shifts.push((newest.next().0, by));
        shifts.sort_unstable();
    }

    /// What the outside sees of a version of the store's.
    pub(super) fn outer(&self, timeline: &TimelineId, version: Version) -> Version {
        let timelines = self.lock();
        let shifts = timelines.get(timeline).map_or(&[][..], Vec::as_slice);
        let by: i64 = shifts.iter().take_while(|(from, _)| *from <= version.0).map(|(_, by)| by).sum();
        Version(version.0.saturating_add(by))
    }

    /// The store's greatest version that the outside sees as `version` or less.
    pub(super) fn inner(&self, timeline: &TimelineId, version: Version) -> Version {
        let timelines = self.lock();
        let shifts = timelines.get(timeline).map_or(&[][..], Vec::as_slice);
        let mut most = i64::MAX;
        for count in (1..=shifts.len()).rev() {
            let by: i64 = shifts[..count].iter().map(|(_, by)| by).sum();
            let candidate = version.0.saturating_sub(by).min(most);
            let from = shifts[count - 1].0;
            if candidate >= from {
                return Version(candidate);
            }
            most = from - 1;
        }
        Version(version.0.min(most))
    }

    /// The answer to a post with the numbers that the outside sees.
    pub(super) fn placed(&self, post: &Post, placed: Placed) -> Placed {
        let copy = post.copy.as_ref().zip(placed.copy);
        Placed {
            home: self.outer(&post.home, placed.home),
            copy: copy.map(|(copy, version)| self.outer(copy, version)),
            ..placed
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TimelineId, Shifts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::id::GroupId;

    const TIMELINE: TimelineId = TimelineId::Group(GroupId(1));

    fn renumber(newest: i64, by: i64) -> Renumber {
        let renumber = Renumber::default();
        renumber.shift(&TIMELINE, Version(newest), by);
        renumber
    }

    #[test]
    fn a_burnt_number_is_a_hole() {
        let renumber = renumber(2, 1);
        let outer: Vec<i64> = (1..=4).map(|version| renumber.outer(&TIMELINE, Version(version)).0).collect();
        assert_eq!(outer, [1, 2, 4, 5]);
        let inner: Vec<i64> = (0..=5).map(|version| renumber.inner(&TIMELINE, Version(version)).0).collect();
        assert_eq!(inner, [0, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn a_number_given_again_names_two_entries() {
        let renumber = renumber(2, -1);
        let outer: Vec<i64> = (1..=4).map(|version| renumber.outer(&TIMELINE, Version(version)).0).collect();
        assert_eq!(outer, [1, 2, 2, 3]);
        let inner: Vec<i64> = (0..=3).map(|version| renumber.inner(&TIMELINE, Version(version)).0).collect();
        assert_eq!(inner, [0, 1, 3, 4]);
    }
}
