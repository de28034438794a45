use super::{Verifier, VerifyError};
use crate::id::Uid;
use crate::message::TimelineId;
use crate::storage::CursorAck;
use crate::transfer::Difference;

impl Verifier<'_> {
    /// Compares where the devices of users are.
    pub(super) async fn cursors(&mut self, acks: Vec<CursorAck>) -> Result<(), VerifyError> {
        self.lists(lists_of(acks), |_| true).await
    }

    /// Devices of the second store where the first has none. Where it has some, the lists were compared.
    pub(super) async fn strange_cursors(&mut self, acks: Vec<CursorAck>) -> Result<(), VerifyError> {
        self.lists(lists_of(acks), |first_has_none| first_has_none).await
    }

    async fn lists(
        &mut self,
        lists: Vec<(Uid, TimelineId)>,
        counts: impl Fn(bool) -> bool,
    ) -> Result<(), VerifyError> {
        if lists.is_empty() {
            return Ok(());
        }
        let (first, second) = self.both.ask(|store| store.cursors(lists.clone())).await?;
        for ((uid, timeline), (first, second)) in lists.into_iter().zip(first.into_iter().zip(second)) {
            if first != second && counts(first.is_empty()) {
                self.found.differ(Difference::Cursors(uid, timeline, first, second));
            }
        }
        Ok(())
    }
}

/// Whose cursors where, once each. A list that ends one page and begins the next is asked for twice.
fn lists_of(acks: Vec<CursorAck>) -> Vec<(Uid, TimelineId)> {
    let mut lists: Vec<_> = acks.into_iter().map(|ack| (ack.uid, ack.timeline)).collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}
