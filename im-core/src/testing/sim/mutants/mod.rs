//! Servers and clients that are wrong in one known way each, to show that the invariants catch it. All are wrappers: nothing in production
//! code knows of them.

mod ack_before_durable;
mod cursor_by_maximum;
mod dedupe_off;
mod forgetful_device;
mod numbering_before_dedupe;
mod order_not_kept;
mod renumber;
mod store;
mod version_reissued;

use std::fmt;
use std::sync::Arc;

use im_proto::Frame;

use super::store::{PlaceFn, SimStore};
use crate::memory::State;
use crate::session::{Reply, Request};
use crate::storage::Store;

/// Something that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// The store answers before what it stored is durable.
    AckBeforeDurable,
    /// The store does not recognise a repeat.
    DedupeOff,
    /// After a crash the store gives its last version again.
    VersionReissued,
    /// The store takes a version before it sees that a send is a repeat.
    NumberingBeforeDedupe,
    /// A client says that it holds everything up to the greatest version that it saw.
    CursorByMaximum,
    /// The server forgets which conversation of a link waits for a failed send.
    OrderNotKept,
    /// An operator restores the store and does not raise its epoch.
    EpochNotRaised,
    /// An operator who restores the store leaves leases where it has them.
    LeasesNotMoved,
    /// A device does not recognise what a restored store gives it again.
    ForgetfulDevice,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 9] = [
        Self::AckBeforeDurable,
        Self::DedupeOff,
        Self::VersionReissued,
        Self::NumberingBeforeDedupe,
        Self::CursorByMaximum,
        Self::OrderNotKept,
        Self::EpochNotRaised,
        Self::LeasesNotMoved,
        Self::ForgetfulDevice,
    ];

    pub(super) fn store(self) -> fn(Arc<SimStore>) -> Arc<dyn Store> {
        match self {
            Self::AckBeforeDurable => ack_before_durable::store,
            Self::VersionReissued => version_reissued::store,
            Self::NumberingBeforeDedupe => numbering_before_dedupe::store,
            Self::DedupeOff
            | Self::CursorByMaximum
            | Self::OrderNotKept
            | Self::EpochNotRaised
            | Self::LeasesNotMoved
            | Self::ForgetfulDevice => as_it_is,
        }
    }

    pub(super) fn setup(self) -> Setup {
        let sound = Setup::default();
        match self {
            Self::DedupeOff => Setup { place: dedupe_off::place, ..sound },
            Self::CursorByMaximum => Setup { clients: Box::<cursor_by_maximum::Clients>::default(), ..sound },
            Self::OrderNotKept => Setup { gate: Box::<order_not_kept::Gate>::default(), ..sound },
            Self::EpochNotRaised => Setup { raises_epoch: false, ..sound },
            Self::LeasesNotMoved => Setup { moves_leases: false, ..sound },
            Self::ForgetfulDevice => Setup { clients: Box::new(forgetful_device::Clients), ..sound },
            Self::AckBeforeDurable | Self::VersionReissued | Self::NumberingBeforeDedupe => sound,
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AckBeforeDurable => "ack before durable",
            Self::DedupeOff => "dedupe off",
            Self::VersionReissued => "version reissued",
            Self::NumberingBeforeDedupe => "numbering before dedupe",
            Self::CursorByMaximum => "cursor by maximum",
            Self::OrderNotKept => "order not kept",
            Self::EpochNotRaised => "epoch not raised",
            Self::LeasesNotMoved => "leases not moved",
            Self::ForgetfulDevice => "forgetful device",
        })
    }
}

/// The store without a wrapper.
pub(super) fn as_it_is(store: Arc<SimStore>) -> Arc<dyn Store> {
    store
}

/// Where a mutant reaches into a world.
pub(super) struct Setup {
    pub(super) place: PlaceFn,
    pub(super) gate: Box<dyn GateTap>,
    pub(super) clients: Box<dyn ClientTap>,
    /// Whether an operator who restores the store raises its epoch.
    pub(super) raises_epoch: bool,
    /// Whether leases move with the epoch.
    pub(super) moves_leases: bool,
}

impl Default for Setup {
    /// Nothing is wrong.
    fn default() -> Self {
        Self {
            place: State::append,
            gate: Box::new(Straight),
            clients: Box::new(Straight),
            raises_epoch: true,
            moves_leases: true,
        }
    }
}

/// Between a session and the logic.
pub(super) trait GateTap {
    fn request(&mut self, request: Request) -> Request {
        request
    }

    fn reply(&mut self, reply: Reply) -> Reply {
        reply
    }
}

/// Between a client and its link, or its local store.
pub(super) trait ClientTap {
    /// Whether it takes a message for one that it has, when its local store says so or not.
    fn recognises(&self, known: bool) -> bool {
        known
    }

    fn hears(&mut self, _device: usize, _frame: &Frame) {}

    fn says(&mut self, _device: usize, frame: Frame) -> Frame {
        frame
    }
}

struct Straight;

impl GateTap for Straight {}
impl ClientTap for Straight {}
