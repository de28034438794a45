use std::collections::{BTreeMap, VecDeque};

use super::LocalEntry;
use crate::id::Version;

/// What was received, brought into order.
///
/// Four versions tell where it is: `applied` ≤ `received` ≤ the last of `waiting` ≤ `target`. Everything up to `applied` is durable on the
/// device; up to `received` it was given out, without a gap; what waits came ahead of a gap; `target` is the newest version heard of.
#[derive(Debug)]
pub(super) struct Inbox {
    applied: Version,
    received: Version,
    target: Version,
    waiting: BTreeMap<Version, LocalEntry>,
    waiting_bytes: usize,
    /// Versions given out and not applied.
    unapplied: VecDeque<Version>,
    ready: Vec<LocalEntry>,
    /// `received` when entries were last given out.
    given: Version,
    /// A push named no version: only a fetch tells what there is.
    hinted: bool,
    limits: InboxLimits,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InboxLimits {
    pub(super) waiting: usize,
    pub(super) waiting_bytes: usize,
    pub(super) unapplied: usize,
}

/// What an offered entry turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// Taken, or put off until it is fetched.
    New,
    /// Given out before and not applied yet.
    Known,
    /// Durable on this device for some time: the server does not know.
    Applied,
}

impl Inbox {
    pub(super) fn new(cursor: Version, limits: InboxLimits) -> Self {
        Self {
            applied: cursor,
            received: cursor,
            target: cursor,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            unapplied: VecDeque::new(),
            ready: Vec::new(),
            given: cursor,
            hinted: false,
            limits,
        }
    }

    pub(super) fn applied(&self) -> Version {
        self.applied
    }

    pub(super) fn received(&self) -> Version {
        self.received
    }

    /// Whether everything heard of was given out.
    pub(super) fn is_caught_up(&self) -> bool {
        !self.is_behind() && !self.hinted
    }

    /// Whether something is known to be missing.
    pub(super) fn is_behind(&self) -> bool {
        self.received < self.target
    }

    /// Whether everything received is durable, so that `received` may be used as an offset that acknowledges.
    pub(super) fn is_applied(&self) -> bool {
        self.applied == self.received
    }

    /// The timeline reaches to `head`.
    pub(super) fn heard_of(&mut self, head: Version) {
        self.target = self.target.max(head);
    }

    /// Something may be new.
    pub(super) fn hint(&mut self) {
        self.hinted = true;
    }

    /// One entry, by a push or as an own send's ack.
    pub(super) fn offer(&mut self, entry: LocalEntry) -> Offered {
        let version = entry.version;
        if version <= self.applied {
            return Offered::Applied;
        }
        if version <= self.received {
            return Offered::Known;
        }
        self.heard_of(version);
        if self.unapplied.len() < self.limits.unapplied || version > self.received.next() {
            self.wait(entry);
            self.advance();
        }
        Offered::New
    }

    /// Whether to fetch: something is missing and there is room for it. The fetch begins after [`received`](Self::received).
    pub(super) fn wants_fetch(&self) -> bool {
        !self.is_caught_up() && self.unapplied.len() < self.limits.unapplied
    }

    /// A fetch leaves now; it will show what was hinted at.
    pub(super) fn fetching(&mut self) {
        self.hinted = false;
    }

    /// A page of a fetch: `entries`, in version order, are all that exists up to `covered`. Says whether it brought anything.
    pub(super) fn page(&mut self, entries: Vec<LocalEntry>, covered: Version, head: Version) -> bool {
        self.heard_of(head);
        if covered <= self.received {
            return false;
        }
        for entry in entries {
            if entry.version > self.received {
                self.keep(entry);
            }
        }
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= covered) {
            let entry = first.remove();
            self.give(entry);
        }
        self.received = covered;
        self.heard_of(covered);
        self.advance();
        true
    }

    /// What became contiguous since the last call, and up to where everything was given out with it.
    pub(super) fn take_ready(&mut self) -> Option<(Vec<LocalEntry>, Version)> {
        if self.received == self.given {
            return None;
        }
        self.given = self.received;
        Some((std::mem::take(&mut self.ready), self.received))
    }

    /// Everything given out up to `version` is durable.
    pub(super) fn applied_up_to(&mut self, version: Version) {
        self.applied = self.applied.max(version.min(self.given));
        while self.unapplied.front().is_some_and(|oldest| *oldest <= self.applied) {
            self.unapplied.pop_front();
        }
    }

    /// Keeps an entry that is ahead, within bounds: of too many, the farthest goes, since it is needed last.
    fn wait(&mut self, entry: LocalEntry) {
        self.keep(entry);
        while self.waiting.len() > self.limits.waiting.max(1)
            || (self.waiting_bytes > self.limits.waiting_bytes && self.waiting.len() > 1)
        {
            let Some((_, dropped)) = self.waiting.pop_last() else { return };
            self.waiting_bytes -= dropped.size();
        }
    }

    fn keep(&mut self, entry: LocalEntry) {
        let size = entry.size();
        if let std::collections::btree_map::Entry::Vacant(place) = self.waiting.entry(entry.version) {
            place.insert(entry);
            self.waiting_bytes += size;
        }
    }

    fn advance(&mut self) {
        while let Some(entry) = self.waiting.remove(&self.received.next()) {
            self.received = entry.version;
            self.give(entry);
        }
    }

    fn give(&mut self, entry: LocalEntry) {
        self.waiting_bytes -= entry.size();
        self.unapplied.push_back(entry.version);
        self.ready.push(entry);
    }
}
