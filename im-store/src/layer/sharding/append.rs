use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::future::join_all;
use im_core::id::{Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{Intent, IntentId, Part, Pending, Placed, Post, StoreError, StoreErrorKind};

use super::rounds::{Route, Step, first_part, independent, rounds};
use super::scatter::scatter;
use super::serve::has_moved;
use super::{BucketMap, ShardedStore};

/// Intents of one batch's senders that are looked at at most. Who has more of them waits for the sweeper.
const MAX_INTENTS: usize = 4_096;

type Answer = Result<Placed, StoreError>;

impl ShardedStore {
    /// Stores a batch; what concerns a bucket that moves, again where that has moved to.
    pub(super) async fn place(&self, posts: Vec<Post>) -> Vec<Answer> {
        let Some(patience) = self.patience() else { return self.place_once(posts).await };
        let mut answers = self.place_once(posts.clone()).await;
        let mut patience = Some(patience);
        loop {
            let again = moved(&posts, &answers);
            if again.is_empty() || !self.follow(&mut patience).await {
                return answers;
            }
            let batch: Vec<Post> = again.iter().map(|number| posts[*number].clone()).collect();
            self.deliver_halves_of(&batch).await;
            for (number, answer) in again.into_iter().zip(self.place_once(batch).await) {
                answers[number] = answer.map(|placed| first_if_own(placed, &posts[number]));
            }
        }
    }

    async fn place_once(&self, mut posts: Vec<Post>) -> Vec<Answer> {
        let map = self.map();
        if let Some(database) = only_database(&posts, &map) {
            return self.databases[database].append(posts).await;
        }
        let homes: Vec<TimelineId> = posts.iter().map(|post| post.home.clone()).collect();
        let mut answers = Vec::with_capacity(posts.len());
        let mut failed = BTreeSet::new();
        while !posts.is_empty() {
            let later = posts.split_off(independent(&posts).max(1));
            let run = Run::new(self, posts, &map, &failed);
            let placed = run.place().await;
            for (home, answer) in homes[answers.len()..].iter().zip(placed) {
                answers.push(keep_order(home, answer, &mut failed));
            }
            posts = later;
        }
        answers
    }
}

/// Posts to try again: of each home what failed, if that began with a bucket that has moved, or behind one that goes to the same timeline. What comes after
/// another failure keeps behind it.
fn moved(posts: &[Post], answers: &[Answer]) -> Vec<usize> {
    if !answers.iter().any(|answer| answer.as_ref().is_err_and(has_moved)) {
        return Vec::new();
    }
    let mut first: HashMap<&TimelineId, bool> = HashMap::new();
    let mut again = Vec::new();
    for (number, (post, answer)) in posts.iter().zip(answers).enumerate() {
        if let Err(error) = answer
            && error.is_retryable()
            && *first.entry(&post.home).or_insert(error.kind() != StoreErrorKind::Unavailable)
        {
            again.push(number);
        }
    }
    again
}

/// A post that an earlier try of the same call has stored is no repeat. (One that comes again from a client has another msgid.)
fn first_if_own(placed: Placed, post: &Post) -> Placed {
    Placed { repeated: placed.repeated && placed.msgid != post.message.msgid, ..placed }
}

/// The database that keeps all of these posts, if there is one.
fn only_database(posts: &[Post], map: &BucketMap) -> Option<usize> {
    let mut databases = posts.iter().map(|post| match Route::of(post, map) {
        Route::Whole { database } => Some(database),
        _ => None,
    });
    let first = databases.next().unwrap_or(Some(0))?;
    databases.all(|database| database == Some(first)).then_some(first)
}

/// After a retryable failure of a post, later ones with the same home fail alike.
fn keep_order(home: &TimelineId, answer: Answer, failed: &mut BTreeSet<TimelineId>) -> Answer {
    if failed.contains(home) {
        return Err(out_of_order());
    }
    if answer.as_ref().is_err_and(StoreError::is_retryable) {
        failed.insert(home.clone());
    }
    answer
}

/// Posts of which none has the key or the msgid of another, on their way.
struct Run<'a> {
    store: &'a ShardedStore,
    posts: Vec<(Post, Route)>,
    /// For each post, what is known so far.
    answers: Vec<Option<Answer>>,
    /// Homes with a failure, and the first post of each that failed.
    failed: HashMap<TimelineId, usize>,
    /// What senders have still to deliver, by the database that says so.
    pending: BTreeMap<(usize, Uid), Vec<Intent>>,
    /// What was delivered: its version, and the post that it is the second half of, if that is among these.
    delivered: BTreeMap<(usize, IntentId), (Version, Option<usize>)>,
}

/// The calls of a round, by database.
#[derive(Default)]
struct Calls {
    parts: BTreeMap<usize, (Vec<Slot>, Vec<Part>)>,
    /// Intents that are delivered by them.
    going: BTreeSet<(usize, IntentId)>,
}

/// A part of a call: for which post, and which intent it delivers.
struct Slot {
    post: usize,
    intent: Option<(usize, IntentId)>,
    /// Whether its answer is the post's.
    own: bool,
}

impl<'a> Run<'a> {
    fn new(
        store: &'a ShardedStore,
        posts: Vec<Post>,
        map: &BucketMap,
        failed: &BTreeSet<TimelineId>,
    ) -> Self {
        let answers = posts.iter().map(|post| failed.contains(&post.home).then(|| Err(out_of_order())));
        let answers = answers.collect();
        let posts = posts.into_iter().map(|post| (Route::of(&post, map), post));
        let posts = posts.map(|(route, post)| (post, route)).collect();
        let (pending, delivered) = (BTreeMap::new(), BTreeMap::new());
        Self { store, posts, answers, failed: HashMap::new(), pending, delivered }
    }

    async fn place(mut self) -> Vec<Answer> {
        let taken = self.look_ahead().await;
        for steps in rounds(&self.posts) {
            self.round(&steps, &taken).await;
        }
        self.settle().await;
        self.complete().await;
        self.answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(unroutable()))).collect()
    }

    /// For each post, whether its msgid stands in the timeline of its second half already.
    async fn look_ahead(&mut self) -> Vec<bool> {
        let split = self.posts.iter().enumerate().filter_map(|(number, (post, route))| match route {
            Route::Split { other, into, .. } => Some((number, *other, (into.clone(), post.message.msgid))),
            _ => None,
        });
        let split: Vec<_> = split.filter(|(number, ..)| self.answers[*number].is_none()).collect();
        let numbers: Vec<usize> = split.iter().map(|(number, ..)| *number).collect();
        let questions = split.into_iter().map(|(_, other, question)| (other, question));
        let databases = &self.store.databases;
        let found = scatter("append", questions, |other, asked| databases[other].locate(asked)).await;
        let mut taken = vec![false; self.posts.len()];
        for (number, found) in numbers.into_iter().zip(found) {
            match found {
                Ok(version) => taken[number] = version.is_some(),
                Err(error) => self.fail(number, error),
            }
        }
        taken
    }

    /// Makes the calls of one round, at the same time, and lists what their first halves have still to deliver.
    async fn round(&mut self, steps: &[Step], taken: &[bool]) {
        let mut calls = Calls::default();
        for step in steps {
            self.take(*step, taken[step.post], &mut calls);
        }
        let calls = calls.parts.into_iter().map(|(database, (slots, parts))| {
            let answers = self.store.databases[database].append_parts(parts);
            async move { (slots, answers.await) }
        });
        let calls: Vec<_> = calls.collect();
        let mut senders = BTreeSet::new();
        for (slots, answers) in join_all(calls).await {
            // A database that answers less than it was asked is broken.
            let missing = std::iter::repeat_with(|| Err(unroutable()));
            for (slot, answer) in slots.into_iter().zip(answers.into_iter().chain(missing)) {
                senders.extend(self.note(&slot, answer));
            }
        }
        self.list(senders).await;
    }

    /// Adds a step to its database's call, unless it has become pointless.
    fn take(&self, step: Step, taken: bool, calls: &mut Calls) {
        let (post, route) = &self.posts[step.post];
        if self.failed.get(&post.home).is_some_and(|first| *first < step.post) {
            return;
        }
        match (route, &self.answers[step.post]) {
            (_, None) if !step.second => {
                let Some(database) = route.database() else { return };
                let (slots, parts) = calls.parts.entry(database).or_default();
                slots.push(Slot { post: step.post, intent: None, own: true });
                parts.push(first_part(post.clone(), route, taken));
            }
            (Route::Split { database, other, into, .. }, Some(Ok(placed)))
                if step.second && !is_complete(placed, route) =>
            {
                let (slots, parts) = calls.parts.entry(*other).or_default();
                for intent in self.until(*database, post, into) {
                    if !calls.going.insert((*database, intent.id)) {
                        continue;
                    }
                    let own = intent.message.key == post.message.key;
                    slots.push(Slot { post: step.post, intent: Some((*database, intent.id)), own });
                    parts.push(Part::Copy { message: intent.message.clone(), into: into.clone() });
                }
            }
            _ => {}
        }
    }

    /// What the sender of a post has to deliver into a timeline, up to and with the post itself. Nothing if that is not among it: somebody else
    /// delivered it, or it stands too far behind.
    fn until(&self, database: usize, post: &Post, into: &TimelineId) -> Vec<&Intent> {
        let pending = self.pending.get(&(database, post.message.from.clone()));
        let mut found = false;
        let mut intents: Vec<&Intent> = Vec::new();
        for intent in pending.into_iter().flatten().filter(|intent| intent.into == *into) {
            found = intent.message.key == post.message.key;
            if !self.delivered.contains_key(&(database, intent.id)) {
                intents.push(intent);
            }
            if found {
                break;
            }
        }
        if found { intents } else { Vec::new() }
    }

    /// Takes an answer. Gives the database and sender whose intents are to be listed, if the post is only half stored.
    fn note(&mut self, slot: &Slot, answer: Answer) -> Option<(usize, Uid)> {
        let (post, route) = &self.posts[slot.post];
        match (slot.intent, answer) {
            (None, Ok(placed)) => {
                let split = matches!(route, Route::Split { .. }) && !is_complete(&placed, route);
                let asked = route.database().filter(|_| split).map(|db| (db, post.message.from.clone()));
                self.answers[slot.post] = Some(Ok(placed));
                asked
            }
            (Some(intent), Ok(copied)) => {
                self.delivered.insert(intent, (copied.home, slot.own.then_some(slot.post)));
                if slot.own {
                    self.learn(slot.post, copied.home);
                }
                None
            }
            (Some((database, intent)), Err(error)) if !slot.own => {
                if !error.is_retryable() {
                    tracing::error!(%error, database, intent = intent.0, "a message cannot be delivered");
                }
                None
            }
            (_, Err(error)) => {
                self.fail(slot.post, error);
                None
            }
        }
    }

    /// Puts the version of the second half into a post's answer.
    fn learn(&mut self, post: usize, version: Version) {
        if let Some(Ok(placed)) = &mut self.answers[post] {
            match &self.posts[post].1 {
                Route::Split { has_home: true, .. } => placed.copy = Some(version),
                _ => placed.home = version,
            }
        }
    }

    fn fail(&mut self, post: usize, error: StoreError) {
        if error.is_retryable() {
            let first = self.failed.entry(self.posts[post].0.home.clone()).or_insert(post);
            *first = post.min(*first);
        }
        self.answers[post] = Some(Err(error));
    }

    /// Lists what these senders have still to deliver.
    async fn list(&mut self, senders: BTreeSet<(usize, Uid)>) {
        let mut asked: BTreeMap<usize, Vec<Uid>> = BTreeMap::new();
        for (database, sender) in senders {
            asked.entry(database).or_default().push(sender);
        }
        let lists = asked.into_iter().map(|(database, senders)| {
            let list = self.store.databases[database].intents(Pending::Of(senders.clone()), MAX_INTENTS);
            async move { (database, senders, list.await) }
        });
        for (database, senders, list) in join_all(lists).await {
            // What cannot be listed is not delivered now: `complete` says so.
            let mut list = list.unwrap_or_default();
            for sender in senders {
                let of = list.extract_if(.., |intent| intent.message.from == sender).collect();
                self.pending.insert((database, sender), of);
            }
        }
    }

    /// Settles what was delivered. A post that cannot be settled has failed: nobody would find it by its key.
    async fn settle(&mut self) {
        let mut settled: BTreeMap<usize, Vec<(IntentId, Version)>> = BTreeMap::new();
        let mut posts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for ((database, intent), (version, post)) in std::mem::take(&mut self.delivered) {
            settled.entry(database).or_default().push((intent, version));
            posts.entry(database).or_default().extend(post);
        }
        let calls = settled.into_iter().map(|(database, settled)| {
            let settle = self.store.databases[database].settle(settled);
            async move { (database, settle.await) }
        });
        for (database, outcome) in join_all(calls.collect::<Vec<_>>()).await {
            let Err(error) = outcome else { continue };
            for post in posts.remove(&database).into_iter().flatten() {
                self.fail(post, error.clone());
            }
        }
    }

    /// Asks for what somebody else delivered meanwhile. What is still not in both places is not answered `Ok`.
    async fn complete(&mut self) {
        let open = self.posts.iter().zip(&self.answers).enumerate().filter_map(|(number, (of, answer))| {
            let (post, route) = of;
            let placed = answer.as_ref()?.as_ref().ok()?;
            let key: (Uid, SendKey) = (post.message.from.clone(), post.message.key.clone());
            (!is_complete(placed, route)).then(|| Some((number, route.database()?, key)))?
        });
        let open: Vec<_> = open.collect();
        let numbers: Vec<usize> = open.iter().map(|(number, ..)| *number).collect();
        let keys = open.into_iter().map(|(_, database, key)| (database, key));
        let databases = &self.store.databases;
        let found = scatter("append", keys, |database, keys| databases[database].find(keys)).await;
        for (number, found) in numbers.into_iter().zip(found) {
            match (found, &mut self.answers[number]) {
                (Ok(Some(found)), Some(Ok(placed))) => {
                    *placed = Placed { repeated: placed.repeated, ..found.placed };
                }
                (Err(error), answer) if has_moved(&error) => *answer = Some(Err(error)),
                (_, answer) => {
                    *answer = Some(Err(StoreError::new(StoreErrorKind::Unavailable, "append")));
                }
            }
        }
    }
}

/// Whether both halves of a post have their versions.
fn is_complete(placed: &Placed, route: &Route) -> bool {
    match route {
        Route::Split { has_home: true, .. } => placed.copy.is_some(),
        Route::Split { has_home: false, .. } => placed.home > Version::ZERO,
        Route::Whole { .. } | Route::Nowhere => true,
    }
}

fn out_of_order() -> StoreError {
    StoreError::new(StoreErrorKind::OutOfOrder, "append")
}

/// No intent says what this post needs, or a database answered less than it was asked.
fn unroutable() -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "append")
}
