//! What a server cannot be put together from.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::logic::{Command, Logic};
use im_core::logic::{Policy, Stranger};
use im_core::memory::{MemoryBus, MemoryRoutes, MemoryStore};
use im_core::session::{Reply, Request};
use im_proto::CmdId;
use im_transport::{Server, ServerBuilder, ServerError};
use suite::parts::{ECHO, server};

struct Nothing;

#[async_trait]
impl Command for Nothing {
    async fn serve(&self, _: &Arc<Logic>, _: Vec<Request>) -> Vec<Reply> {
        Vec::new()
    }
}

fn listening() -> ServerBuilder {
    server().tcp("127.0.0.1:0")
}

#[tokio::test]
async fn a_server_without_a_store_or_an_authenticator_does_not_start() {
    let missing = Server::builder().start().await.unwrap_err();
    assert_eq!(missing.to_string(), "the server needs .store(…) before it can start");
    let missing = Server::builder().store(Arc::new(MemoryStore::default())).start().await.unwrap_err();
    assert!(matches!(missing, ServerError::Missing("authenticator")));
}

#[tokio::test]
async fn commands_of_the_protocol_and_those_with_a_handler_are_taken() {
    for cmd in [CmdId::C2C_SEND, CmdId::NOOP, CmdId(7), ECHO] {
        let refused = server().command(cmd, Arc::new(Nothing)).start().await.unwrap_err();
        assert!(matches!(refused, ServerError::CommandTaken(taken) if taken == cmd), "{cmd}");
    }
    listening().command(CmdId::C2S, Arc::new(Nothing)).start().await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_is_named_in_the_error() {
    let refused = server().tcp("no-port").start().await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot listen on no-port");
}

#[tokio::test]
async fn a_server_that_listens_nowhere_does_not_start() {
    let refused = server().start().await.unwrap_err();
    assert!(matches!(refused, ServerError::NoListener), "{refused}");
}

#[tokio::test]
async fn shared_routes_need_a_shared_bus() {
    let routes = Arc::new(MemoryRoutes::default());
    let refused = listening().routes(routes.clone()).start().await.unwrap_err();
    assert!(matches!(refused, ServerError::RoutesWithoutBus), "{refused}");
    let bus = Arc::new(MemoryBus::default());
    listening().routes(routes).bus(bus).start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_name_another_one_takes_says_so_and_takes_no_more() {
    let store = Arc::new(MemoryStore::default());
    let mut policy = Policy::default();
    policy.node_lease = Duration::from_millis(1_500);
    let first = listening().store(store.clone()).name("one").policy(policy);
    let mut first = first.start().await.unwrap();
    let second = listening().store(store).name("one").start().await.unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(30), first.failed()).await.unwrap();
    assert!(matches!(failed, ServerError::Superseded));
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_server_of_a_store_without_shared_routes_does_not_start() {
    let store = Arc::new(MemoryStore::default());
    let mut policy = Policy::default();
    policy.node_lease = Duration::from_millis(1_500);
    let builder = |name: &str| listening().store(store.clone()).name(name).policy(policy.clone());
    let first = builder("one").start().await.unwrap();
    let refused = builder("two").start().await.unwrap_err();
    let stranger = Stranger::AtAnotherRouter { name: "one".to_owned() };
    assert!(matches!(&refused, ServerError::Company(told) if *told == stranger), "{refused}");
    // Renamed, it waits for its own old lease.
    first.shutdown().await.unwrap();
    builder("two").start().await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_store_begins_another_epoch_says_so_and_takes_no_more() {
    let store = Arc::new(MemoryStore::default());
    let mut policy = Policy::default();
    policy.node_lease = Duration::from_millis(1_500);
    let mut server = listening().store(store.clone()).policy(policy).start().await.unwrap();
    im_core::storage::Epochs::bump_epoch(&*store, im_core::time::Timestamp(1)).await.unwrap();
    let failed = tokio::time::timeout(Duration::from_secs(30), server.failed()).await.unwrap();
    assert!(matches!(failed, ServerError::EpochEnded), "{failed}");
    server.shutdown().await.unwrap();
}
