//! The heads that this store gave to owners last: who knows them need not ask for them before it appends, if the database compares them while it moves them on.
//!
//! Only heads are used of owners to whom nobody else wrote between two appends: two servers that write to one user in turn would always find another one. Whoever appends takes
//! the heads of its batch out, and puts them back when it has committed. Another one meanwhile finds none, asks, and waits for the owners' locks.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use im_core::id::Version;
use im_core::message::TimelineId;

use super::plan::KnownOwner;

/// So many owners are remembered at least, and twice as many at most: 10 MiB or so.
const REMEMBERED: usize = 32_768;

/// Owners as they were when their last append was committed.
#[derive(Debug, Default)]
pub(super) struct Heads {
    ages: Mutex<Ages>,
}

#[derive(Debug, Default)]
struct Ages {
    young: HashMap<TimelineId, Remembered>,
    /// Forgotten when there are enough young ones.
    old: HashMap<TimelineId, Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    owner: KnownOwner,
    /// Whether it was found as it was left the last time.
    stayed: bool,
}

/// An owner to whom somebody appended.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) timeline: TimelineId,
    /// The head that it had before.
    pub(super) found: Version,
    pub(super) owner: KnownOwner,
}

impl Heads {
    /// Takes out those of all of these, or none.
    pub(super) fn take(&self, timelines: &[TimelineId]) -> Option<HashMap<TimelineId, KnownOwner>> {
        let mut ages = self.ages();
        if !timelines.iter().all(|timeline| ages.get(timeline).is_some_and(|known| known.stayed)) {
            return None;
        }
        let take = |timeline: &TimelineId| Some((timeline.clone(), ages.remove(timeline)?.owner));
        Some(timelines.iter().filter_map(take).collect())
    }

    /// What an append took out, and left.
    pub(super) fn put_back(&self, owners: impl Iterator<Item = Left>) {
        let mut ages = self.ages();
        for Left { timeline, owner, .. } in owners {
            ages.put(timeline, Remembered { owner, stayed: true });
        }
    }

    /// What an append has asked for, and left.
    pub(super) fn put(&self, owners: impl Iterator<Item = Left>) {
        let mut ages = self.ages();
        for Left { timeline, found, owner } in owners {
            let stayed = ages.get(&timeline).is_some_and(|known| known.owner.head == found);
            ages.put(timeline, Remembered { owner, stayed });
        }
    }

    fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ages {
    fn get(&self, timeline: &TimelineId) -> Option<&Remembered> {
        self.young.get(timeline).or_else(|| self.old.get(timeline))
    }

    fn remove(&mut self, timeline: &TimelineId) -> Option<Remembered> {
        let (young, old) = (self.young.remove(timeline), self.old.remove(timeline));
        young.or(old)
    }

    fn put(&mut self, timeline: TimelineId, known: Remembered) {
        self.young.insert(timeline, known);
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_core::id::Uid;

    use super::*;

    fn user(number: usize) -> TimelineId {
        TimelineId::User(Uid::new(&format!("user-{number}")).unwrap())
    }

    fn left(number: usize, found: i64, head: i64) -> Left {
        let owner = KnownOwner { id: 1, floor: Version(0), head: Version(head), has_timeline: true };
        Left { timeline: user(number), found: Version(found), owner }
    }

    impl Heads {
        fn note(&self, number: usize, found: i64, head: i64) {
            self.put([left(number, found, head)].into_iter());
        }

        fn head(&self, number: usize) -> Option<i64> {
            Some(self.take(&[user(number)])?[&user(number)].head.0)
        }
    }

    #[test]
    fn heads_are_taken_all_or_none_and_once() {
        let heads = Heads::default();
        heads.put_back([left(1, 4, 5), left(2, 5, 6)].into_iter());
        assert!(heads.take(&[user(1), user(3)]).is_none());
        assert_eq!(heads.take(&[user(1), user(2)]).unwrap()[&user(2)].head, Version(6));
        assert_eq!(heads.head(1), None, "somebody appends");
    }

    #[test]
    fn heads_count_of_owners_to_whom_nobody_else_writes() {
        let heads = Heads::default();
        heads.note(1, 0, 1);
        assert_eq!(heads.head(1), None, "it was found as somebody left it");
        heads.note(1, 1, 2);
        assert_eq!(heads.head(1), Some(2));
        for turn in [10, 20] {
            heads.note(1, turn, turn + 1);
            assert_eq!(heads.head(1), None, "another server writes in turn");
        }
    }

    #[test]
    fn the_last_heads_are_remembered_and_not_too_many() {
        let heads = Heads::default();
        for number in 0..5 * REMEMBERED {
            heads.put_back([left(number, 0, 1)].into_iter());
        }
        assert!((4 * REMEMBERED + 1..5 * REMEMBERED).all(|number| heads.head(number) == Some(1)));
        assert!((0..3 * REMEMBERED).all(|number| heads.head(number).is_none()));
    }

    #[test]
    fn an_older_head_does_not_come_back() {
        let heads = Heads::default();
        heads.put_back([left(1, 0, 1)].into_iter());
        for number in 2..=REMEMBERED {
            heads.put_back([left(number, 0, 1)].into_iter());
        }
        heads.put_back([left(1, 1, 2)].into_iter());
        assert_eq!(heads.head(1), Some(2));
        assert_eq!(heads.head(1), None);
    }
}
