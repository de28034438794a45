//! Who gets in, and who has to go.

use std::time::{Duration, Instant};

use im_core::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use im_core::router::{KickPolicy, Route};
use im_core::time::Timestamp;
use im_proto::v1::{AuthRequest, AuthResponse, C2cRequest, LogoutRequest, LogoutResponse};
use im_proto::{CmdId, Seq};

use super::parts::{SLOWLY, eventually, gate, server};
use super::raw::credentials;
use super::{Transport, login, start};

pub async fn a_client_with_a_good_token_is_let_in(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = transport.connect(&server).await;
    let response = link.auth("alice", "phone").await;
    assert_eq!((response.status, response.err_code, response.version), (0, 0, 0));
    assert!(response.server_time > 0);
}

pub async fn a_client_with_a_bad_token_is_told_so_and_the_link_closes(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = transport.connect(&server).await;
    let forged = AuthRequest { token: "mallory".to_owned(), ..credentials("alice", "phone") };
    link.ask(CmdId::AUTH, &forged).await;
    let response: AuthResponse = link.expect(CmdId::AUTH).await;
    assert_eq!((response.status, response.err_code), (-1, 2));
    link.expect_end().await;
}

pub async fn an_auth_that_does_not_decode_is_refused_and_the_link_closes(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = transport.connect(&server).await;
    link.frame(CmdId::AUTH, Seq(1), b"\xff\xff\xff\xff").await;
    let response: AuthResponse = link.expect(CmdId::AUTH).await;
    assert_eq!((response.status, response.err_code), (-1, 1));
    link.expect_end().await;
}

pub async fn any_other_command_before_auth_closes_the_link(transport: &impl Transport) {
    let server = start(transport, server()).await;
    for cmd in [CmdId::C2C_SEND, CmdId::PULL, CmdId::PUSH_ACK, CmdId::LOGOUT, CmdId(2_000), CmdId(0)] {
        let mut link = transport.connect(&server).await;
        link.ask(cmd, &C2cRequest::default()).await;
        link.expect_end().await;
    }
}

pub async fn a_second_login_kicks_the_first_within_the_bound(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut first = login(transport, &server, "alice", "old").await;
    let mut bob = login(transport, &server, "bob", "phone").await;
    let started = Instant::now();
    let mut second = login(transport, &server, "alice", "new").await;
    assert_eq!(first.expect_kickout().await.reason, 0);
    assert!(started.elapsed() < Duration::from_secs(3));
    bob.say("alice", "to the new one").await;
    assert_eq!(second.next().await.unwrap().cmd, CmdId::C2C_PUSH);
}

pub async fn a_login_whose_link_is_gone_leaves_no_route(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = transport.connect(&server).await;
    link.ask(CmdId::AUTH, &credentials("slow", "phone")).await;
    tokio::time::sleep(SLOWLY / 3).await;
    drop(link);
    eventually("the link is gone", async || server.connections() == 0).await;
    tokio::time::sleep(SLOWLY).await;
    eventually("the route is gone", async || {
        let routes = &server.logic().ports().routes;
        routes.find(vec![Uid::new("slow").unwrap()]).await.unwrap()[0].is_empty()
    })
    .await;
}

pub async fn a_login_that_was_evicted_without_a_kick_is_found_out(transport: &impl Transport) {
    let limits = gate(|limits| limits.audit = Duration::from_millis(100));
    let server = start(transport, server().gate_limits(limits)).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    let elsewhere = Route {
        uid: Uid::new("alice").unwrap(),
        device: DeviceId::default(),
        device_type: DeviceType::UNSPECIFIED,
        conn: ConnId(1),
        node: NodeId(7),
        epoch: LoginEpoch::default(),
        since: Timestamp(0),
    };
    server.logic().ports().routes.register(elsewhere, KickPolicy::SameDeviceType).await.unwrap();
    assert_eq!(link.expect_kickout().await.reason, 0);
}

pub async fn a_link_that_logs_out_is_answered_and_closed(transport: &impl Transport) {
    let server = start(transport, server()).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    link.ask(CmdId::LOGOUT, &LogoutRequest::default()).await;
    let response: LogoutResponse = link.expect(CmdId::LOGOUT).await;
    assert_eq!(response, LogoutResponse::default());
    link.expect_end().await;
}
