//! The transport suite over TCP.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use im_proto::CmdId;
use im_proto::v1::C2cPush;
use im_transport::Server;
use suite::raw::Raw;
use tokio::net::TcpStream;

async fn connect(server: &Server) -> Raw {
    Raw::new(TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap())
}

#[tokio::test]
async fn a_message_is_acknowledged_and_pushed() {
    let server = suite::server().tcp("127.0.0.1:0").start().await.unwrap();
    let (mut alice, mut bob) = (connect(&server).await, connect(&server).await);
    alice.auth("alice", "a").await;
    assert_eq!(bob.auth("bob", "b").await.status, 0);
    let ack = alice.say("bob", "hello").await;
    assert_eq!((ack.err_code, ack.version), (0, 1));
    let push: C2cPush = bob.expect(CmdId::C2C_PUSH).await;
    assert_eq!((push.content.as_ref(), push.version, push.msgid), ("hello".as_bytes(), 1, ack.msgid));
    assert_eq!(server.connections(), 2);
    server.shutdown().await.unwrap();
    assert_eq!(bob.expect_kickout().await.reason, 3);
}
