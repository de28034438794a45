//! The heart of an instant-messaging server: ids, time, the message; state machines without a clock, a socket or a
//! task; the traits that storage and routing adapters implement; and the use-cases over those traits.
//!
//! Nothing here opens a socket, reads a clock or spawns a task. `im-transport` drives it over real links, `im-store`
//! keeps its timelines on a disk, and the simulation under [`testing`] runs whole clusters of it in one thread.
//!
//! | room | holds |
//! |---|---|
//! | [`id`], [`time`], [`message`] | the vocabulary: newtypes, the message, the timeline entry |
//! | [`session`] | one link's life on the server, as a state machine |
//! | [`client`] | the client's side, as a state machine |
//! | [`delivery`] | who has not acknowledged yet, and when to do something about it |
//! | [`fanout`] | which links hear of a stored message |
//! | [`storage`] | the [`Store`](storage::Store) traits with their contracts |
//! | [`transfer`] | copying a store into another, and comparing two |
//! | [`router`] | [`Routes`](router::Routes) and [`Bus`](router::Bus): where users are, and how to reach their gates |
//! | [`ports`] | the outside world: authenticator, clock, wake-up, room policy, locks, commands of your own |
//! | [`logic`] | the use-cases, one file each |
//! | [`rate_limited_log`] | log lines that a flood must not multiply |
//! | [`memory`] | reference adapters, for one process and for tests |
#![cfg_attr(feature = "testing", doc = "| [`testing`] | conformance suites, the simulated cluster |")]
//!
//! # A link, by hand
//!
//! A state machine takes inputs with the time and gives effects. Here is a link's first frame, a login:
//!
//! ```
//! use std::sync::Arc;
//! use im_core::id::{ConnId, LoginEpoch, NodeId, StoreEpoch, Version};
//! use im_core::session::{Effect, Granted, Input, Session, SessionLimits, Verdict};
//! use im_core::time::{Tick, Timestamp};
//! use im_proto::{CmdId, Frame, Seq, v1::AuthRequest};
//! use prost::Message;
//!
//! let limits = Arc::new(SessionLimits::default());
//! let mut session = Session::new(ConnId(1), NodeId(0), limits, Tick::from_millis(0));
//! let mut effects = Vec::new();
//!
//! let auth = AuthRequest { uid: "alice".into(), token: "secret".into(), ..AuthRequest::default() };
//! let body = auth.encode_to_vec().into();
//! let frame = Frame { client_version: 200, cmd: CmdId::AUTH, seq: Seq(1), body };
//! session.handle(Tick::from_millis(5), Input::Frame(frame), &mut effects);
//!
//! // The session asks; whoever drives it answers, with Logic::login in a server.
//! assert!(matches!(effects.pop(), Some(Effect::Login(login)) if login.caller.uid.as_str() == "alice"));
//! let granted = Granted {
//!     head: Version(0),
//!     server_time: Timestamp(0),
//!     epoch: StoreEpoch(0),
//!     expires_at: None,
//!     login: LoginEpoch(1),
//! };
//! session.handle(Tick::from_millis(9), Input::Verdict(Verdict::Granted(granted)), &mut effects);
//! assert!(matches!(&effects[..], [Effect::Write(frame)] if frame.seq == Seq(1)));
//! assert!(session.caller().is_some());
//! ```
//!
//! # Where to go from here
//!
//! - To run a server, take `im-transport`'s `Server::builder()`; it joins all of this.
//! - To write a storage adapter, read [`storage`], implement its five traits and run the suite under `testing`.
//! - To see what is promised and why it holds, read `docs/delivery.md` in the repository.

pub mod client;
pub mod delivery;
pub mod fanout;
pub mod id;
pub mod logic;
pub mod memory;
pub mod message;
mod pieces;
pub mod ports;
pub mod rate_limited_log;
pub mod router;
pub mod session;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod transfer;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
