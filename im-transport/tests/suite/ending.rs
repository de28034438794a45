//! How a server stops.

use std::time::{Duration, Instant};

use im_proto::v1::Kickout;
use im_proto::{CmdId, Seq};
use prost::Message as _;

use super::parts::{BLACK_HOLE, SLOW_ECHO, SLOWLY, gate, server};
use super::{Transport, login, start};

pub async fn a_shutdown_answers_what_was_asked_and_sends_clients_away(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut bob = login(transport, &server, "bob", "phone").await;
    alice.frame(SLOW_ECHO, Seq(5), b"in flight").await;
    tokio::time::sleep(SLOWLY / 3).await;
    let client = async {
        let kickout = alice.next().await.unwrap();
        assert_eq!((kickout.cmd, kickout.seq), (CmdId::KICKOUT, Seq(0)));
        let kickout = Kickout::decode(kickout.body).unwrap();
        assert_eq!(kickout.reason, 3);
        assert!((0..=5_000).contains(&kickout.retry_after_ms));
        let reply = alice.next().await.unwrap();
        assert_eq!((reply.seq, reply.body.as_ref()), (Seq(5), b"in flight".as_ref()));
        alice.expect_end().await;
        drop(alice);
        assert_eq!(bob.expect_kickout().await.reason, 3);
        drop(bob);
    };
    let (stopped, ()) = futures::join!(server.shutdown(), client);
    stopped.unwrap();
}

pub async fn a_shutdown_closes_links_that_never_spoke(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut silent = transport.connect(&server).await;
    let client = async {
        silent.expect_end().await;
        drop(silent);
    };
    let (stopped, ()) = futures::join!(server.shutdown(), client);
    stopped.unwrap();
}

pub async fn a_shutdown_is_bounded_though_a_request_is_never_answered(transport: &impl Transport) {
    let limits = gate(|limits| limits.drain = Duration::from_millis(500));
    let server = start(transport, server().gate_limits(limits)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    alice.frame(BLACK_HOLE, Seq(5), b"").await;
    tokio::time::sleep(SLOWLY / 3).await;
    let started = Instant::now();
    server.shutdown().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(alice.expect_kickout().await.reason, 3);
}
