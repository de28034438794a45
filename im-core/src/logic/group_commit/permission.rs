//! Who may write to whom: looked up for a whole batch, before it is stored.

use std::collections::BTreeMap;

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
    let mut asked: BTreeMap<Block, bool> =
        posts.iter().filter_map(|post| Some((block(&post.message)?, false))).collect();
    if asked.is_empty() {
        return vec![None; posts.len()];
    }
    match blocklist.blocked(asked.keys().cloned().collect()).await {
        Ok(answers) => asked.values_mut().zip(answers).for_each(|(blocked, answer)| *blocked = answer),
        // Not to be stored, and to be tried again.
        Err(failure) => {
            return posts.iter().map(|post| block(&post.message).map(|_| Err(failure.clone()))).collect();
        }
    }
    let is_blocked = |post: &&Post| block(&post.message).is_some_and(|block| asked[&block]);
    let blocked: Vec<&Post> = posts.iter().filter(is_blocked).collect();
    if blocked.is_empty() {
        return vec![None; posts.len()];
    }
    let keys = blocked.iter().map(|post| (post.message.from.clone(), post.message.key.clone()));
    let mut known = match store.find(keys.collect()).await {
        Ok(found) => found.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(failure) => vec![Err(failure); blocked.len()],
    }
    .into_iter();
    let mut refusal = |post: &Post| match known.next().unwrap_or_else(|| Err(unavailable())) {
        Ok(found) => refused(&post.message, found),
        Err(failure) => Err(failure),
    };
    posts.iter().map(|post| is_blocked(&post).then(|| refusal(post))).collect()
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
