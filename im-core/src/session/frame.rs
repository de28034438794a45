//! What the session's own answers look like on the wire.

use bytes::Bytes;
use im_proto::v1::{AuthResponse, ErrorResponse, Kickout, LogoutResponse, RoomPush};
use im_proto::{CmdId, ErrorCode, OutFrame, Seq, Suffix};
use prost::Message as _;

use super::{Granted, KickReason, NOOP_VERSION, Push, Ticket};
use crate::id::RoomId;

pub(super) fn reply(ticket: &Ticket, body: Bytes) -> OutFrame {
    OutFrame {
        client_version: ticket.client_version,
        cmd: ticket.cmd,
        seq: ticket.seq,
        body,
        suffix: Suffix::NONE,
    }
}

pub(super) fn push(push: Push, client_version: u32) -> OutFrame {
    OutFrame { client_version, cmd: push.cmd, seq: Seq::PUSH, body: push.body, suffix: push.suffix }
}

/// The push that says how much of a room its link has missed.
pub(super) fn missed(room: &RoomId, messages: u64, client_version: u32) -> OutFrame {
    let missed = i64::try_from(messages).unwrap_or(i64::MAX);
    let body = RoomPush { room: room.as_str().to_owned(), missed, ..RoomPush::default() };
    let body = body.encode_to_vec().into();
    push(Push { cmd: CmdId::ROOM_PUSH, body, suffix: Suffix::NONE }, client_version)
}

pub(super) fn granted(granted: &Granted, noop_version: bool) -> Bytes {
    let response = AuthResponse {
        version: granted.head.0,
        server_time: granted.server_time.0,
        epoch: granted.epoch.0,
        capabilities: if noop_version { vec![NOOP_VERSION.to_owned()] } else { Vec::new() },
        ..AuthResponse::default()
    };
    response.encode_to_vec().into()
}

pub(super) fn auth_refused(code: ErrorCode, message: String) -> Bytes {
    let response =
        AuthResponse { status: -1, err_code: code.code(), err_msg: message, ..AuthResponse::default() };
    response.encode_to_vec().into()
}

pub(super) fn logged_out() -> Bytes {
    LogoutResponse::default().encode_to_vec().into()
}

pub(super) fn error(code: ErrorCode) -> Bytes {
    ErrorResponse { err_code: code.code(), err_msg: code.to_string() }.encode_to_vec().into()
}

pub(super) fn kickout(
    reason: KickReason,
    retry_after: Option<std::time::Duration>,
    client_version: u32,
) -> OutFrame {
    let retry_after_ms = retry_after.map_or(0, |after| i32::try_from(after.as_millis()).unwrap_or(i32::MAX));
    let body = Kickout { reason: reason.code(), retry_after_ms }.encode_to_vec().into();
    OutFrame { client_version, cmd: CmdId::KICKOUT, seq: Seq::PUSH, body, suffix: Suffix::NONE }
}
