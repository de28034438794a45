use im_core::storage::Exportable;
use im_core::transfer::{self, Counts, PageLimits};

use super::copy::words;
use super::failure::Failure;
use super::interrupts::Interrupts;
use super::location::Location;
use super::progress::{Progress, float};
use crate::output;

/// Compares two stores.
pub(super) async fn run(
    first: &Location,
    second: &Location,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    if first.is(second) {
        return Err(Failure::Same(first.clone(), second.clone()));
    }
    let open = async { Ok::<_, Failure>((first.open().await?, second.open().await?)) };
    let (one, other) = interrupts.within(open).await??;
    compare(one.store(), other.store(), interrupts).await?;
    interrupts
        .within(async {
            one.close().await;
            other.close().await;
        })
        .await
}

/// Compares two open stores, and says what it finds.
pub(super) async fn compare(
    first: &dyn Exportable,
    second: &dyn Exportable,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let mut progress = Progress::new("compared");
    let mut show = |counts: &Counts| progress.show(counts);
    let comparison = transfer::verify(first, second, PageLimits::default(), &mut show);
    let found = interrupts.within(comparison).await??;
    let seconds = progress.end();
    if !found.is_equal() {
        output::line(&found.to_string())?;
        return Err(Failure::Different);
    }
    let per_s = float(found.counts.messages) / seconds;
    let counts = words(&found.counts);
    output::line(&format!("equal {counts} seconds={seconds:.1} messages_per_s={per_s:.0}"))?;
    Ok(())
}
