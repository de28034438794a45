use async_trait::async_trait;

use super::StoreError;
use crate::id::{DeviceId, Uid, Version};
use crate::message::TimelineId;

/// A device says: I hold everything up to this version of this timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorAck {
    /// Whose device.
    pub uid: Uid,
    /// Which device.
    pub device: DeviceId,
    /// Of which timeline: the user's own, or a group's.
    pub timeline: TimelineId,
    /// Up to where, inclusive.
    pub version: Version,
}

/// Where one device is in a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which device.
    pub device: DeviceId,
    /// It holds everything up to this version.
    pub version: Version,
}

/// Devices of one user that [`Cursors::cursors`] lists at most. A client names its devices as it likes, and one user's must not make
/// the look-up for all others late.
pub const MAX_CURSORS: usize = 1_000;

/// What each device acknowledged, by (user, device, timeline). Nothing is read back to a client from here: cursors decide
/// whom to hint and wake, and what a receipt says.
#[async_trait]
pub trait Cursors: Send + Sync + 'static {
    /// Moves cursors.
    ///
    /// # Contract
    /// - There is one answer for each acknowledgement, in order.
    /// - A cursor becomes the greater of what it was (0 at first) and what is acknowledged; it never goes back.
    /// - An acknowledgement above the timeline's head is refused with `AheadOfHead` and changes nothing.
    /// - Durable when answered `Ok`, like an append.
    ///
    /// # Atomicity
    /// Each acknowledgement has its own answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each cursor moved or not. Repeating is harmless.
    ///
    /// # Errors
    /// Per acknowledgement: `AheadOfHead`; `Unavailable`, `Corrupt`.
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>>;

    /// The cursors of the devices of users in timelines.
    ///
    /// # Contract
    /// - One list for each pair asked, in order, sorted by device; a device that never acknowledged is not listed.
    /// - A list has the first [`MAX_CURSORS`] devices at most.
    /// - What `ack` answered `Ok` before this call began is seen by it.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError>;
}
