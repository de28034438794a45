//! The transport suite over TCP.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use im_transport::{Server, ServerBuilder};
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
