//! Who may write to whom: looked up for a whole batch, before it is stored.

use std::collections::BTreeSet;

use super::{Answers, unavailable};
use crate::message::{Message, Target};
use crate::storage::{Block, Blocklist, Found, Placed, Post, Store, StoreError, StoreErrorKind};

/// The answer to a post that is not to be stored.
type Refusal = Result<Placed, StoreError>;

/// Stores what may be stored. What may not is [`Forbidden`](StoreErrorKind::Forbidden), but for what was stored before the receiver blocked the sender:
/// that is answered as the first time.
pub(super) async fn append(store: &dyn Store, blocklist: &dyn Blocklist, posts: Vec<Post>) -> Answers {
    let refusals = refusals(store, blocklist, &posts).await;
    let tried = posts.into_iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    let tried: Vec<Post> = tried.map(|(post, _)| post).collect();
    let stored = if tried.is_empty() { Answers::new() } else { store.append(tried).await };
    let mut stored = stored.into_iter();
    let answer = |refusal: Option<Refusal>| {
        refusal.unwrap_or_else(|| stored.next().unwrap_or_else(|| Err(unavailable())))
    };
    refusals.into_iter().map(answer).collect()
}

/// For each post why it is not to be stored, if it is not.
async fn refusals(store: &dyn Store, blocklist: &dyn Blocklist, posts: &[Post]) -> Vec<Option<Refusal>> {
    let asked: BTreeSet<Block> = posts.iter().filter_map(|post| block(&post.message)).collect();
    let blocked = match blocked_among(blocklist, asked).await {
        Ok(blocked) => blocked,
        // What had to be asked about is not to be stored, and to be tried again.
        Err(failure) => {
            return posts.iter().map(|post| block(&post.message).map(|_| Err(failure.clone()))).collect();
        }
    };
    let is_blocked = |post: &&Post| block(&post.message).is_some_and(|block| blocked.contains(&block));
    let mut refusals = refuse(store, posts.iter().filter(is_blocked).collect()).await.into_iter();
    let mut next = || refusals.next().unwrap_or_else(|| Err(unavailable()));
    posts.iter().map(|post| is_blocked(&post).then(&mut next)).collect()
}

async fn blocked_among(
    blocklist: &dyn Blocklist,
    asked: BTreeSet<Block>,
) -> Result<BTreeSet<Block>, StoreError> {
    if asked.is_empty() {
        return Ok(asked);
    }
    let answers = blocklist.blocked(asked.iter().cloned().collect()).await?;
    Ok(asked.into_iter().zip(answers).filter(|(_, blocked)| *blocked).map(|(block, _)| block).collect())
}

/// The answers to posts whose receivers have blocked their senders.
async fn refuse(store: &dyn Store, posts: Vec<&Post>) -> Vec<Refusal> {
    if posts.is_empty() {
        return Vec::new();
    }
    let keys = posts.iter().map(|post| (post.message.from.clone(), post.message.key.clone()));
    match store.find(keys.collect()).await {
        Ok(found) => posts.iter().zip(found).map(|(post, found)| refused(&post.message, found)).collect(),
        Err(failure) => vec![Err(failure); posts.len()],
    }
}

/// Whose block would keep this message out.
fn block(message: &Message) -> Option<Block> {
    match &message.to {
        Target::User(to) if *to != message.from => {
            Some(Block { owner: to.clone(), other: message.from.clone() })
        }
        _ => None,
    }
}

/// The answer to a message to somebody who has blocked its sender.
fn refused(message: &Message, found: Option<Found>) -> Refusal {
    match found {
        Some(found) if found.digest == message.digest() => Ok(found.placed),
        Some(_) => Err(StoreError::new(StoreErrorKind::KeyReused, "append")),
        None => Err(StoreError::new(StoreErrorKind::Forbidden, "append")),
    }
}
