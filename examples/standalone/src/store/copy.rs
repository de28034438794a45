use im_core::transfer::{self, Counts, PageLimits};

use super::failure::Failure;
use super::interrupts::Interrupts;
use super::location::Location;
use super::progress::{Progress, float};
use super::verify;
use crate::output;

/// Copies a store, and compares the two if asked to.
pub(super) async fn run(
    from: &Location,
    to: &Location,
    verifies: bool,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    if from.is(to) {
        return Err(Failure::Same(from.clone(), to.clone()));
    }
    let source = interrupts.within(from.open()).await??;
    let import = match to {
        // It may be waited for, and nothing is begun in it by then.
        Location::Sql(_) => interrupts.within(to.import()).await??,
        _ => to.import().await?,
    };
    let mut progress = Progress::new("copied");
    let mut show = |counts: &Counts| progress.show(counts);
    let copy = transfer::copy(source.store(), import, PageLimits::default(), &mut show);
    let copied = interrupts.stop(copy).await.ok_or_else(|| Failure::CopyInterrupted(to.clone()))?;
    let counts = copied.map_err(|failure| Failure::Copy(to.clone(), failure))?;
    let seconds = progress.end();
    let per_s = float(counts.messages) / seconds;
    output::line(&format!("copied {} seconds={seconds:.1} messages_per_s={per_s:.0}", words(&counts)))?;
    if verifies {
        let copy = interrupts.within(to.open()).await??;
        verify::compare(source.store(), copy.store(), interrupts).await?;
        interrupts.within(copy.close()).await?;
    }
    interrupts.within(source.close()).await
}

/// Counts as a contract line has them.
pub(super) fn words(counts: &Counts) -> String {
    let Counts { users, groups, messages, entries, content_bytes, cursors, nodes, .. } = counts;
    format!(
        "users={users} groups={groups} messages={messages} entries={entries} content_bytes={content_bytes} \
         cursors={cursors} nodes={nodes}"
    )
}
