//! In which round each half of a post is stored. Halves of one round and database go in one call, in the batch's order.

use std::collections::{HashMap, HashSet};

use im_core::id::{MsgId, Uid};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{Part, Post};

use super::BucketMap;

/// Which databases a post concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// All of it is kept in one.
    Whole { database: usize },
    /// The key, and perhaps home, is kept in the one; `into` in the other.
    Split { database: usize, other: usize, into: TimelineId, has_home: bool },
    /// Home is neither with the sender nor alone: no intent says that.
    Nowhere,
}

impl Route {
    pub(super) fn of(post: &Post, map: &BucketMap) -> Self {
        let database = map.database_of_user(&post.message.from);
        let home = map.database_of(&post.home);
        let copy = post.copy.as_ref().filter(|copy| **copy != post.home);
        match copy.map(|copy| (copy, map.database_of(copy))) {
            None if home == database => Self::Whole { database },
            Some((_, other)) if home == database && other == database => Self::Whole { database },
            None => Self::Split { database, other: home, into: post.home.clone(), has_home: false },
            Some((copy, other)) if home == database => {
                Self::Split { database, other, into: copy.clone(), has_home: true }
            }
            Some(_) => Self::Nowhere,
        }
    }

    /// The database of the key, which gets its part first.
    pub(super) fn database(&self) -> Option<usize> {
        match self {
            Self::Whole { database } | Self::Split { database, .. } => Some(*database),
            Self::Nowhere => None,
        }
    }
}

/// What the key's database gets of a post.
pub(super) fn first_part(post: Post, route: &Route, taken: bool) -> Part {
    match route {
        Route::Split { has_home: true, .. } => Part::Home { post, taken },
        Route::Split { has_home: false, .. } => Part::Key { post, taken },
        Route::Whole { .. } | Route::Nowhere => Part::Whole(post),
    }
}

/// A half of a post to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) post: usize,
    pub(super) second: bool,
}

/// The steps of each round. A second half comes after its first, and what touches one timeline keeps the batch's order.
pub(super) fn rounds(posts: &[(Post, Route)]) -> Vec<Vec<Step>> {
    let mut last: HashMap<TimelineId, usize> = HashMap::new();
    let mut rounds: Vec<Vec<Step>> = Vec::new();
    let mut add = |round: usize, step: Step| {
        if rounds.len() <= round {
            rounds.resize_with(round + 1, Vec::new);
        }
        rounds[round].push(step);
    };
    for (number, (post, route)) in posts.iter().enumerate() {
        let touched = match route {
            Route::Nowhere => continue,
            Route::Whole { .. } => vec![Some(post.home.clone()), post.copy.clone()],
            Route::Split { .. } => vec![Some(TimelineId::User(post.message.from.clone()))],
        };
        let touched: Vec<TimelineId> = touched.into_iter().flatten().collect();
        let round = touched.iter().filter_map(|timeline| last.get(timeline)).max().copied().unwrap_or(0);
        add(round, Step { post: number, second: false });
        last.extend(touched.into_iter().map(|timeline| (timeline, round)));
        if let Route::Split { into, .. } = route {
            let round = last.get(into).copied().unwrap_or(0).max(round + 1);
            add(round, Step { post: number, second: true });
            last.insert(into.clone(), round);
        }
    }
    rounds
}

/// How many of these posts can be looked at together: none of them has the key or the msgid of one before it.
pub(super) fn independent(posts: &[Post]) -> usize {
    let mut keys: HashSet<(&Uid, &SendKey)> = HashSet::new();
    let mut msgids: HashSet<MsgId> = HashSet::new();
    for (number, post) in posts.iter().enumerate() {
        let new_key = keys.insert((&post.message.from, &post.message.key));
        if !(msgids.insert(post.message.msgid) && new_key) {
            return number;
        }
    }
    posts.len()
}
