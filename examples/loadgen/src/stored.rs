use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::median;
use crate::proc::Files;

/// What messages took on a server's disk: bytes a message, by kind of file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Stored {
    /// Of all files.
    pub(crate) written_per_message: f64,
    pub(crate) allocated_per_message: f64,
    /// By their names in the data directory, in which `*` stands for any number.
    pub(crate) files: BTreeMap<String, Share>,
}

/// What one kind of file has of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Share {
    /// Up to each file's last byte that is not zero: without what is only set aside for later messages.
    pub(crate) written_per_message: f64,
    /// The blocks that the file system gave.
    pub(crate) allocated_per_message: f64,
}

impl Stored {
    /// What `messages` messages added to these files. Files that went give back what they took.
    pub(crate) fn between(
        before: &BTreeMap<String, Files>,
        after: &BTreeMap<String, Files>,
        messages: u64,
    ) -> Self {
        let files = before.keys().chain(after.keys()).map(|name| {
            let (before, after) = (before.get(name).copied(), after.get(name).copied());
            (name.clone(), share(before.unwrap_or_default(), after.unwrap_or_default(), messages))
        });
        Stored::of(files.filter(|(_, share)| *share != Share::default()).collect())
    }

    fn of(files: BTreeMap<String, Share>) -> Self {
        Stored {
            written_per_message: files.values().map(|share| share.written_per_message).sum(),
            allocated_per_message: files.values().map(|share| share.allocated_per_message).sum(),
            files,
        }
    }

    /// The round in the middle, by what was allocated.
    pub(crate) fn median<'a>(rounds: impl Iterator<Item = &'a Stored> + Clone) -> Option<Stored> {
        let middle = median(rounds.clone().map(|stored| stored.allocated_per_message))?;
        let distance = |stored: &Stored| (stored.allocated_per_message - middle).abs();
        rounds.min_by(|one, other| distance(one).total_cmp(&distance(other))).cloned()
    }
}

fn share(before: Files, after: Files, messages: u64) -> Share {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / messages.max(1) as f64;
    Share {
        written_per_message: each(before.written, after.written),
        allocated_per_message: each(before.allocated, after.allocated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str, written: u64, allocated: u64) -> BTreeMap<String, Files> {
        BTreeMap::from([(name.to_owned(), Files { count: 1, written, allocated })])
    }

    #[test]
    fn what_was_there_before_is_not_the_messages() {
        let stored = Stored::between(&files("a", 50, 100), &files("a", 250, 500), 10);
        assert_eq!((stored.written_per_message, stored.allocated_per_message), (20.0, 40.0));
    }

    #[test]
    fn what_one_kind_of_file_gives_back_another_may_take() {
        let stored = Stored::between(&files("wal", 100, 100), &files("db", 300, 400), 10);
        assert_eq!(stored.files["wal"].written_per_message, -10.0);
        assert_eq!((stored.written_per_message, stored.allocated_per_message), (20.0, 30.0));
    }
}
