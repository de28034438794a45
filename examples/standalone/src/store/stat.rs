use im_core::transfer::{self, Counts, PageLimits};

use super::copy::words;
use super::failure::Failure;
use super::interrupts::Interrupts;
use super::location::Location;
use super::progress::Progress;
use crate::output;

/// Says what a store holds.
pub(super) async fn run(location: &Location) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let store = interrupts.stop(location.open()).await.ok_or(Failure::Interrupted)??;
    let mut progress = Progress::new("read");
    let mut show = |counts: &Counts| progress.show(counts);
    let counts = transfer::count(store.store(), PageLimits::default(), &mut show);
    let counts = interrupts.stop(counts).await.ok_or(Failure::Interrupted)?;
    progress.end();
    output::line(&words(&counts.map_err(Failure::Read)?))?;
    store.close().await;
    Ok(())
}
