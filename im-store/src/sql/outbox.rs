use std::collections::BTreeMap;

use async_trait::async_trait;
use im_core::id::{Uid, Version};
use im_core::message::TimelineId;
use im_core::storage::{Intent, IntentId, Outbox, Part, Pending, Placed, StoreError};

use super::driver::{Column, Row, Session, Value};
use super::statement::{Both, Keyed, Text};
use super::tries::Tries;
use super::{Fault, SqlStore, lookup, timelines};
use crate::name;

#[async_trait]
impl Outbox for SqlStore {
    async fn append_parts(&self, parts: Vec<Part>) -> Vec<Result<Placed, StoreError>> {
        let count = parts.len();
        if count == 0 {
            return Vec::new();
        }
        match self.within("append_parts", self.place(parts)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        let intents = async {
            let mut session = self.pool.session().await?;
            let intents = match pending {
                Pending::Of(senders) => of(&mut session, senders, limit).await,
                Pending::After(id) => after(&mut session, id, limit).await,
            };
            session.settle(intents)
        };
        self.within("intents", intents).await
    }

    async fn settle(&self, settled: Vec<(IntentId, Version)>) -> Result<(), StoreError> {
        // Of one that is named twice, the first counts. All go in one order, so that nobody waits in a circle.
        let mut versions = BTreeMap::new();
        for (id, version) in settled {
            versions.entry(id).or_insert(version);
        }
        match versions.is_empty() {
            true => Ok(()),
            false => self.within("settle", self.settle_all(versions)).await,
        }
    }
}

impl SqlStore {
    async fn settle_all(&self, versions: BTreeMap<IntentId, Version>) -> Result<(), Fault> {
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.begin().await?;
            let settled = settle(&mut session, &versions).await;
            match session.end(settled).await {
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}

/// The messages of intents, by number.
macro_rules! intents {
    ($condition:literal) => {
        concat!(
            "SELECT x.id, m.msgid, m.kind, s.name, t.name, m.send_key, m.content_type, m.content, m.sent_at, i.name \
             FROM outbox x JOIN messages m ON m.home_owner = x.home_owner AND m.home = x.home \
             JOIN owners s ON s.id = m.sender JOIN owners t ON t.id = m.target JOIN owners i ON i.id = x.into_owner WHERE ",
            $condition
        )
    };
}

static AFTER: Text = Text::new(intents!("x.id > ? ORDER BY x.id LIMIT ?"));

static NAMED: Keyed = Keyed::new(Both::same(intents!("{keys}")), &["x.id"]);

static NUMBERS: Keyed = Keyed::new(Both::same("SELECT x.id FROM outbox x WHERE {keys}"), &["x.sender"]);

async fn after(session: &mut Session, id: IntentId, limit: usize) -> Result<Vec<Intent>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.select(&AFTER, vec![Value::Int(id.0), Value::Int(limit)]).await?;
    rows.iter().map(intent).collect()
}

/// The numbers first, and then the messages of as many as are wanted.
async fn of(session: &mut Session, senders: Vec<Uid>, limit: usize) -> Result<Vec<Intent>, Fault> {
    let users: Vec<_> = senders.into_iter().map(TimelineId::User).collect();
    let owners = lookup::owners(session, lookup::names(users.iter())).await?;
    let rows = session.find(&NUMBERS, vec![Column::ints(owners.values().map(|owner| owner.id))]).await?;
    let mut numbers = rows.iter().map(|row| row.int(0)).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.truncate(limit);
    let rows = session.find(&NAMED, vec![Column::Ints(numbers)]).await?;
    let mut intents = rows.iter().map(intent).collect::<Result<Vec<_>, _>>()?;
    intents.sort_unstable_by_key(|intent| intent.id);
    Ok(intents)
}

fn intent(row: &Row) -> Result<Intent, Fault> {
    let into = name::parse(row.bytes(9)?).ok_or(Fault::BadRow("outbox.into_owner"))?;
    Ok(Intent {
        id: IntentId(row.int(0)?),
        message: timelines::message(row)?,
        into: name::timeline_of(&into),
    })
}

static PLACES: Keyed =
    Keyed::new(Both::same("SELECT x.id, x.home_owner, x.home FROM outbox x WHERE {keys}"), &["x.id"]);

/// A key alone needs its content no more. What another has settled meanwhile stays as it is.
static SETTLE: Text = Text::new(
    "UPDATE messages SET copy = ?, content = CASE WHEN home > 0 THEN content ELSE '' END \
     WHERE home_owner = ? AND home = ? AND copy = 0",
);

static REMOVE: Keyed = Keyed::new(Both::same("DELETE FROM outbox WHERE {keys}"), &["id"]);

async fn settle(session: &mut Session, versions: &BTreeMap<IntentId, Version>) -> Result<(), Fault> {
    let numbers = || vec![Column::ints(versions.keys().map(|id| id.0))];
    let mut places = BTreeMap::new();
    for row in session.find(&PLACES, numbers()).await? {
        places.insert(IntentId(row.int(0)?), (row.int(1)?, row.int(2)?));
    }
    for (id, (owner, home)) in places {
        let version = versions.get(&id).copied().unwrap_or_default();
        let values = [version.0, owner, home].map(Value::Int);
        session.execute(&SETTLE, values.into()).await?;
    }
    session.find(&REMOVE, numbers()).await.map(drop)
}
