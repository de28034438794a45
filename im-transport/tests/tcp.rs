//! The transport suite over TCP.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use std::time::{Duration, Instant};

use im_transport::{Server, ServerBuilder};
use suite::parts::server;
use suite::{Raw, Transport};
use tokio::net::TcpStream;

struct Tcp;

impl Transport for Tcp {
    fn listen(&self, builder: ServerBuilder) -> ServerBuilder {
        builder.tcp("127.0.0.1:0")
    }

    async fn connect(&self, server: &Server) -> Raw {
        let stream = TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw::new(stream)
    }
}

transport_suite!(Tcp);

/// A turn of the runtime that lasts, as one of thousands of logins does, keeps nobody from being accepted.
#[tokio::test]
async fn connections_are_accepted_while_the_runtime_is_busy() {
    let server = server().tcp("127.0.0.1:0").start().await.unwrap();
    let address = server.tcp_addr().unwrap();
    let links: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.connections() < links.len() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(server.connections(), links.len());
}

#[tokio::test]
async fn the_port_is_free_once_the_server_was_shut_down() {
    let first = server().tcp("127.0.0.1:0").start().await.unwrap();
    let address = first.tcp_addr().unwrap();
    first.shutdown().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let second = server().tcp(address.to_string()).start().await.unwrap();
    second.shutdown().await.unwrap();
}
