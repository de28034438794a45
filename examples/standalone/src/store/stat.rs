use im_core::transfer::{self, Counts, PageLimits};

use super::copy::words;
use super::failure::Failure;
use super::location::Location;
use super::progress::Progress;
use crate::output;

/// Says what a store holds.
pub(super) async fn run(location: &Location) -> Result<(), Failure> {
    let store = location.open().await?;
    let mut progress = Progress::new("read");
    let mut show = |counts: &Counts| progress.show(counts);
    let counts = transfer::count(store.store(), PageLimits::default(), &mut show).await;
    progress.end();
    output::line(&words(&counts.map_err(Failure::Read)?))?;
    store.close().await;
    Ok(())
}
