use super::Counts;
use crate::storage::{Export, ExportPage, Position, Row, StoreError};

/// How much is handled at a time.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Rows. Default 8,192: enough for a target to make a good batch of.
    pub rows: usize,
    /// Bytes of messages. Default 8 MiB.
    pub bytes: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { rows: 8_192, bytes: 8 << 20 }
    }
}

/// The pages of an export.
pub(super) struct Pages<'s, E: ?Sized> {
    of: &'s E,
    limits: PageLimits,
    next: Next,
}

enum Next {
    First,
    After(Position),
    Nothing,
}

impl<'s, E: Export + ?Sized> Pages<'s, E> {
    pub(super) fn new(of: &'s E, limits: PageLimits) -> Self {
        Self { of, limits, next: Next::First }
    }

    /// The next page's rows; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let after = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => None,
            Next::After(position) => Some(position),
            Next::Nothing => return Ok(None),
        };
        let page = ExportPage { after, limit: self.limits.rows, max_bytes: self.limits.bytes };
        let page = self.of.export(page).await?;
        if let Some(position) = page.next {
            self.next = Next::After(position);
        }
        Ok(Some(page.rows))
    }
}

/// What a store holds, by reading it all out. `progress` hears of it after every page.
///
/// # Errors
/// The store's.
pub async fn count<E: Export + ?Sized>(
    of: &E,
    limits: PageLimits,
    progress: &mut (dyn FnMut(&Counts) + Send),
) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let mut pages = Pages::new(of, limits);
    while let Some(rows) = pages.next().await? {
        rows.iter().for_each(|row| counts.add(row));
        progress(&counts);
    }
    Ok(counts)
}
