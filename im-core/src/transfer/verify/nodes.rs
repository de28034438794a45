use std::collections::BTreeMap;

use super::Verifier;
use crate::id::NodeId;
use crate::storage::HeldNode;
use crate::transfer::Difference;

impl Verifier<'_> {
    /// Compares what the stores know of node numbers. No question of a server's shows that without taking one.
    pub(super) fn compare_nodes(&mut self, second: Vec<HeldNode>) {
        let mut second = by_number(second);
        for (number, first) in by_number(std::mem::take(&mut self.nodes)) {
            let second = second.remove(&number);
            if second.as_ref() != Some(&first) {
                self.found.differ(Difference::Node(Some(first), second));
            }
        }
        for strange in second.into_values() {
            self.found.differ(Difference::Node(None, Some(strange)));
        }
    }
}

fn by_number(held: Vec<HeldNode>) -> BTreeMap<NodeId, HeldNode> {
    held.into_iter().map(|held| (held.node, held)).collect()
}
