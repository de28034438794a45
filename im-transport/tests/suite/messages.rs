//! What clients say to each other.

use im_proto::v1::{C2cPush, C2cResponse, ErrorResponse};
use im_proto::{CmdId, Seq};
use prost::Message as _;

use super::parts::{ECHO, server};
use super::raw::{VERSION, encoded, message};
use super::{Transport, login, start};

pub async fn a_message_is_acknowledged_and_pushed(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "a").await;
    let mut bob = login(transport, &server, "bob", "b").await;
    let ack = alice.say("bob", "hello").await;
    assert_eq!((ack.err_code, ack.version), (0, 1));
    let push: C2cPush = bob.expect(CmdId::C2C_PUSH).await;
    assert_eq!((push.from.as_str(), push.content.as_ref()), ("alice", b"hello".as_ref()));
    assert_eq!((push.version, push.msgid, push.timestamp), (1, ack.msgid, ack.timestamp));
}

pub async fn a_push_has_sequence_number_zero_and_the_links_last_version(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "a").await;
    let mut bob = login(transport, &server, "bob", "b").await;
    alice.say("bob", "first").await;
    let push = bob.next().await.unwrap();
    assert_eq!((push.cmd, push.seq, push.client_version), (CmdId::C2C_PUSH, Seq(0), VERSION));
    // A noop from a client that was updated meanwhile, say.
    bob.write(&[0, 0, 0, 20, 0, 0, 1, 0, 0, 0, 0, 6, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]).await;
    assert_eq!(bob.next().await.unwrap().client_version, 256);
    alice.say("bob", "second").await;
    assert_eq!(bob.next().await.unwrap().client_version, 256);
}

pub async fn a_thousand_pipelined_messages_keep_their_order(transport: &impl Transport) {
    const COUNT: u32 = 1_000;
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "a").await;
    let mut bob = login(transport, &server, "bob", "b").await;
    for seq in 1..=COUNT {
        let frame = encoded(CmdId::C2C_SEND, Seq(seq), &message("bob", &seq.to_string()));
        alice.write(&frame).await;
    }
    let mut versions = vec![0; 1_000];
    for _ in 0..COUNT {
        let frame = alice.next().await.unwrap();
        let place = usize::try_from(frame.seq.0).unwrap() - 1;
        versions[place] = C2cResponse::decode(frame.body).unwrap().version;
    }
    assert_eq!(versions, (1..=i64::from(COUNT)).collect::<Vec<_>>());
    for number in 1..=COUNT {
        let push: C2cPush = bob.expect(CmdId::C2C_PUSH).await;
        assert_eq!((push.version, push.content.as_ref()), (number.into(), number.to_string().as_bytes()));
    }
}

pub async fn an_unknown_command_is_an_error_and_keeps_the_link(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    link.frame(CmdId(4_242), Seq(5), b"whatever").await;
    let frame = link.next().await.unwrap();
    assert_eq!((frame.cmd, frame.seq), (CmdId(4_242), Seq(5)));
    assert_eq!(ErrorResponse::decode(frame.body).unwrap().err_code, 9);
    assert_eq!(link.say("bob", "still here").await.version, 1);
}

pub async fn a_command_of_the_integrators_is_served(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    link.frame(ECHO, Seq(5), b"whatever").await;
    let frame = link.next().await.unwrap();
    assert_eq!((frame.cmd, frame.seq, frame.body.as_ref()), (ECHO, Seq(5), b"whatever".as_ref()));
}
