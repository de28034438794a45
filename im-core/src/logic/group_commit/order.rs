use std::collections::BTreeMap;

use crate::id::ConnId;
use crate::message::{SendKey, Target};

/// How many failed conversations are told apart on one link. Beyond them all other conversations of the link fail alike too,
/// which costs a client a resend and keeps the memory of a link bounded.
const CONVERSATIONS_PER_LINK: usize = 256;

/// Which conversations of which links wait for a failed send to come again.
#[derive(Debug, Default)]
pub(super) struct Order {
    links: BTreeMap<ConnId, Link>,
}

#[derive(Debug, Default)]
struct Link {
    /// For each conversation the key of the first send that failed.
    waiting: BTreeMap<Target, SendKey>,
    /// More conversations failed than are told apart.
    overflowed: bool,
}

impl Order {
    /// Whether a send may be tried. The one that a conversation waits for may, and ends the wait.
    pub(super) fn admits(&mut self, link: ConnId, to: &Target, key: &SendKey) -> bool {
        let Some(state) = self.links.get_mut(&link) else { return true };
        match state.waiting.get(to) {
            Some(awaited) if awaited == key => {
                state.waiting.remove(to);
                if state.waiting.is_empty() {
                    self.links.remove(&link);
                }
                true
            }
            Some(_) => false,
            None => !state.overflowed,
        }
    }

    /// A send failed and may come again: its conversation waits for it, unless it waits for an earlier one.
    pub(super) fn failed(&mut self, link: ConnId, to: &Target, key: &SendKey) {
        let state = self.links.entry(link).or_default();
        if state.waiting.contains_key(to) {
        } else if state.waiting.len() < CONVERSATIONS_PER_LINK {
            state.waiting.insert(to.clone(), key.clone());
        } else {
            state.overflowed = true;
        }
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: ConnId) {
        self.links.remove(&link);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::id::{ClientMsgId, Uid};

    const LINK: ConnId = ConnId(1);

    fn to(name: &str) -> Target {
        Target::User(Uid::new(name).unwrap())
    }

    fn key(name: &str) -> SendKey {
        SendKey::Client(ClientMsgId::new(name).unwrap())
    }

    #[test]
    fn after_a_failure_a_conversation_waits_for_the_failed_send() {
        let mut order = Order::default();
        order.failed(LINK, &to("bob"), &key("a"));
        assert!(!order.admits(LINK, &to("bob"), &key("b")));
        assert!(order.admits(LINK, &to("carol"), &key("c")), "another conversation goes on");
        assert!(order.admits(ConnId(2), &to("bob"), &key("b")), "another link goes on");
        assert!(order.admits(LINK, &to("bob"), &key("a")));
        assert!(order.admits(LINK, &to("bob"), &key("b")));
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_waited_for() {
        let mut order = Order::default();
        order.failed(LINK, &to("bob"), &key("a"));
        order.failed(LINK, &to("bob"), &key("b"));
        assert!(!order.admits(LINK, &to("bob"), &key("b")));
        assert!(order.admits(LINK, &to("bob"), &key("a")));
    }

    #[test]
    fn too_many_failed_conversations_hold_the_whole_link_until_they_came_again() {
        let mut order = Order::default();
        for n in 0..=CONVERSATIONS_PER_LINK {
            order.failed(LINK, &to(&format!("u{n}")), &key("a"));
        }
        assert_eq!(order.links[&LINK].waiting.len(), CONVERSATIONS_PER_LINK);
        let last = to(&format!("u{CONVERSATIONS_PER_LINK}"));
        assert!(!order.admits(LINK, &last, &key("b")));
        for n in 0..CONVERSATIONS_PER_LINK {
            assert!(order.admits(LINK, &to(&format!("u{n}")), &key("a")));
        }
        assert!(order.admits(LINK, &last, &key("b")));
    }

    #[test]
    fn a_link_that_is_gone_is_forgotten() {
        let mut order = Order::default();
        order.failed(LINK, &to("bob"), &key("a"));
        order.forget(LINK);
        assert!(order.links.is_empty());
    }
}
