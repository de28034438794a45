//! Identifiers, each its own type, so that none is taken for another.
//!
//! Text ids ([`Uid`], [`DeviceId`], [`ClientMsgId`], [`RoomId`]) are cheap to clone and bounded in length where they enter the
//! system; number ids are plain 64-bit values. [`MsgIds`] makes the numbers that must never repeat.

mod generator;
mod number;
mod text;

pub use generator::{IdsExhausted, MsgIds};
pub use number::{ConnId, DeviceType, GroupId, LoginEpoch, MsgId, NodeId, StoreEpoch, Version};
pub use text::{ClientMsgId, DeviceId, IdError, RoomId, Uid};
