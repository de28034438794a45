//! Rows into domain types, and back.

use bytes::Bytes;
use im_core::client::{LocalEntry, Outgoing};
use im_core::id::{ClientMsgId, GroupId, MsgId, Uid, Version};
use im_core::message::{ContentType, Target};
use im_core::time::Timestamp;
use im_proto::CmdId;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use super::Fault;

/// The columns that a message waits in: id, receiver, content type, content.
pub(super) type OutgoingRow = (Vec<u8>, Vec<u8>, i32, Vec<u8>);

/// The columns of an entry, in the order of the schema.
pub(super) type EntryRow = (i64, i64, i64, Vec<u8>, Vec<u8>, Option<Vec<u8>>, i32, Vec<u8>, i64, Option<i64>);

/// Puts an entry in its place, unless that is taken.
pub(super) fn insert(entry: &LocalEntry) -> Query<'_, Sqlite, SqliteArguments> {
    let client_msg_id = entry.client_msg_id.as_ref().map(|id| id.as_str().as_bytes());
    sqlx::query(
        "INSERT INTO entries (version, msgid, kind, sender, target, client_msg_id, content_type, content, sent_at, \
         withdrawn_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (version) DO NOTHING",
    )
    .bind(entry.version.0)
    .bind(entry.msgid.0)
    .bind(i64::from(entry.kind.0))
    .bind(entry.from.as_str().as_bytes())
    .bind(target_bytes(&entry.to))
    .bind(client_msg_id)
    .bind(entry.content_type.0)
    .bind(&entry.content[..])
    .bind(entry.sent_at.0)
    .bind(entry.withdrawn_at.map(|at| at.0))
}

/// Takes what is the same message out of the earlier entries.
pub(super) fn take_earlier(entry: &LocalEntry) -> Query<'_, Sqlite, SqliteArguments> {
    match &entry.client_msg_id {
        Some(id) => sqlx::query("DELETE FROM earlier WHERE client_msg_id = ? AND sender = ?")
            .bind(id.as_str().as_bytes())
            .bind(entry.from.as_str().as_bytes()),
        None => {
            sqlx::query("DELETE FROM earlier WHERE msgid = ? AND client_msg_id IS NULL").bind(entry.msgid.0)
        }
    }
}

/// Finds the same message among the earlier entries.
pub(super) fn find_earlier(entry: &LocalEntry) -> Query<'_, Sqlite, SqliteArguments> {
    match &entry.client_msg_id {
        Some(id) => sqlx::query("SELECT 1 FROM earlier WHERE client_msg_id = ? AND sender = ? LIMIT 1")
            .bind(id.as_str().as_bytes())
            .bind(entry.from.as_str().as_bytes()),
        None => sqlx::query("SELECT 1 FROM earlier WHERE msgid = ? AND client_msg_id IS NULL LIMIT 1")
            .bind(entry.msgid.0),
    }
}

pub(super) fn outgoing(row: OutgoingRow) -> Result<Outgoing, Fault> {
    let (client_msg_id, receiver, content_type, content) = row;
    Ok(Outgoing {
        client_msg_id: message_id(&client_msg_id)?,
        to: uid(&receiver, "receiver")?,
        content_type: ContentType(content_type),
        content: Bytes::from(content),
    })
}

pub(super) fn entry(row: EntryRow) -> Result<LocalEntry, Fault> {
    let (version, msgid, kind, sender, target, id, content_type, content, sent_at, withdrawn_at) = row;
    Ok(LocalEntry {
        version: Version(version),
        msgid: MsgId(msgid),
        kind: CmdId(u32::try_from(kind).map_err(|_| Fault::BadRow("kind"))?),
        from: uid(&sender, "sender")?,
        to: target_of(&target)?,
        client_msg_id: id.map(|id| message_id(&id)).transpose()?,
        content_type: ContentType(content_type),
        content: Bytes::from(content),
        sent_at: Timestamp(sent_at),
        withdrawn_at: withdrawn_at.map(Timestamp),
    })
}

fn target_bytes(target: &Target) -> Vec<u8> {
    match target {
        Target::User(uid) => [b"u", uid.as_str().as_bytes()].concat(),
        Target::Group(group) => [&b"g"[..], &group.0.to_be_bytes()].concat(),
    }
}

fn target_of(bytes: &[u8]) -> Result<Target, Fault> {
    match bytes.split_first() {
        Some((b'u', name)) => Ok(Target::User(uid(name, "target")?)),
        Some((b'g', number)) => {
            let number = number.try_into().map_err(|_| Fault::BadRow("target"))?;
            Ok(Target::Group(GroupId(i64::from_be_bytes(number))))
        }
        _ => Err(Fault::BadRow("target")),
    }
}

fn uid(bytes: &[u8], column: &'static str) -> Result<Uid, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::BadRow(column))?;
    Uid::new(text).map_err(|_| Fault::BadRow(column))
}

fn message_id(bytes: &[u8]) -> Result<ClientMsgId, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::BadRow("client_msg_id"))?;
    ClientMsgId::new(text).map_err(|_| Fault::BadRow("client_msg_id"))
}
