use std::collections::{BTreeMap, HashMap, HashSet};

use crate::id::{ConnId, NodeId, RoomId};
use crate::session::Caller;

/// Which rooms there are, on which nodes they have members, and how many. A room is there while a link is in it.
#[derive(Debug, Default)]
pub(in crate::logic) struct Directory {
    rooms: HashMap<RoomId, BTreeMap<NodeId, usize>>,
    links: HashMap<ConnId, Vec<RoomId>>,
    /// Links whose entry is being decided on.
    entering: HashSet<ConnId>,
}

impl Directory {
    /// A link asks to be let in.
    pub(in crate::logic) fn begin(&mut self, conn: ConnId) {
        self.entering.insert(conn);
    }

    /// Whether the link that asked is still there. It asks no more.
    pub(in crate::logic) fn finish(&mut self, conn: ConnId) -> bool {
        self.entering.remove(&conn)
    }

    /// Puts a link into a room.
    pub(in crate::logic) fn enter(&mut self, caller: &Caller, room: &RoomId) {
        let rooms = self.links.entry(caller.conn).or_default();
        if !rooms.contains(room) {
            rooms.push(room.clone());
            *self.rooms.entry(room.clone()).or_default().entry(caller.node).or_default() += 1;
        }
    }

    /// Takes a link out of a room.
    pub(in crate::logic) fn exit(&mut self, caller: &Caller, room: &RoomId) {
        let Some(rooms) = self.links.get_mut(&caller.conn) else { return };
        let Some(at) = rooms.iter().position(|at| at == room) else { return };
        rooms.swap_remove(at);
        if rooms.is_empty() {
            self.links.remove(&caller.conn);
        }
        self.uncount(caller.node, room);
    }

    /// Takes a link that is gone out of all its rooms.
    pub(in crate::logic) fn end(&mut self, caller: &Caller) {
        self.entering.remove(&caller.conn);
        for room in self.links.remove(&caller.conn).unwrap_or_default() {
            self.uncount(caller.node, &room);
        }
    }

    fn uncount(&mut self, node: NodeId, room: &RoomId) {
        let Some(nodes) = self.rooms.get_mut(room) else { return };
        if let Some(links) = nodes.get_mut(&node) {
            *links -= 1;
            if *links == 0 {
                nodes.remove(&node);
            }
        }
        if nodes.is_empty() {
            self.rooms.remove(room);
        }
    }

    /// Links in a room.
    pub(in crate::logic) fn members(&self, room: &RoomId) -> usize {
        self.rooms.get(room).map_or(0, |nodes| nodes.values().sum())
    }

    /// Nodes that have members of a room.
    pub(in crate::logic) fn nodes(&self, room: &RoomId) -> impl Iterator<Item = NodeId> {
        self.rooms.get(room).into_iter().flat_map(|nodes| nodes.keys().copied())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::id::{DeviceId, DeviceType, Uid};

    fn link(conn: i64, node: u16) -> Caller {
        Caller {
            uid: Uid::new("alice").unwrap(),
            device: DeviceId::default(),
            device_type: DeviceType::WEB,
            conn: ConnId(conn),
            node: NodeId(node),
        }
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    #[test]
    fn a_room_is_where_its_members_are() {
        let mut directory = Directory::default();
        for (conn, node) in [(1, 5), (2, 5), (3, 9)] {
            directory.enter(&link(conn, node), &room("a"));
            directory.enter(&link(conn, node), &room("a"));
        }
        assert_eq!(directory.members(&room("a")), 3);
        assert_eq!(directory.nodes(&room("a")).collect::<Vec<_>>(), [NodeId(5), NodeId(9)]);
        directory.exit(&link(3, 9), &room("a"));
        assert_eq!(directory.nodes(&room("a")).collect::<Vec<_>>(), [NodeId(5)]);
    }

    #[test]
    fn nothing_is_left_of_links_that_are_gone() {
        let mut directory = Directory::default();
        directory.enter(&link(1, 5), &room("a"));
        directory.enter(&link(1, 5), &room("b"));
        directory.enter(&link(2, 5), &room("b"));
        directory.begin(ConnId(1));
        directory.end(&link(1, 5));
        assert!(!directory.finish(ConnId(1)));
        assert_eq!((directory.members(&room("a")), directory.members(&room("b"))), (0, 1));
        directory.exit(&link(2, 5), &room("b"));
        assert!(directory.rooms.is_empty() && directory.links.is_empty());
    }
}
