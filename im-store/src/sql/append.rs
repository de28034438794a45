//! Appends: one transaction a batch.
//!
//! It locks the rows of all timelines that the batch writes, in the order of their names, and gives versions from there: two servers that write to one
//! user take turns. Keys and msgids are looked up only if an index says that one is there already, which only repeats do.
//!
//! Who wrote to these owners last knows [what it will find](super::heads). Then the transaction asks nothing: its first statement moves the heads on, if they are where they were
//! left and their buckets are here. If they are not, it is rolled back, and the batch asks after all.

use std::collections::{HashMap, HashSet};
use std::mem;

use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{Part, Placed, StoreError};

use super::driver::{Column, Session};
use super::halves::{Sent, Standing};
use super::heads::Left;
use super::lookup::{self, Owners};
use super::ownership::{Ownership, bucket_of, number_of};
use super::plan::{self, Known, KnownOwner, Plan};
use super::statement::{Both, Insert, Together};
use super::tries::Tries;
use super::{Fault, SqlStore, writing};
use crate::name;

type Answers = Vec<Result<Placed, StoreError>>;

impl SqlStore {
    /// Stores a batch, again if it lost against another.
    pub(super) async fn place(&self, parts: Vec<Part>) -> Result<Answers, Fault> {
        // Of what stands in another database's timeline, no index here complains.
        let taken =
            |part: &Part| matches!(part, Part::Home { taken: true, .. } | Part::Key { taken: true, .. });
        let (mut tries, mut look) = (Tries::default(), parts.iter().any(taken));
        if !look && let Some(answers) = self.place_from_memory(&parts).await? {
            return Ok(answers);
        }
        loop {
            let mut session = self.pool.session().await?;
            let placed = place(&mut session, &parts, look).await;
            match session.end(placed).await {
                Ok((answers, left)) => {
                    self.heads.put(left.into_iter());
                    return Ok(answers);
                }
                Err(Fault::NewOwners(names)) => self.create_owners(names).await?,
                Err(Fault::FencesOver(buckets)) => self.end_fences(buckets).await?,
                Err(fault) if fault.is_twice() && !look => look = true,
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Stores a batch that only moves heads which this store left as they are. `None` if it is another batch, or somebody else wrote.
    async fn place_from_memory(&self, parts: &[Part]) -> Result<Option<Answers>, Fault> {
        let owners = plan::owners_of(parts);
        let written: HashSet<&TimelineId> = parts.iter().flat_map(plan::written).collect();
        if owners.is_empty() || !owners.iter().all(|owner| written.contains(owner)) {
            return Ok(None);
        }
        let Some(owners) = self.heads.take(&owners) else { return Ok(None) };
        let (sends, standing) = (vec![None; parts.len()], vec![None; parts.len()]);
        let known = Known { owners: owners.clone(), sends, standing, ..Known::default() };
        let plan = plan::plan(parts.to_vec(), known);
        // Only what changes is compared, and locked: of an owner whose posts are all refused nothing would be known. And two may be remembered by one number, if the
        // database went back to before it had given that to one of them.
        let compared: HashSet<i64> = plan.owners.iter().map(|row| row.id).collect();
        if compared.len() != owners.len() {
            return Ok(None);
        }
        let rows = [
            messages(&plan),
            entries(&plan)?,
            conversations(&plan),
            outbox(&plan)?,
            heads_after(&plan, &owners),
        ];
        let session = self.pool.session().await?;
        match session.store_after(&ALL_AFTER, rows).await {
            Ok(()) => {
                self.heads.put_back(left(owners, &plan));
                Ok(Some(plan.answers))
            }
            Err(fault) if matches!(fault, Fault::Stale) || fault.is_conflict() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Gives names their rows, in a transaction of its own: one that has locks already could wait for another in a circle.
    pub(super) async fn create_owners(&self, names: Vec<Vec<u8>>) -> Result<(), Fault> {
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.session().await?;
            let created = insert_owners(&mut session, names.clone()).await;
            match session.settle(created) {
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}

/// Gives names their rows.
pub(super) async fn insert_owners(session: &mut Session, names: Vec<Vec<u8>>) -> Result<(), Fault> {
    let buckets = names.iter().map(|name| bucket_of(name)).collect::<Result<Vec<_>, _>>()?;
    session.insert(&NEW_OWNERS, vec![Column::Blobs(names), Column::Ints(buckets)]).await
}

/// The answers, and those owners that simply belong here.
type Appended = (Answers, Vec<Left>);

async fn place(session: &mut Session, parts: &[Part], look: bool) -> Result<Appended, Fault> {
    let (known, ownership) = known(session, parts, look).await?;
    let mut owners = known.owners.clone();
    owners.retain(|timeline, _| ownership.is_simple(timeline));
    let mut plan = plan::plan(parts.to_vec(), known);
    store(session, &plan).await?;
    Ok((mem::take(&mut plan.answers), left(owners, &plan).collect()))
}

/// Those of the owners that a plan changes.
fn left(owners: HashMap<TimelineId, KnownOwner>, plan: &Plan) -> impl Iterator<Item = Left> {
    let heads: HashMap<i64, Version> = plan.owners.iter().map(|row| (row.id, row.head)).collect();
    owners.into_iter().filter_map(move |(timeline, owner)| {
        let head = *heads.get(&owner.id)?;
        Some(Left { timeline, found: owner.head, owner: KnownOwner { head, ..owner } })
    })
}

/// What the database has that concerns a batch. The timelines that it writes are locked, and the senders of keys alone, whose keys have their order too.
async fn known(session: &mut Session, parts: &[Part], look: bool) -> Result<(Known, Ownership), Fault> {
    let all = plan::owners_of(parts);
    let senders = parts.iter().filter(|part| matches!(part, Part::Key { .. }));
    let senders = senders.map(|part| TimelineId::User(plan::message_of(part).from.clone()));
    let written: HashSet<TimelineId> = parts.iter().flat_map(plan::written).cloned().chain(senders).collect();
    let others = lookup::names(all.iter().filter(|owner| !written.contains(owner)));
    let concerned: Vec<_> = parts.iter().map(plan::concerned).collect();
    let buckets = concerned.iter().flatten().map(number_of).collect();
    let (mut owners, ownership) = writing::begin(session, lookup::names(written.iter()), buckets).await?;
    if !others.is_empty() {
        owners.extend(lookup::owners(session, others).await?);
    }
    let new = lookup::names(all.iter().filter(|owner| !owners.contains_key(&name::of(owner))));
    if !new.is_empty() {
        return Err(Fault::NewOwners(new));
    }
    let refused = |owners: &Vec<_>| owners.iter().any(|owner| ownership.refuses(owner));
    let refused = concerned.iter().map(refused).collect();
    let (sends, standing) = match look {
        true => (sends(session, &owners, parts).await?, standing(session, &owners, parts).await?),
        false => (vec![None; parts.len()], vec![None; parts.len()]),
    };
    let owners = all.into_iter().filter_map(|timeline| {
        let known = owners.get(&name::of(&timeline))?.known(true);
        Some((timeline, known))
    });
    Ok((Known { owners: owners.collect(), sends, standing, refused, ..Known::default() }, ownership))
}

/// For each part, what is stored under its key.
async fn sends(session: &mut Session, owners: &Owners, parts: &[Part]) -> Result<Vec<Option<Sent>>, Fault> {
    let keys = plan::keys_of(parts);
    let asked: Vec<_> = keys.iter().flatten().cloned().collect();
    let mut sends = lookup::sends(session, owners, &asked).await?.into_iter();
    Ok(keys.into_iter().map(|key| key.and_then(|_| sends.next().flatten())).collect())
}

/// For each part, what stands under its msgid in one of the timelines that it writes.
async fn standing(
    session: &mut Session,
    owners: &Owners,
    parts: &[Part],
) -> Result<Vec<Option<Standing>>, Fault> {
    let (places, of) = plan::places_of(parts);
    let found = lookup::standing(session, owners, &places).await?;
    let mut standing = vec![None; parts.len()];
    for (number, found) in of.into_iter().zip(found) {
        standing[number] = found.or_else(|| standing[number].take());
    }
    Ok(standing)
}

static NEW_OWNERS: Insert = Insert::new(
    "owners",
    &["name", "bucket"],
    Both { mysql: "ON DUPLICATE KEY UPDATE id = id", postgres: "ON CONFLICT DO NOTHING" },
);

static MESSAGES: Insert = Insert::new(
    "messages",
    &[
        "home_owner",
        "home",
        "copy_owner",
        "copy",
        "msgid",
        "kind",
        "sender",
        "target",
        "send_key",
        "digest",
        "content_type",
        "content",
        "sent_at",
        "withdrawn_at",
    ],
    Both::same(""),
);

static ENTRIES: Insert =
    Insert::new("entries", &["owner", "version", "msgid", "home_owner", "home"], Both::same(""));

/// All of them are there: this moves their heads.
static HEADS: Insert = Insert::new(
    "owners",
    &["id", "name", "head"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE head = VALUES(head)",
        postgres: "ON CONFLICT (id) DO UPDATE SET head = excluded.head",
    },
);

/// A batch with an own entry (`read_version` above 0) starts the count anew after it; one without adds to it.
static CONVERSATIONS: Insert = Insert::new(
    "conversations",
    &["owner", "peer", "last_version", "last_msgid", "last_at", "read_version", "unread"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE last_version = VALUES(last_version), last_msgid = VALUES(last_msgid), \
                last_at = VALUES(last_at), \
                unread = VALUES(unread) + IF(VALUES(read_version) > 0, 0, unread), \
                read_version = GREATEST(read_version, VALUES(read_version))",
        postgres: "ON CONFLICT (owner, peer) DO UPDATE SET last_version = excluded.last_version, \
                   last_msgid = excluded.last_msgid, last_at = excluded.last_at, \
                   unread = excluded.unread + CASE WHEN excluded.read_version > 0 THEN 0 ELSE conversations.unread END, \
                   read_version = GREATEST(conversations.read_version, excluded.read_version)",
    },
);

static ALL: Together = Together::new([&MESSAGES, &ENTRIES, &CONVERSATIONS, &OUTBOX, &HEADS]);

/// Inserts a plan's rows.
pub(super) async fn store(session: &mut Session, plan: &Plan) -> Result<(), Fault> {
    let rows = [messages(plan), entries(plan)?, conversations(plan), outbox(plan)?, heads(plan)];
    session.insert_together(&ALL, rows).await
}

/// Moves heads on that are where they were left, of owners whose buckets are here. `floor` says where that is: it is not stored. An owner that is not there would be
/// new, which is told by what the statement answers.
static HEADS_AFTER: Insert = Insert::new(
    "owners",
    &["id", "name", "floor", "head", "bucket"],
    Both {
        mysql: "ON DUPLICATE KEY UPDATE head = IF(id = VALUES(id) AND name = VALUES(name) AND head = VALUES(floor) AND \
                owners.bucket IN (SELECT b.bucket FROM buckets b WHERE b.state = 0 LOCK IN SHARE MODE), VALUES(head), head)",
        postgres: "ON CONFLICT (id) DO UPDATE SET head = excluded.head \
                   WHERE owners.name = excluded.name AND owners.head = excluded.floor AND \
                   (SELECT b.state FROM buckets b WHERE b.bucket = owners.bucket) = 0 RETURNING owners.bucket",
    },
);

/// A plan's rows, if its owners are as they were left.
static ALL_AFTER: Together = Together::alone([&MESSAGES, &ENTRIES, &CONVERSATIONS, &OUTBOX, &HEADS_AFTER]);

/// In the order of names, in which everybody locks them.
fn heads_after(plan: &Plan, owners: &HashMap<TimelineId, KnownOwner>) -> Vec<Column> {
    let were: HashMap<i64, i64> = owners.values().map(|owner| (owner.id, owner.head.0)).collect();
    let mut rows: Vec<_> = plan.owners.iter().collect();
    rows.sort_unstable_by_key(|row| &row.name);
    let rows = || rows.iter();
    vec![
        Column::ints(rows().map(|row| row.id)),
        Column::blobs(rows().map(|row| row.name.clone())),
        Column::ints(rows().map(|row| were.get(&row.id).copied().unwrap_or(NEW))),
        Column::ints(rows().map(|row| row.head.0)),
        Column::ints(rows().map(|_| NEW)),
    ]
}

/// No bucket's number, and no head.
const NEW: i64 = -1;

fn messages(plan: &Plan) -> Vec<Column> {
    let rows = || plan.messages.iter();
    vec![
        Column::ints(rows().map(|row| row.home_owner)),
        Column::ints(rows().map(|row| row.home.0)),
        Column::MaybeInts(rows().map(|row| row.copy_owner).collect()),
        Column::MaybeInts(rows().map(|row| row.copy.map(|version| version.0)).collect()),
        Column::ints(rows().map(|row| row.msgid.0)),
        Column::ints(rows().map(|row| i64::from(row.kind))),
        Column::ints(rows().map(|row| row.sender)),
        Column::ints(rows().map(|row| row.target)),
        Column::blobs(rows().map(|row| row.send_key.clone())),
        Column::blobs(rows().map(|row| row.digest.to_vec())),
        Column::ints(rows().map(|row| i64::from(row.content_type))),
        Column::blobs(rows().map(|row| row.content.to_vec())),
        Column::ints(rows().map(|row| row.sent_at)),
        Column::MaybeInts(rows().map(|row| row.withdrawn_at).collect()),
    ]
}

/// Rows name their message by its home. In a plan they name it by its number in the batch, from 1.
fn home_of(plan: &Plan, message: i64) -> Result<(i64, i64), Fault> {
    let at = usize::try_from(message - 1).ok();
    let message = at.and_then(|at| plan.messages.get(at)).ok_or(Fault::BadRow("messages.home"))?;
    Ok((message.home_owner, message.home.0))
}

fn entries(plan: &Plan) -> Result<Vec<Column>, Fault> {
    let homes = plan.entries.iter().map(|entry| home_of(plan, entry.message));
    let homes = homes.collect::<Result<Vec<_>, _>>()?;
    let rows = || plan.entries.iter();
    Ok(vec![
        Column::ints(rows().map(|row| row.owner)),
        Column::ints(rows().map(|row| row.version.0)),
        Column::ints(rows().map(|row| row.msgid.0)),
        Column::ints(homes.iter().map(|(owner, _)| *owner)),
        Column::ints(homes.iter().map(|(_, home)| *home)),
    ])
}

static OUTBOX: Insert =
    Insert::new("outbox", &["home_owner", "home", "sender", "into_owner"], Both::same(""));

fn outbox(plan: &Plan) -> Result<Vec<Column>, Fault> {
    let homes = plan.outbox.iter().map(|row| home_of(plan, row.message)).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        Column::ints(homes.iter().map(|(owner, _)| *owner)),
        Column::ints(homes.iter().map(|(_, home)| *home)),
        Column::ints(plan.outbox.iter().map(|row| row.sender)),
        Column::ints(plan.outbox.iter().map(|row| row.into)),
    ])
}

fn conversations(plan: &Plan) -> Vec<Column> {
    let rows = || plan.conversations.iter();
    vec![
        Column::ints(rows().map(|row| row.owner)),
        Column::ints(rows().map(|row| row.peer)),
        Column::ints(rows().map(|row| row.last_version.0)),
        Column::ints(rows().map(|row| row.last_msgid.0)),
        Column::ints(rows().map(|row| row.last_at)),
        Column::ints(rows().map(|row| row.read_version.0)),
        Column::ints(rows().map(|row| row.unread)),
    ]
}

fn heads(plan: &Plan) -> Vec<Column> {
    let rows = || plan.owners.iter();
    vec![
        Column::ints(rows().map(|row| row.id)),
        Column::blobs(rows().map(|row| row.name.clone())),
        Column::ints(rows().map(|row| row.head.0)),
    ]
}
