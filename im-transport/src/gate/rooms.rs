//! Who is in which room, on this gate.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use im_core::id::RoomId;

/// Which shards have members of which room.
#[derive(Debug, Default)]
pub(super) struct RoomIndex(Mutex<HashMap<RoomId, BTreeSet<usize>>>);

impl RoomIndex {
    /// The shards that have members of a room.
    pub(super) fn shards(&self, room: &RoomId) -> Vec<usize> {
        self.lock().get(room).into_iter().flatten().copied().collect()
    }

    fn add(&self, room: &RoomId, shard: usize) {
        self.lock().entry(room.clone()).or_default().insert(shard);
    }

    fn remove(&self, room: &RoomId, shard: usize) {
        let mut rooms = self.lock();
        let Some(shards) = rooms.get_mut(room) else { return };
        shards.remove(&shard);
        if shards.is_empty() {
            rooms.remove(room);
        }
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, BTreeSet<usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links of one shard, by room.
#[derive(Debug)]
pub(super) struct RoomLists {
    shard: usize,
    index: Arc<RoomIndex>,
    lists: HashMap<RoomId, BTreeSet<usize>>,
    by_link: HashMap<usize, Vec<RoomId>>,
}

impl RoomLists {
    pub(super) fn new(shard: usize, index: Arc<RoomIndex>) -> Self {
        Self { shard, index, lists: HashMap::new(), by_link: HashMap::new() }
    }

    /// A link is a member from now on.
    pub(super) fn enter(&mut self, link: usize, room: RoomId) {
        let list = self.lists.entry(room.clone()).or_insert_with(|| {
            self.index.add(&room, self.shard);
            BTreeSet::new()
        });
        if list.insert(link) {
            self.by_link.entry(link).or_default().push(room);
        }
    }

    /// A link is no member any more.
    pub(super) fn exit(&mut self, link: usize, room: &RoomId) {
        let Some(rooms) = self.by_link.get_mut(&link) else { return };
        rooms.retain(|entered| entered != room);
        if rooms.is_empty() {
            self.by_link.remove(&link);
        }
        self.strike(link, room);
    }

    /// A link is gone.
    pub(super) fn end(&mut self, link: usize) {
        for room in self.by_link.remove(&link).unwrap_or_default() {
            self.strike(link, &room);
        }
    }

    fn strike(&mut self, link: usize, room: &RoomId) {
        let Some(list) = self.lists.get_mut(room) else { return };
        list.remove(&link);
        if list.is_empty() {
            self.lists.remove(room);
            self.index.remove(room, self.shard);
        }
    }

    /// Copies a room's links to `links`, the last in the slab first.
    pub(super) fn members(&self, room: &RoomId, links: &mut Vec<usize>) {
        links.extend(self.lists.get(room).into_iter().flatten().rev());
    }

    /// Whether a link is in a room.
    pub(super) fn contains(&self, link: usize, room: &RoomId) -> bool {
        self.by_link.get(&link).is_some_and(|rooms| rooms.contains(room))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn members(lists: &RoomLists, name: &str) -> Vec<usize> {
        let mut links = Vec::new();
        lists.members(&room(name), &mut links);
        links
    }

    #[test]
    fn a_link_is_in_the_rooms_that_it_entered_until_it_leaves_or_ends() {
        let mut lists = RoomLists::new(0, Arc::default());
        for (link, name) in [(3, "a"), (1, "a"), (1, "b"), (1, "a"), (2, "b")] {
            lists.enter(link, room(name));
        }
        assert_eq!((members(&lists, "a"), members(&lists, "b")), (vec![3, 1], vec![2, 1]));
        lists.exit(1, &room("a"));
        assert_eq!((members(&lists, "a"), members(&lists, "b")), (vec![3], vec![2, 1]));
        assert!(lists.contains(1, &room("b")) && !lists.contains(1, &room("a")));
        lists.end(1);
        assert_eq!((members(&lists, "a"), members(&lists, "b")), (vec![3], vec![2]));
    }

    #[test]
    fn the_index_names_the_shards_that_have_members_and_forgets_empty_rooms() {
        let index = Arc::new(RoomIndex::default());
        let mut shards = [0, 1].map(|shard| RoomLists::new(shard, index.clone()));
        shards[0].enter(7, room("a"));
        shards[1].enter(7, room("a"));
        assert_eq!(index.shards(&room("a")), [0, 1]);
        shards[0].exit(7, &room("a"));
        assert_eq!(index.shards(&room("a")), [1]);
        shards[1].end(7);
        assert!(index.lock().is_empty() && shards.iter().all(|shard| shard.lists.is_empty()));
    }
}
