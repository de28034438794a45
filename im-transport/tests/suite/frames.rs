//! The stream and what is malformed in it.

use im_proto::v1::{AuthResponse, C2cPush};
use im_proto::{CmdId, HEADER_LEN, Header, Seq};

use super::parts::{ECHO, server};
use super::raw::{Raw, VERSION, credentials, encoded};
use super::{Transport, login, start};

/// Version 200, cmd 6, the noop's own sequence number, no body.
const NOOP: [u8; 20] = [0, 0, 0, 20, 0, 0, 0, 200, 0, 0, 0, 6, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

fn header(cmd: CmdId, body_len: u32) -> [u8; HEADER_LEN] {
    Header { client_version: VERSION, cmd, seq: Seq(1), body_len }.to_bytes()
}

pub async fn a_stream_cut_anywhere_is_the_same_stream(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let auth = encoded(CmdId::AUTH, Seq(1), &credentials("alice", "phone"));
    for cut in 1..auth.len() {
        let mut link = transport.connect(&server).await;
        link.write(&auth[..cut]).await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        link.write(&auth[cut..]).await;
        expect_answers(&mut link).await;
    }
    let mut link = transport.connect(&server).await;
    for byte in &auth {
        link.write(&[*byte]).await;
    }
    expect_answers(&mut link).await;
}

async fn expect_answers(link: &mut Raw) {
    assert_eq!(link.expect::<AuthResponse>(CmdId::AUTH).await.status, 0);
    for byte in NOOP {
        link.write(&[byte]).await;
    }
    assert_eq!(link.next().await.unwrap().cmd, CmdId::NOOP);
}

pub async fn two_frames_in_one_write_get_two_answers(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    let mut both = encoded(ECHO, Seq(7), &credentials("first", ""));
    both.extend_from_slice(&encoded(ECHO, Seq(8), &credentials("second", "")));
    link.write(&both).await;
    for seq in [7, 8] {
        let frame = link.next().await.unwrap();
        assert_eq!((frame.cmd, frame.seq, frame.client_version), (ECHO, Seq(seq), VERSION));
    }
}

pub async fn a_noop_comes_back_byte_for_byte_before_and_after_auth(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = transport.connect(&server).await;
    link.write(&NOOP).await;
    assert_eq!(link.bytes(NOOP.len()).await[..], NOOP);
    link.auth("alice", "phone").await;
    link.write(&NOOP).await;
    assert_eq!(link.bytes(NOOP.len()).await[..], NOOP);
}

pub async fn a_reserved_sequence_number_closes_the_link(transport: &impl Transport) {
    let server = start(transport, server()).await;
    for seq in [Seq::NOOP, Seq::IDENTIFY, Seq::SIGNALLING, Seq::PUSH] {
        let mut link = login(transport, &server, "alice", "phone").await;
        link.frame(CmdId::C2C_SEND, seq, b"").await;
        link.expect_end().await;
    }
}

pub async fn a_header_that_announces_too_much_closes_the_link(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut stranger = transport.connect(&server).await;
    stranger.write(&header(CmdId::AUTH, (8 << 10) - 19)).await;
    stranger.expect_end().await;
    let mut user = login(transport, &server, "alice", "phone").await;
    user.write(&header(CmdId::C2C_SEND, (1 << 20) - 19)).await;
    user.expect_end().await;
    let mut user = login(transport, &server, "alice", "phone").await;
    user.write(&[0xFF; 4]).await;
    user.expect_end().await;
}

pub async fn a_header_that_is_too_short_closes_the_link(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = transport.connect(&server).await;
    link.write(&[0, 0, 0, 19]).await;
    link.expect_end().await;
}

pub async fn a_large_frame_arrives_whole(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut bob = login(transport, &server, "bob", "phone").await;
    let text = "0123456789abcdef".repeat(256 << 6);
    assert_eq!(alice.say("bob", &text).await.err_code, 0);
    let push: C2cPush = bob.expect(CmdId::C2C_PUSH).await;
    assert_eq!(push.content, text.as_bytes());
    let body = vec![7; (1 << 20) - HEADER_LEN];
    alice.frame(ECHO, Seq(9), &body).await;
    assert_eq!(alice.next().await.unwrap().body, body);
}

pub async fn random_bytes_harm_nobody_else(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..200 {
        let mut link = transport.connect(&server).await;
        let mut noise = Vec::new();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        // Half of them with a header that could be one.
        if state.is_multiple_of(2) {
            noise.splice(..12, header(CmdId::AUTH, 300)[..12].iter().copied());
        }
        link.try_write(&noise).await;
    }
    assert_eq!(alice.say("alice", "still here").await.version, 1);
}
