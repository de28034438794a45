use super::pages::Pages;
use super::{Counts, PageLimits};
use crate::storage::{Export, Import, Row, StoreError};

/// Which end of a copy failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The store that is copied could not be read.
    #[error("the store that is copied cannot be read")]
    Reading(#[source] StoreError),
    /// The rows could not be stored. The target is unfinished.
    #[error("the copy cannot be written")]
    Writing(#[source] StoreError),
}

/// Copies everything, and finishes the import. One page is read while the one before is written. `progress` hears what is written.
///
/// # Errors
/// [`CopyError`]; nothing of it is to be used then, and the import has to begin again.
///
/// # Cancel safety
/// Dropping the future leaves the target unfinished, or finished.
pub async fn copy(
    from: &(impl Export + ?Sized),
    mut to: Box<dyn Import>,
    limits: PageLimits,
    progress: &mut (dyn FnMut(&Counts) + Send),
) -> Result<Counts, CopyError> {
    let mut counts = Counts::default();
    let mut pages = Pages::new(from, limits);
    let mut page = pages.next().await.map_err(CopyError::Reading)?;
    while let Some(rows) = page {
        let written = write(&mut *to, rows, &mut counts);
        let (next, written) = futures::join!(pages.next(), written);
        written.map_err(CopyError::Writing)?;
        progress(&counts);
        page = next.map_err(CopyError::Reading)?;
    }
    to.finish().await.map_err(CopyError::Writing)?;
    Ok(counts)
}

async fn write(to: &mut dyn Import, rows: Vec<Row>, counts: &mut Counts) -> Result<(), StoreError> {
    rows.iter().for_each(|row| counts.add(row));
    to.import(rows).await
}
