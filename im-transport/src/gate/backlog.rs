use std::collections::{BTreeSet, HashMap};

use im_core::time::Tick;

/// What waits to be written to the links of a shard, all together. Links to which nothing has to wait cost nothing here.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: usize,
    /// Since when something waits without a pause, and how much now.
    links: HashMap<usize, (Tick, usize), foldhash::fast::RandomState>,
    by_age: BTreeSet<(Tick, usize)>,
}

impl Backlog {
    /// So many bytes wait for a link now.
    pub(super) fn set(&mut self, now: Tick, link: usize, bytes: usize) {
        let before = self.links.remove(&link);
        if bytes == 0 && before.is_none() {
            return;
        }
        let since = before.map_or(now, |(since, _)| since);
        self.bytes -= before.map_or(0, |(_, bytes)| bytes);
        if bytes == 0 {
            self.by_age.remove(&(since, link));
            return;
        }
        self.bytes += bytes;
        self.links.insert(link, (since, bytes));
        self.by_age.insert((since, link));
    }

    /// All that waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The link that has not taken everything for the longest time.
    pub(super) fn oldest(&self) -> Option<usize> {
        self.by_age.first().map(|(_, link)| *link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_millis(seconds * 1_000)
    }

    #[test]
    fn who_takes_a_little_now_and_then_stays_the_oldest() {
        let mut backlog = Backlog::default();
        backlog.set(at(1), 7, 100);
        backlog.set(at(2), 3, 50);
        backlog.set(at(3), 7, 99);
        assert_eq!((backlog.bytes(), backlog.oldest()), (149, Some(7)));
    }

    #[test]
    fn who_took_everything_begins_anew() {
        let mut backlog = Backlog::default();
        backlog.set(at(1), 7, 100);
        backlog.set(at(2), 3, 50);
        backlog.set(at(3), 7, 0);
        backlog.set(at(4), 7, 10);
        assert_eq!((backlog.bytes(), backlog.oldest()), (60, Some(3)));
        backlog.set(at(5), 3, 0);
        backlog.set(at(5), 7, 0);
        assert_eq!((backlog.bytes(), backlog.oldest()), (0, None));
        assert!(backlog.by_age.is_empty());
    }
}
