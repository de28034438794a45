//! The part of an instant-messaging server that touches sockets: listeners, the gate that drives [`im_core`]'s sessions over them, the
//! composition of a server, and the client.
//!
//! # A server of your own
//!
//! A server is put together from parts. Three have no default, because they are what differs from one system to the next: the store, who
//! may log in, and where it listens.
#![cfg_attr(
    all(feature = "server", feature = "jwt"),
    doc = r#"
```no_run
use std::sync::Arc;

use im_core::memory::MemoryStore;
use im_transport::Server;
use im_transport::jwt::{JwtAuthenticator, JwtSecret};

# #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
// The user centre signs tokens with the same secret.
let secret = JwtSecret::new(std::env::var("SECRET")?)?;

let server = Server::builder()
    .store(Arc::new(MemoryStore::default())) // im_store::log::LogStore keeps what it is given
    .authenticator(Arc::new(JwtAuthenticator::new(&secret)))
    .tcp("0.0.0.0:9000")
    .start()
    .await?;
tracing::info!(address = ?server.tcp_addr(), "serves");

tokio::signal::ctrl_c().await?;
server.shutdown().await?;
# Ok(()) }
```

What else it is made of, [`ServerBuilder`] lists: the policy, the limits, where routes are kept, how a phone is woken, and commands of
your own, which are handlers for (command, bytes):

```
use std::sync::Arc;

use im_core::logic::{Command, Logic};
use im_core::session::{Reply, Request};

/// Answers with what it was sent.
struct Echo;

#[async_trait::async_trait]
impl Command for Echo {
    async fn serve(&self, _server: &Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
        requests.iter().map(|request| request.reply(request.body.clone())).collect()
    }
}
# let _builder =
im_transport::Server::builder().command(im_proto::CmdId(2_000), Arc::new(Echo));
```

The time that [`ServerBuilder::start`] takes is that of opening the listener and leasing a node number; when it returns, the server serves.
[`Server::shutdown`] sends the clients away, each told to come back after another random time, answers what they had asked, and stores
what receivers had acknowledged. A server that is killed instead loses nothing that was acknowledged to a sender: that is the store's
promise, not this crate's.

# What a link costs

An idle link has a session, a waker and a timer, and no buffer. Bytes are read into a piece of memory that all links of a shard share
and are decoded where they are; frames go out in one vectored write a wake-up. [`gate`] tells how a turn works, and
[`gate::GateLimits`] what it takes on at most: connections, frame sizes, bytes that wait for a slow reader, requests without an answer.

# What it tells

Everything that an operator should know goes to [`tracing`](https://docs.rs/tracing): `warn` and `error` for what somebody has to look at (a user
centre, a store or a bus that fails, each with its cause), `info` for who came and went, from where and why, in so many lines a second ([`gate`] says how many), `debug` for all of them. Install a subscriber to
see it. Nothing is counted yet but [`Server::connections`].

With `tracing_subscriber::fmt()`, say `.log_internal_errors(false)`. By default it complains on standard error of each line that
it cannot write. Where standard error is gone, or lies on a full disk, that complaint is a panic, and ends a part of the server.
And let nothing wait for whoever reads the log: a pipe that is full stops the server at its next line. Give the subscriber a writer that
drops what does not fit, such as `tracing_appender::non_blocking`.
"#
)]
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `server` | `Server`, the gate, TCP, the system's clock |
//! | `client` | `client::Client`: reconnects, resends until acknowledged, keeps its place in a local store |
//! | `jwt` | `jwt`: logins with JSON web tokens signed with HMAC-SHA256 |
//!
//! None is on by default.

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod gate;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod tcp;

#[cfg(feature = "server")]
pub use server::{Server, ServerBuilder, ServerError};

#[cfg(all(doctest, feature = "server", feature = "jwt"))]
#[doc = include_str!("../README.md")]
struct Readme;
