//! Bodies against bytes written by hand, without prost: what a client in another language sends and
//! sees.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use im_proto::v1::{
    AuthRequest, AuthResponse, C2cRequest, C2cResponse, C2gResponse, ErrorResponse, LogoutRequest, NoopReply,
    PullMsg, PullResponse,
};
use im_proto::{CmdId, Decoder, ErrorCode, Frame, Seq};
use prost::Message;

#[test]
fn a_request_with_the_recovered_fields_alone_is_read() {
    let request = C2cRequest::decode(&b"\x0a\x05alice\x12\x03bob\x1a\x02hi"[..]).unwrap();
    let expected =
        C2cRequest { from: "alice".into(), to: "bob".into(), content: "hi".into(), ..Default::default() };
    assert_eq!(request, expected);
}

#[test]
fn the_extensions_of_a_send_have_numbers_10_and_11() {
    let request =
        C2cRequest { client_msg_id: "id".into(), content_type: 3, ..Default::default() }.encode_to_vec();
    assert_eq!(request, b"\x52\x02id\x58\x03");
}

#[test]
fn an_unset_field_takes_no_bytes() {
    assert_eq!(C2cResponse::default().encode_to_vec(), b"");
    assert_eq!(NoopReply::default().encode_to_vec(), b"");
}

#[test]
fn a_field_from_a_newer_client_is_skipped() {
    let request = C2cRequest::decode(&b"\x12\x03bob\xf2\x01\x03new"[..]).unwrap();
    assert_eq!(request, C2cRequest { to: "bob".into(), ..Default::default() });
}

#[test]
fn a_refused_auth_is_status_minus_1() {
    let refused = AuthResponse { status: -1, err_code: 2, ..Default::default() };
    assert_eq!(refused.encode_to_vec(), b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x02");
}

#[test]
fn an_error_reads_as_the_response_of_any_command() {
    let body = ErrorResponse::from(ErrorCode::Forbidden).encode_to_vec();
    assert_eq!(body, b"\x70\x03\x7a\x0bnot allowed");
    let expected = (3, "not allowed".to_owned());
    let c2c = C2cResponse::decode(&body[..]).unwrap();
    assert_eq!((c2c.err_code, c2c.err_msg), expected);
    let pull = PullResponse::decode(&body[..]).unwrap();
    assert_eq!((pull.err_code, pull.err_msg), expected);
}

#[test]
fn a_groups_version_has_number_16() {
    assert_eq!(C2gResponse { group_version: 5, ..Default::default() }.encode_to_vec(), b"\x80\x01\x05");
}

#[test]
fn a_page_is_its_entries_then_offset_and_head() {
    let entry = PullMsg { from: "a".into(), msgid: 1, cmdid: 1006, version: 4, ..Default::default() };
    let page = PullResponse { msgs: vec![entry], next_offset: 4, head: 9, ..Default::default() };
    assert_eq!(page.encode_to_vec(), b"\x0a\x0a\x0a\x01a\x20\x01\x28\xee\x07\x50\x04\x50\x04\x60\x09");
}

#[test]
fn a_logout_has_the_bytes_of_the_auth() {
    let auth = AuthRequest {
        token: "t".into(),
        uid: "alice".into(),
        timestamp: 1,
        device_id: "d".into(),
        device_type: 3,
        heartbeat_seconds: 60,
        capabilities: vec!["noop_version".into()],
    };
    let logout = LogoutRequest::decode(&auth.encode_to_vec()[..]).unwrap();
    assert_eq!(logout.encode_to_vec(), auth.encode_to_vec());
}

#[test]
fn content_is_a_slice_of_the_read_buffer() {
    let mut buf = BytesMut::new();
    let body = C2cRequest { content: "hi".into(), ..Default::default() }.encode_to_vec();
    Frame { client_version: 1, cmd: CmdId::C2C_SEND, seq: Seq(1), body: body.into() }.encode(&mut buf);
    let frame = Decoder::default().decode(&mut buf).unwrap().unwrap();
    let content: Bytes = C2cRequest::decode(frame.body.clone()).unwrap().content;
    assert_eq!(content.as_ptr(), frame.body[2..].as_ptr());
}

#[test]
fn a_body_of_empty_elements_grows_no_more_than_documented() {
    let elements = 10_000;
    let auth = AuthRequest::decode(&b"\x6a\x00".repeat(elements)[..]).unwrap();
    assert!(auth.capabilities.capacity() * size_of::<String>() <= 24 * 2 * elements);
    let page = PullResponse::decode(&b"\x0a\x00".repeat(elements)[..]).unwrap();
    assert!(page.msgs.capacity() * size_of::<PullMsg>() <= 200 * 2 * elements);
}

#[test]
fn a_token_is_not_shown_in_debug_output() {
    let auth = AuthRequest { token: "secret".into(), uid: "alice".into(), ..Default::default() };
    let logout = LogoutRequest { token: "secret".into(), uid: "alice".into(), ..Default::default() };
    for shown in [format!("{auth:?}"), format!("{logout:?}")] {
        assert!(shown.contains("alice") && !shown.contains("secret"), "{shown}");
    }
}
