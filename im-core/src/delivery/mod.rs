//! Who has not acknowledged yet, and when to do something about it.
//!
//! For each user with unacknowledged entries [`Deliveries`] keeps the oldest such version and one deadline. When it comes, the caller
//! asks the store's cursors what the user's devices hold, because another node may have heard of it; then the head is pushed again as a hint,
//! and after another deadline the vendor is asked to wake the devices. The message itself is always pulled.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::id::{Uid, Version};
use crate::time::Tick;

/// When to hint and how many users to keep in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryLimits {
    /// From storing to the hint, and from the hint to the wake-up. Default 5 s.
    pub deadline: Duration,
    /// Users with something unacknowledged. A user on top is not kept: it hears at its next login. Default 100,000.
    pub users: usize,
    /// How many of those one sender may be the first to concern, so that none crowds out the others' by writing to everybody. Default 10,000.
    pub users_per_sender: usize,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(5), users: 100_000, users_per_sender: 10_000 }
    }
}

/// What to do for a user who has not acknowledged in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// Push the entry at this version, the head so far as is known, to its links, and say so with [`Deliveries::hinted`]. If that fails it comes
    /// again after another deadline.
    Hint(Uid, Version),
    /// Ask the vendor to wake its devices.
    Wake(Uid, Version),
}

/// A user whose deadline has come, to be looked up in the cursors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who.
    pub uid: Uid,
    /// The greatest version that was delivered.
    pub newest: Version,
}

/// The seed of its hashes shows nowhere, since nothing goes through all users.
type Users<T> = HashMap<Uid, T, RandomState>;

/// The users with unacknowledged entries.
#[derive(Debug)]
pub struct Deliveries {
    limits: DeliveryLimits,
    users: Users<Pending>,
    /// How many of `users` each sender was the first to concern.
    shares: Users<usize>,
    deadlines: BTreeSet<(Tick, Uid)>,
}

#[derive(Debug)]
struct Pending {
    oldest: Version,
    newest: Version,
    due: Tick,
    hinted: bool,
    first_sender: Uid,
}

impl Deliveries {
    /// Nothing pending.
    pub fn new(limits: DeliveryLimits) -> Self {
        Self { limits, users: Users::default(), shares: Users::default(), deadlines: BTreeSet::new() }
    }

    /// An entry of `sender`'s was stored in `uid`'s timeline.
    pub fn stored(&mut self, now: Tick, uid: &Uid, version: Version, sender: &Uid) {
        if let Some(pending) = self.users.get_mut(uid) {
            pending.newest = pending.newest.max(version);
        } else if self.has_room_for(sender) {
            let due = now + self.limits.deadline;
            self.deadlines.insert((due, uid.clone()));
            *self.shares.entry(sender.clone()).or_default() += 1;
            let first_sender = sender.clone();
            let pending = Pending { oldest: version, newest: version, due, hinted: false, first_sender };
            self.users.insert(uid.clone(), pending);
        }
    }

    fn has_room_for(&self, sender: &Uid) -> bool {
        let share = self.shares.get(sender).copied().unwrap_or_default();
        self.users.len() < self.limits.users && share < self.limits.users_per_sender
    }

    /// A device of `uid` holds everything up to `version`.
    pub fn acked(&mut self, now: Tick, uid: &Uid, version: Version) {
        let Some(pending) = self.users.get(uid) else { return };
        if version >= pending.newest {
            self.forget(uid);
        } else if version >= pending.oldest {
            self.again(now, uid, |pending| {
                pending.oldest = version.next();
                pending.hinted = false;
            });
        }
    }

    /// When the next deadline comes.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Up to `limit` users whose deadline has come. Each is to be answered with [`resolve`](Self::resolve); if it is not, it
    /// comes again after another deadline.
    pub fn due(&mut self, now: Tick, limit: usize) -> Vec<Due> {
        let ready: Vec<Uid> = self
            .deadlines
            .iter()
            .take_while(|(due, _)| *due <= now)
            .take(limit)
            .map(|(_, uid)| uid.clone())
            .collect();
        let mut users = Vec::with_capacity(ready.len());
        for uid in ready {
            self.again(now, &uid, |_| {});
            if let Some(pending) = self.users.get(&uid) {
                users.push(Due { newest: pending.newest, uid });
            }
        }
        users
    }

    /// What to do for a user who was [`due`](Self::due), now that it is known up to where any device of it acknowledged and whether
    /// it has a link.
    pub fn resolve(&mut self, now: Tick, uid: &Uid, acked: Version, online: bool) -> Option<Nudge> {
        self.acked(now, uid, acked);
        let pending = self.users.get(uid)?;
        let newest = pending.newest;
        if acked >= pending.oldest {
            return None;
        }
        if online && !pending.hinted {
            self.again(now, uid, |_| {});
            return Some(Nudge::Hint(uid.clone(), newest));
        }
        self.forget(uid);
        Some(Nudge::Wake(uid.clone(), newest))
    }

    /// The hint is on its way to the user's links: what they do not acknowledge now, the vendor is asked to wake them for.
    pub fn hinted(&mut self, uid: &Uid) {
        if let Some(pending) = self.users.get_mut(uid) {
            pending.hinted = true;
        }
    }

    /// Everybody with something unacknowledged, due or not: the oldest deadline first.
    pub fn pending(&self) -> Vec<Due> {
        self.select(|_| true)
    }

    /// Those of them who were not hinted.
    pub fn unhinted(&self) -> Vec<Due> {
        self.select(|pending| !pending.hinted)
    }

    fn select(&self, wanted: impl Fn(&Pending) -> bool) -> Vec<Due> {
        let users = self.deadlines.iter().filter_map(|(_, uid)| Some((uid, self.users.get(uid)?)));
        let users = users.filter(|(_, pending)| wanted(pending));
        users.map(|(uid, pending)| Due { uid: uid.clone(), newest: pending.newest }).collect()
    }

    fn again(&mut self, now: Tick, uid: &Uid, change: impl FnOnce(&mut Pending)) {
        if let Some(pending) = self.users.get_mut(uid) {
            self.deadlines.remove(&(pending.due, uid.clone()));
            pending.due = now + self.limits.deadline;
            self.deadlines.insert((pending.due, uid.clone()));
            change(pending);
        }
    }

    fn forget(&mut self, uid: &Uid) {
        let Some(pending) = self.users.remove(uid) else { return };
        self.deadlines.remove(&(pending.due, uid.clone()));
        if let Some(share) = self.shares.get_mut(&pending.first_sender) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&pending.first_sender);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bob() -> Uid {
        Uid::new("bob").unwrap()
    }

    fn alice() -> Uid {
        Uid::new("alice").unwrap()
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_millis(seconds * 1_000)
    }

    fn with_unacked(versions: &[i64]) -> Deliveries {
        let mut deliveries = Deliveries::new(DeliveryLimits::default());
        for version in versions {
            deliveries.stored(at(0), &bob(), Version(*version), &alice());
        }
        deliveries
    }

    #[test]
    fn an_unacknowledged_head_is_hinted_and_then_the_vendor_is_asked() {
        let mut deliveries = with_unacked(&[7, 8]);
        assert_eq!(deliveries.due(at(4), 10), []);
        assert_eq!(deliveries.due(at(5), 10), [Due { uid: bob(), newest: Version(8) }]);
        let nudge = deliveries.resolve(at(5), &bob(), Version(6), true);
        assert_eq!(nudge, Some(Nudge::Hint(bob(), Version(8))));
        deliveries.hinted(&bob());
        assert_eq!(deliveries.due(at(10), 10).len(), 1);
        let nudge = deliveries.resolve(at(10), &bob(), Version(6), true);
        assert_eq!(nudge, Some(Nudge::Wake(bob(), Version(8))));
        assert_eq!(deliveries.next_deadline(), None);
    }

    #[test]
    fn a_hint_that_did_not_get_out_comes_again() {
        let mut deliveries = with_unacked(&[7]);
        for time in [5, 10, 15] {
            assert_eq!(deliveries.due(at(time), 10).len(), 1);
            let nudge = deliveries.resolve(at(time), &bob(), Version(6), true);
            assert_eq!(nudge, Some(Nudge::Hint(bob(), Version(7))));
            assert_eq!(deliveries.unhinted().len(), 1);
        }
        deliveries.hinted(&bob());
        assert_eq!((deliveries.unhinted(), deliveries.pending().len()), (Vec::new(), 1));
    }

    #[test]
    fn a_user_without_a_link_is_woken_at_the_first_deadline() {
        let mut deliveries = with_unacked(&[1]);
        deliveries.due(at(5), 10);
        let nudge = deliveries.resolve(at(5), &bob(), Version::ZERO, false);
        assert_eq!(nudge, Some(Nudge::Wake(bob(), Version(1))));
    }

    #[test]
    fn an_acknowledged_user_is_left_alone() {
        let mut deliveries = with_unacked(&[1, 2]);
        deliveries.acked(at(1), &bob(), Version(2));
        assert_eq!(deliveries.next_deadline(), None);
    }

    #[test]
    fn a_device_that_catches_up_gets_a_new_deadline_for_the_rest() {
        let mut deliveries = with_unacked(&[1, 2, 3]);
        deliveries.acked(at(3), &bob(), Version(2));
        assert_eq!(deliveries.next_deadline(), Some(at(8)));
        deliveries.acked(at(4), &bob(), Version(1));
        assert_eq!(deliveries.next_deadline(), Some(at(8)), "an old acknowledgement changes nothing");
    }

    #[test]
    fn what_another_node_heard_counts() {
        let mut deliveries = with_unacked(&[1]);
        deliveries.due(at(5), 10);
        assert_eq!(deliveries.resolve(at(5), &bob(), Version(1), true), None);
        assert_eq!(deliveries.next_deadline(), None);
    }

    #[test]
    fn no_more_users_are_kept_than_the_limit() {
        let mut deliveries = Deliveries::new(DeliveryLimits { users: 1, ..DeliveryLimits::default() });
        deliveries.stored(at(0), &bob(), Version(1), &alice());
        deliveries.stored(at(0), &Uid::new("carol").unwrap(), Version(1), &alice());
        assert_eq!(deliveries.users.len(), 1);
    }

    #[test]
    fn a_sender_who_writes_to_everybody_does_not_crowd_out_the_others() {
        let limits = DeliveryLimits { users_per_sender: 2, ..DeliveryLimits::default() };
        let mut deliveries = Deliveries::new(limits);
        let spammer = Uid::new("spammer").unwrap();
        for n in 0..5 {
            deliveries.stored(at(0), &Uid::new(&format!("nobody {n}")).unwrap(), Version(1), &spammer);
        }
        deliveries.stored(at(0), &bob(), Version(1), &alice());
        assert_eq!(deliveries.users.len(), 3);
        assert!(deliveries.users.contains_key(&bob()));

        deliveries.acked(at(1), &Uid::new("nobody 0").unwrap(), Version(1));
        deliveries.stored(at(1), &Uid::new("nobody 9").unwrap(), Version(1), &spammer);
        assert_eq!(
            deliveries.shares,
            Users::from_iter([(spammer, 2), (alice(), 1)]),
            "a place that is free again can be taken"
        );
    }
}
