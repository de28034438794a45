//! `im-chat recv`: the timeline, a line a message.

use std::time::Duration;

use im_core::client::LocalEntry;
use im_core::id::{StoreEpoch, Version};
use im_transport::client::Event;

use crate::args::RecvOptions;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::session::{self, Session};

/// Prints until the count is reached, the time is up, or the user has enough.
pub(crate) async fn run(mut session: Session, options: RecvOptions) -> Result<Exit, Failure> {
    let outcome = tokio::select! {
        printed = print_entries(&mut session, &options) => printed.map(|()| Exit::Done),
        () = time_is_up(options.timeout) => Ok(Exit::TimedOut),
        () = session::interrupted() => Ok(Exit::Failed),
    };
    session.client.stop().await;
    match outcome? {
        Exit::TimedOut if !session.was_logged_in() => Err(session.unreachable()),
        _ if options.count.is_none() => Ok(Exit::Done),
        exit => Ok(exit),
    }
}

async fn time_is_up(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// Returns when the count is reached.
async fn print_entries(session: &mut Session, options: &RecvOptions) -> Result<(), Failure> {
    let mut left = options.count.map(std::num::NonZeroUsize::get);
    loop {
        let Event::Entries { epoch, entries, cursor } = session.next().await? else { continue };
        if print_some(session, &entries, (epoch, cursor), &mut left)? {
            return Ok(());
        }
    }
}

/// Prints entries, at most as many as are `left`. Each is confirmed once its line is flushed: only then may it be acknowledged. Says whether the
/// count is reached.
fn print_some(
    session: &Session,
    entries: &[LocalEntry],
    (epoch, cursor): (StoreEpoch, Version),
    left: &mut Option<usize>,
) -> Result<bool, Failure> {
    for entry in entries {
        output::print(&output::entry(entry)).map_err(Failure::Output)?;
        session.client.applied(epoch, entry.version);
        if let Some(left) = left {
            *left -= 1;
            if *left == 0 {
                return Ok(true);
            }
        }
    }
    session.client.applied(epoch, cursor);
    Ok(false)
}
