//! What the exports of all databases have in common: where a page begins, and when it is full.

use im_core::storage::{ExportPage, Exported, Position, Row, RowKind};

/// The row after which a page begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct After {
    pub(crate) kind: RowKind,
    /// The owner, the message, the cursor's user, or the node.
    pub(crate) number: i64,
    /// The cursor's timeline and device.
    pub(crate) timeline: i64,
    pub(crate) device: Vec<u8>,
}

impl After {
    /// The first row of the kind that comes after this one's; `None` after the last kind.
    pub(crate) fn next_kind(&self) -> Option<Self> {
        let kind = match self.kind {
            RowKind::Timeline => RowKind::Post,
            RowKind::Post => RowKind::Cursor,
            RowKind::Cursor => RowKind::Node,
            _ => return None,
        };
        // Numbers of owners and messages begin at 1, those of nodes at 0.
        Some(Self { kind, number: -1, ..Self::default() })
    }

    fn to_position(&self) -> Position {
        let kind = match self.kind {
            RowKind::Timeline => 0,
            RowKind::Post => 1,
            RowKind::Cursor => 2,
            _ => 3,
        };
        Position(
            [&[kind][..], &self.number.to_be_bytes(), &self.timeline.to_be_bytes(), &self.device].concat(),
        )
    }

    /// Where a page begins that is asked for; `None` for a position that [`Draft::full`] did not make.
    pub(crate) fn of(page: &ExportPage) -> Option<Self> {
        let Some(position) = &page.after else { return Some(Self::default()) };
        let (kind, rest) = position.0.split_first()?;
        let kind =
            *[RowKind::Timeline, RowKind::Post, RowKind::Cursor, RowKind::Node].get(usize::from(*kind))?;
        let (number, rest) = rest.split_first_chunk()?;
        let (timeline, device) = rest.split_first_chunk()?;
        let (number, timeline) = (i64::from_be_bytes(*number), i64::from_be_bytes(*timeline));
        Some(Self { kind, number, timeline, device: device.to_vec() })
    }
}

/// A page in the making.
pub(crate) struct Draft {
    exported: Exported,
    limit: usize,
    bytes_left: usize,
    /// The last row so far.
    last: After,
}

impl Draft {
    pub(crate) fn new(page: &ExportPage) -> Self {
        let (limit, bytes_left) = (page.limit.max(1), page.max_bytes);
        Self { exported: Exported::default(), limit, bytes_left, last: After::default() }
    }

    /// How many rows to fetch: one more than there is room for, to see whether anything is left.
    pub(crate) fn wanted(&self) -> usize {
        self.limit.saturating_sub(self.exported.rows.len()).saturating_add(1)
    }

    /// Whether there was room for the row, which stands there.
    pub(crate) fn take(&mut self, row: Row, there: After) -> bool {
        let rows = &mut self.exported.rows;
        let bytes = self.bytes_left.checked_sub(row.size());
        if !rows.is_empty() && (rows.len() >= self.limit || bytes.is_none()) {
            return false;
        }
        self.bytes_left = bytes.unwrap_or(0);
        rows.push(row);
        self.last = there;
        true
    }

    /// The page, if there is more after it.
    pub(crate) fn full(self) -> Exported {
        Exported { next: Some(self.last.to_position()), ..self.exported }
    }

    /// The last page.
    pub(crate) fn last(self) -> Exported {
        self.exported
    }
}
