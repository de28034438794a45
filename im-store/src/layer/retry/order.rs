//! What keeps a batch's order when parts of it are tried again.

use std::collections::{HashMap, HashSet};

use im_core::id::{MsgId, Uid};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{Placed, Post, StoreError, StoreErrorKind};

use super::is_retryable;

type Answer = Result<Placed, StoreError>;

/// Which posts to try again: those that failed for now, unless one would come after a later one of the batch in a timeline of both; and none after a
/// post with its home that stays failed.
pub(super) fn in_order(posts: &[Post], answers: &[Answer]) -> Vec<usize> {
    let mut taken: HashSet<&TimelineId> = HashSet::new();
    let mut overtaken = HashSet::new();
    for (at, (post, answer)) in posts.iter().zip(answers).enumerate().rev() {
        if answer.is_ok() {
            taken.extend(timelines(post));
        } else if timelines(post).any(|timeline| taken.contains(timeline)) {
            overtaken.insert(at);
        }
    }
    let (mut again, mut stuck) = (Vec::new(), HashSet::new());
    let failed = posts.iter().zip(answers).enumerate().filter(|(_, (_, answer))| is_retryable(answer));
    for (at, (post, _)) in failed {
        match overtaken.contains(&at) || stuck.contains(&post.home) {
            true => drop(stuck.insert(&post.home)),
            false => again.push(at),
        }
    }
    again
}

fn timelines(post: &Post) -> impl Iterator<Item = &TimelineId> {
    [Some(&post.home), post.copy.as_ref()].into_iter().flatten()
}

/// The posts of a call of which a try may have stored what it did not acknowledge.
pub(super) struct Known {
    /// The msgid under which this call stores each key: that of its first post. Gone when that was told.
    firsts: HashMap<(Uid, SendKey), MsgId>,
    /// Of these an answer is missing, and nothing was told yet.
    unanswered: HashSet<(Uid, SendKey)>,
}

impl Known {
    pub(super) fn of(posts: &[Post]) -> Self {
        let mut firsts = HashMap::new();
        for post in posts {
            firsts.entry(key(post)).or_insert(post.message.msgid);
        }
        Self { firsts, unanswered: HashSet::new() }
    }

    /// Notes an answer, and makes that of a post which an earlier try of this call has stored the first one.
    pub(super) fn told(&mut self, post: &Post, answer: &mut Answer) {
        let key = key(post);
        match answer {
            Err(error) if error.kind() == StoreErrorKind::Unavailable => drop(self.unanswered.insert(key)),
            Err(_) => {}
            Ok(placed) => {
                let first = self.firsts.remove(&key);
                if self.unanswered.remove(&key) && first == Some(placed.msgid) {
                    placed.repeated = false;
                }
            }
        }
    }
}

fn key(post: &Post) -> (Uid, SendKey) {
    (post.message.from.clone(), post.message.key.clone())
}
