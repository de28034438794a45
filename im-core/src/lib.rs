//! The heart of an instant-messaging server: ids, time, the message; state machines without a clock, a socket or a
//! task; the traits that storage and routing adapters implement; and the use-cases over those traits.
//!
//! Nothing here opens a socket, reads a clock or spawns a task. `im-transport` drives it over real links, `im-store`
//! keeps its timelines in a database, and the simulation under [`testing`] runs whole clusters of it in one thread.
//!
//! | room | holds |
//! |---|---|
//! | [`id`], [`time`], [`message`] | the vocabulary: newtypes, the message, the timeline entry |
//! | [`session`] | one link's life on the server, as a state machine |
//! | [`client`] | the client's side, as a state machine |
//! | [`delivery`] | who has not acknowledged yet, and when to do something about it |
//! | [`fanout`] | which links hear of a stored message |
//! | [`storage`] | the [`Store`](storage::Store) traits with their contracts |
//! | [`router`] | [`Routes`](router::Routes) and [`Bus`](router::Bus): where users are, and how to reach their gates |
//! | [`ports`] | the outside world: authenticator, clock, wake-up |
//! | [`logic`] | the use-cases, one file each |
//! | [`memory`] | reference adapters, for one process and for tests |
#![cfg_attr(feature = "testing", doc = "| [`testing`] | conformance suites, the simulated cluster |")]

pub mod client;
pub mod delivery;
pub mod fanout;
pub mod id;
pub mod logic;
pub mod memory;
pub mod message;
pub mod ports;
pub mod router;
pub mod session;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
