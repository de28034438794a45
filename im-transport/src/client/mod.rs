//! The client over TCP: drives [`im_core::client::Client`] with sockets, timers and a [`LocalStore`].
//!
//! [`Client::connect`] starts a task that keeps one link to the server, through failures and restarts, until [`Client::stop`], or until the server
//! says that it is no use. Messages go in by [`Client::send`]; what the user's timeline brings comes out of [`Events`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use im_core::client::{ClientConfig, MemoryLocalStore, Outgoing};
//! use im_core::id::{DeviceId, Uid};
//! use im_core::message::ContentType;
//! use im_transport::client::{Client, ClientOptions, new_message_id};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClientConfig::new(Uid::new("alice")?, "her token", DeviceId::new("laptop")?);
//! let store = Arc::new(MemoryLocalStore::new());
//! let (client, _events) = Client::connect(ClientOptions::new("127.0.0.1:9000"), config, store).await?;
//! let message = Outgoing {
//!     client_msg_id: new_message_id(),
//!     to: Uid::new("bob")?,
//!     content_type: ContentType(0),
//!     content: "hello".into(),
//! };
//! let receipt = client.send(message).await?.await?;
//! println!("stored as {}", receipt.msgid);
//! client.stop().await;
//! # Ok(())
//! # }
//! ```

mod driver;
mod handle;
mod link;
mod options;
mod work;

use std::time::Duration;

use im_core::client::{EndReason, LocalEntry, Receipt, Rejection, RoomEvent};
use im_core::id::{ClientMsgId, StoreEpoch, Version};
use im_core::storage::StoreError;
use im_proto::Frame;

#[cfg(doc)]
use im_core::client::LocalStore;

pub use handle::{Client, Events, Sending};
pub use options::{ClientOptions, Confirm};

/// What happens to the client, in order. If nobody takes events, those of links, rooms and other frames are dropped first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It is logged in.
    LoggedIn {
        /// The newest version of the user's timeline.
        head: Version,
    },
    /// It has no link, and tries again after this time.
    Offline {
        /// Until the next try.
        retry_in: Duration,
    },
    /// The server's store lost acknowledged messages, and versions begin anew. What the device has is not shown again; it gets its new versions in the
    /// local store, and what the server lost stays there as [`earlier`](LocalStore::earlier). A device that holds nothing yet does not hear of it.
    EpochBegan(StoreEpoch),
    /// New entries of the timeline, each once, in version order.
    Entries {
        /// What their versions belong to.
        epoch: StoreEpoch,
        /// The entries. Empty where only the cursor moved.
        entries: Vec<LocalEntry>,
        /// What the device holds everything up to, once these are applied.
        cursor: Version,
    },
    /// A message that an earlier process had left unsent is durable at the server.
    Acked(Receipt),
    /// A message that an earlier process had left unsent was refused for good.
    Rejected(Rejection),
    /// Something happened in a room.
    Room(RoomEvent),
    /// A push or a reply that the client has no use for: from a business server, or of the integrator's own command.
    Other(Frame),
    /// The client is at its end. Nothing follows.
    Ended(Ended),
}

/// Why the client is at its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The protocol's reasons: stopped, logged out, refused, kicked.
    #[error(transparent)]
    Client(#[from] EndReason),
    /// The local store failed in a way that no retry heals.
    #[error("the local store failed")]
    Store(#[from] StoreError),
}

/// Why a message was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server refused it for good.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It does not fit in a frame.
    #[error("the message is larger than a frame")]
    TooLarge,
    /// The client ended first. If the message was enqueued in the local store, the next process sends it.
    #[error("the client ended before the message was acknowledged")]
    Ended(#[source] Ended),
    /// The client's task is gone: its runtime was shut down.
    #[error("the client's task is gone")]
    Gone,
}

/// A new message id: 128 random bits in hexadecimal.
///
/// # Panics
/// If the operating system has no random numbers to give, as on a machine that is still booting without an entropy source.
pub fn new_message_id() -> ClientMsgId {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system gives random numbers");
    let text = format!("{:032x}", u128::from_be_bytes(random));
    ClientMsgId::new(&text).expect("32 bytes are within the bound of an id")
}
