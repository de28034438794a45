//! The bodies' decoder: any bytes as any message.

use std::fmt::Debug;

use im_proto::v1;
use prost::Message;

/// Reads the input as every message.
///
/// # Panics
///
/// If a message that could be read does not survive being written and read again.
pub fn run(input: &[u8]) {
    session(input);
    sending(input);
    reading(input);
    rooms(input);
}

fn session(input: &[u8]) {
    assert_survives::<v1::NoopReply>(input);
    assert_survives::<v1::AuthRequest>(input);
    assert_survives::<v1::AuthResponse>(input);
    assert_survives::<v1::LogoutRequest>(input);
    assert_survives::<v1::LogoutResponse>(input);
    assert_survives::<v1::Kickout>(input);
    assert_survives::<v1::ErrorResponse>(input);
}

fn sending(input: &[u8]) {
    assert_survives::<v1::C2sRequest>(input);
    assert_survives::<v1::C2sResponse>(input);
    assert_survives::<v1::C2cRequest>(input);
    assert_survives::<v1::C2cResponse>(input);
    assert_survives::<v1::C2gRequest>(input);
    assert_survives::<v1::C2gResponse>(input);
    assert_survives::<v1::CtrlRequest>(input);
    assert_survives::<v1::CtrlResponse>(input);
}

fn reading(input: &[u8]) {
    assert_survives::<v1::S2cPush>(input);
    assert_survives::<v1::C2cPush>(input);
    assert_survives::<v1::C2gPush>(input);
    assert_survives::<v1::CtrlPush>(input);
    assert_survives::<v1::PullRequest>(input);
    assert_survives::<v1::PullResponse>(input);
    assert_survives::<v1::SyncRequest>(input);
    assert_survives::<v1::SyncResponse>(input);
    assert_survives::<v1::PushAck>(input);
    assert_survives::<v1::MsgidAck>(input);
}

fn rooms(input: &[u8]) {
    assert_survives::<v1::RoomJoinRequest>(input);
    assert_survives::<v1::RoomJoinResponse>(input);
    assert_survives::<v1::RoomLeaveRequest>(input);
    assert_survives::<v1::RoomLeaveResponse>(input);
    assert_survives::<v1::RoomSendRequest>(input);
    assert_survives::<v1::RoomSendResponse>(input);
    assert_survives::<v1::RoomPush>(input);
}

fn assert_survives<M: Message + Default + PartialEq + Debug>(input: &[u8]) {
    let Ok(message) = M::decode(input) else { return };
    let bytes = message.encode_to_vec();
    assert_eq!(bytes.len(), message.encoded_len());
    assert_eq!(M::decode(&bytes[..]).as_ref(), Ok(&message));
}
