use async_trait::async_trait;

use super::{MemoryStore, State};
use crate::storage::{
    CursorAck, Export, ExportPage, Exported, Position, Row, StoreError, StoreErrorKind, StoredPost,
};

#[async_trait]
impl Export for MemoryStore {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let first = page.after.map_or(Some(0), number_of);
        let first = first.ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, "export"))?;
        Ok(self.with_state(|state| state.export(first, page.limit.max(1), page.max_bytes)))
    }
}

/// A position is the number of its row.
fn number_of(position: Position) -> Option<usize> {
    usize::try_from(u64::from_be_bytes(position.0.try_into().ok()?)).ok()
}

fn position_of(number: usize) -> Option<Position> {
    Some(Position(u64::try_from(number).ok()?.to_be_bytes().to_vec()))
}

impl State {
    fn export(&self, first: usize, limit: usize, max_bytes: usize) -> Exported {
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        let mut left = self.rows_from(first).peekable();
        while let Some(row) = left.next_if(|row| {
            bytes = bytes.saturating_add(row.size());
            rows.len() < limit && (bytes <= max_bytes || rows.is_empty())
        }) {
            rows.push(row);
        }
        let next = left.peek().and_then(|_| position_of(first + rows.len()));
        Exported { rows, next }
    }

    /// Every row from number `first` on. Rows before it are counted, not made.
    fn rows_from(&self, first: usize) -> impl Iterator<Item = Row> {
        let mut skipped = 0;
        let mut skip = |section: usize| {
            let skip = first.saturating_sub(skipped).min(section);
            skipped += section;
            skip
        };
        let timelines = self.timelines.iter().skip(skip(self.timelines.len()));
        let posts = self.posts.iter().skip(skip(self.posts.len()));
        let cursors = self.cursors.values().map(|devices| devices.len()).sum();
        let cursors = self.all_cursors().skip(skip(cursors));
        let nodes = self.nodes.held().skip(skip(self.nodes.held().len()));

        let timelines = timelines.map(|(id, timeline)| Row::Timeline(id.clone(), timeline.bounds()));
        let posts = posts.map(|post| Row::Post(Box::new(StoredPost::clone(post))));
        timelines.chain(posts).chain(cursors.map(Row::Cursor)).chain(nodes.map(Row::Node))
    }

    pub(super) fn all_cursors(&self) -> impl Iterator<Item = CursorAck> {
        self.cursors.iter().flat_map(|((uid, timeline), devices)| {
            devices.iter().map(|(device, version)| CursorAck {
                uid: uid.clone(),
                device: device.clone(),
                timeline: timeline.clone(),
                version: *version,
            })
        })
    }
}
