//! What the client says and hears, as protobuf.

use bytes::Bytes;
use im_proto::v1::{
    AuthRequest, C2cPush, C2cRequest, C2gPush, LogoutRequest, PullMsg, PullRequest, PushAck, RoomJoinRequest,
    RoomLeaveRequest, RoomPush, RoomSendRequest, SyncRequest,
};
use im_proto::{CmdId, ErrorCode};
use prost::Message as _;

use super::{ClientConfig, Heard, LocalEntry, Outgoing, Receipt, Saying};
use crate::id::{ClientMsgId, GroupId, MsgId, RoomId, Uid, Version};
use crate::message::{ContentType, Target};
use crate::time::Timestamp;

/// A body that no server of this protocol writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBody;

impl From<prost::DecodeError> for BadBody {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

impl From<crate::id::IdError> for BadBody {
    fn from(_: crate::id::IdError) -> Self {
        Self
    }
}

pub(super) fn auth(config: &ClientConfig) -> Bytes {
    let request = AuthRequest {
        token: config.token.clone(),
        uid: config.uid.as_str().to_owned(),
        timestamp: 0,
        device_id: config.device.as_str().to_owned(),
        device_type: config.device_type.0,
        heartbeat_seconds: config.heartbeat.announced_seconds(),
        capabilities: config.capabilities.clone(),
    };
    request.encode_to_vec().into()
}

pub(super) fn logout(config: &ClientConfig) -> Bytes {
    let request = LogoutRequest {
        token: config.token.clone(),
        uid: config.uid.as_str().to_owned(),
        device_id: config.device.as_str().to_owned(),
        device_type: config.device_type.0,
        ..LogoutRequest::default()
    };
    request.encode_to_vec().into()
}

pub(super) fn send(message: &Outgoing) -> Bytes {
    let request = C2cRequest {
        from: String::new(),
        to: message.to.as_str().to_owned(),
        content: message.content.clone(),
        client_msg_id: message.client_msg_id.as_str().to_owned(),
        content_type: message.content_type.0,
    };
    request.encode_to_vec().into()
}

pub(super) fn pull(offset: Version, limit: i32) -> Bytes {
    PullRequest { uid: String::new(), offset: offset.0, limit }.encode_to_vec().into()
}

pub(super) fn sync(begin: Version, limit: i32) -> Bytes {
    SyncRequest { group: 0, begin: begin.0, end: 0, limit }.encode_to_vec().into()
}

pub(super) fn ack(version: Version) -> Bytes {
    PushAck { version: version.0, group: 0 }.encode_to_vec().into()
}

pub(super) fn room_join(room: &RoomId, leave: Option<&RoomId>) -> Bytes {
    let leave = leave.map_or_else(String::new, |room| room.as_str().to_owned());
    RoomJoinRequest { room: room.as_str().to_owned(), leave }.encode_to_vec().into()
}

pub(super) fn room_leave(room: &RoomId) -> Bytes {
    RoomLeaveRequest { room: room.as_str().to_owned() }.encode_to_vec().into()
}

pub(super) fn room_send(saying: &Saying) -> Bytes {
    let request = RoomSendRequest {
        room: saying.room.as_str().to_owned(),
        content: saying.content.clone(),
        client_msg_id: saying.client_msg_id.as_str().to_owned(),
        content_type: saying.content_type.0,
    };
    request.encode_to_vec().into()
}

/// What was said in a room.
pub(super) fn heard(room: RoomId, push: &RoomPush) -> Result<Heard, BadBody> {
    Ok(Heard {
        room,
        from: Uid::new(&push.from)?,
        msgid: MsgId(push.msgid),
        sent_at: Timestamp(push.timestamp),
        content_type: ContentType(push.content_type),
        content: copied(&push.content),
        client_msg_id: optional_id(&push.client_msg_id)?,
    })
}

/// What a push is for this machine.
#[derive(Debug)]
pub(super) enum Pushed {
    /// An entry of the user's timeline.
    Entry(Box<LocalEntry>),
    /// The timeline reaches to here.
    Head(Version),
    /// Something is new.
    Hint,
}

/// A direct message's push. Without a version it is a hint, and with a version but without a message the timeline's head.
pub(super) fn c2c_push(body: Bytes, owner: &Uid) -> Result<Pushed, BadBody> {
    let push = C2cPush::decode(body)?;
    if push.version <= 0 {
        return Ok(Pushed::Hint);
    }
    if push.msgid == 0 {
        return Ok(Pushed::Head(Version(push.version)));
    }
    let to = if push.to.is_empty() { owner.clone() } else { Uid::new(&push.to)? };
    Ok(Pushed::Entry(Box::new(LocalEntry {
        version: Version(push.version),
        msgid: MsgId(push.msgid),
        kind: CmdId::C2C_SEND,
        from: Uid::new(&push.from)?,
        to: Target::User(to),
        client_msg_id: optional_id(&push.client_msg_id)?,
        content_type: ContentType(push.content_type),
        content: copied(&push.content),
        sent_at: Timestamp(push.timestamp),
        withdrawn_at: None,
    })))
}

/// A group message's push: the user's own copy of a small group's, or a hint that a large group has something.
pub(super) fn c2g_push(body: Bytes) -> Result<Pushed, BadBody> {
    let push = C2gPush::decode(body)?;
    if push.version <= 0 {
        return Ok(Pushed::Hint);
    }
    Ok(Pushed::Entry(Box::new(LocalEntry {
        version: Version(push.version),
        msgid: MsgId(push.msgid),
        kind: CmdId::C2G_SEND,
        from: Uid::new(&push.from)?,
        to: Target::Group(GroupId(push.group)),
        client_msg_id: optional_id(&push.client_msg_id)?,
        content_type: ContentType(push.content_type),
        content: copied(&push.content),
        sent_at: Timestamp(push.timestamp),
        withdrawn_at: None,
    })))
}

/// The entries of a page, which must be in version order and after `begin`.
pub(super) fn entries(msgs: &[PullMsg], begin: Version, owner: &Uid) -> Result<Vec<LocalEntry>, BadBody> {
    let mut last = begin;
    let mut entries = Vec::with_capacity(msgs.len());
    for msg in msgs {
        let entry = pulled(msg, owner)?;
        if entry.version <= last {
            return Err(BadBody);
        }
        last = entry.version;
        entries.push(entry);
    }
    Ok(entries)
}

fn pulled(msg: &PullMsg, owner: &Uid) -> Result<LocalEntry, BadBody> {
    let to = match (msg.group, msg.to.as_str()) {
        (0, "") => Target::User(owner.clone()),
        (0, to) => Target::User(Uid::new(to)?),
        (group, _) => Target::Group(GroupId(group)),
    };
    Ok(LocalEntry {
        version: Version(msg.version),
        msgid: MsgId(msg.msgid),
        kind: CmdId(u32::try_from(msg.cmdid).map_err(|_| BadBody)?),
        from: Uid::new(&msg.from)?,
        to,
        client_msg_id: optional_id(&msg.client_msg_id)?,
        content_type: ContentType(msg.content_type),
        content: copied(&msg.content),
        sent_at: Timestamp(msg.send_time),
        withdrawn_at: (msg.withdraw_time != 0).then_some(Timestamp(msg.withdraw_time)),
    })
}

/// The entry that an own send became.
pub(super) fn own(sent: Outgoing, receipt: &Receipt, owner: &Uid) -> LocalEntry {
    LocalEntry {
        version: receipt.version,
        msgid: receipt.msgid,
        kind: CmdId::C2C_SEND,
        from: owner.clone(),
        to: Target::User(sent.to),
        client_msg_id: Some(sent.client_msg_id),
        content_type: sent.content_type,
        content: sent.content,
        sent_at: receipt.timestamp,
        withdrawn_at: None,
    }
}

/// What a response's error number means: nothing, a known code, or a number that this version does not know.
pub(super) fn error(code: i32) -> Result<(), Option<ErrorCode>> {
    if code == 0 { Ok(()) } else { Err(ErrorCode::from_code(code)) }
}

fn optional_id(text: &str) -> Result<Option<ClientMsgId>, BadBody> {
    if text.is_empty() { Ok(None) } else { Ok(Some(ClientMsgId::new(text)?)) }
}

/// Entries outlive the read buffer that their bodies are slices of.
fn copied(content: &Bytes) -> Bytes {
    Bytes::copy_from_slice(content)
}
