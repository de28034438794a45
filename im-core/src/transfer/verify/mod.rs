mod conversations;
mod cursors;
mod entries;
mod messages;
mod nodes;

use std::fmt;

use futures::future::BoxFuture;

use super::pages::Pages;
use super::{Comparison, Counts, Difference, PageLimits};
use crate::message::TimelineId;
use crate::storage::{CursorAck, Exportable, Head, HeldNode, Row, StoreError, StoredPost};

/// One of two stores that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first one.
    First,
    /// The second one.
    Second,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Second => "second",
        })
    }
}

/// A store that could not be read while it was compared.
#[derive(Debug, thiserror::Error)]
#[error("the {side} store cannot be read")]
pub struct VerifyError {
    /// Which.
    pub side: Side,
    /// Why.
    #[source]
    pub source: StoreError,
}

/// Compares two stores by asking both what a server asks: of every timeline its bounds, all entries and the conversation list; of every
/// message its send key and where it stands; of every cursor and node number what is known. What to ask about comes from both
/// stores' exports.
///
/// Cursors beyond the [`MAX_CURSORS`](crate::storage::MAX_CURSORS) devices that a list shows are counted, not compared. `progress` hears what of the
/// first store was compared.
///
/// # Errors
/// [`VerifyError`]. A difference is no error.
pub async fn verify(
    first: &dyn Exportable,
    second: &dyn Exportable,
    limits: PageLimits,
    progress: &mut (dyn FnMut(&Counts) + Send),
) -> Result<Comparison, VerifyError> {
    let mut verifier =
        Verifier { both: Both { first, second }, limits, found: Comparison::default(), nodes: Vec::new() };
    verifier.first_in_second(progress).await?;
    verifier.second_in_first().await?;
    Ok(verifier.found)
}

struct Verifier<'s> {
    both: Both<'s>,
    limits: PageLimits,
    found: Comparison,
    /// What the first store knows of node numbers.
    nodes: Vec<HeldNode>,
}

/// The two stores.
#[derive(Clone, Copy)]
struct Both<'s> {
    first: &'s dyn Exportable,
    second: &'s dyn Exportable,
}

impl<'s> Both<'s> {
    /// Asks both at the same time.
    async fn ask<T>(
        &self,
        question: impl Fn(&'s dyn Exportable) -> BoxFuture<'s, Result<T, StoreError>>,
    ) -> Result<(T, T), VerifyError> {
        let (first, second) = (question(self.first), question(self.second));
        let (first, second) = futures::join!(first, second);
        Ok((first.map_err(of(Side::First))?, second.map_err(of(Side::Second))?))
    }
}

fn of(side: Side) -> impl Fn(StoreError) -> VerifyError {
    move |source| VerifyError { side, source }
}

/// The rows of one page, by kind.
#[derive(Default)]
struct Kinds {
    timelines: Vec<(TimelineId, Head)>,
    posts: Vec<StoredPost>,
    cursors: Vec<CursorAck>,
    nodes: Vec<HeldNode>,
}

impl Kinds {
    fn of(rows: Vec<Row>) -> Self {
        let mut kinds = Self::default();
        for row in rows {
            match row {
                Row::Timeline(timeline, head) => kinds.timelines.push((timeline, head)),
                Row::Post(post) => kinds.posts.push(*post),
                Row::Cursor(ack) => kinds.cursors.push(ack),
                Row::Node(held) => kinds.nodes.push(held),
            }
        }
        kinds
    }
}

impl Verifier<'_> {
    /// Whatever the first store has is in the second, alike.
    async fn first_in_second(
        &mut self,
        progress: &mut (dyn FnMut(&Counts) + Send),
    ) -> Result<(), VerifyError> {
        let mut pages = Pages::new(self.both.first, self.limits);
        while let Some(rows) = pages.next().await.map_err(of(Side::First))? {
            rows.iter().for_each(|row| self.found.counts.add(row));
            let Kinds { timelines, posts, cursors, nodes } = Kinds::of(rows);
            self.timelines(timelines).await?;
            self.messages(posts).await?;
            self.cursors(cursors).await?;
            self.nodes.extend(nodes);
            progress(&self.found.counts);
        }
        Ok(())
    }

    /// The second store has nothing else.
    async fn second_in_first(&mut self) -> Result<(), VerifyError> {
        let mut counts = Counts::default();
        let mut held = Vec::new();
        let mut pages = Pages::new(self.both.second, self.limits);
        while let Some(rows) = pages.next().await.map_err(of(Side::Second))? {
            rows.iter().for_each(|row| counts.add(row));
            let Kinds { timelines, cursors, nodes, .. } = Kinds::of(rows);
            self.strange_timelines(timelines).await?;
            self.strange_cursors(cursors).await?;
            held.extend(nodes);
        }
        self.compare_nodes(held);
        let messages = (self.found.counts.messages, counts.messages);
        if messages.0 != messages.1 {
            self.found.differ(Difference::Messages(messages.0, messages.1));
            self.strange_messages().await?;
        }
        Ok(())
    }
}
