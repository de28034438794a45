use std::task::Waker;

use bytes::Bytes;

use crate::router::Delivery;

/// A link, by its place among all that the world ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// One life of a server process: a restart is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerLife {
    pub(super) server: usize,
    pub(super) life: u64,
}

/// One life of the process on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeviceLife {
    pub(super) device: usize,
    pub(super) life: u64,
}

/// One run of the tool that moves buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MoverLife {
    pub(super) mover: usize,
    pub(super) life: u64,
}

/// The two ends of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

/// What comes out of a link at one of its ends.
#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Bytes),
    /// The other end closed the link, after all it wrote.
    Fin,
}

/// What is to happen.
#[derive(Debug)]
pub(super) enum Event {
    Wake(Waker),
    Store(StoreEvent),
    /// A batch on the bus arrives; the number is its place among those published.
    Parcels(Vec<Delivery>, u64),
    StartServer(usize),
    /// A paused server process goes on.
    Resume(ServerLife),
    /// A server that was taken down has had its time.
    EndServer(ServerLife),
    CrashServer(ServerLife),
    Turn(ServerLife),
    CheckEvicted(ServerLife),
    /// Something comes out at this end of a link.
    Arrives(LinkId, End, Segment),
    /// This end learns that the link broke.
    Breaks(LinkId, End),
    SessionTimer(LinkId),
    ReadAgain(LinkId),
    StartDevice(usize),
    /// A device's try to connect succeeds or fails.
    Connects(DeviceLife, bool),
    ClientTimer(DeviceLife),
    DiskWrite(DeviceLife),
    Burst,
    /// Somebody moves buckets.
    StartMover(usize),
    /// That process ends.
    CrashMover(MoverLife),
    /// The operator saves what the store holds.
    Backup,
    /// The operator brings that back: the store loses what it took since.
    Restore,
    Hostile(usize),
    Fault,
    Heal,
    /// Looks whether everything has come to rest.
    Settle,
}

/// What happens inside the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum StoreEvent {
    /// A sync that was started in this life of the shard is done.
    Synced { shard: usize, life: u64 },
    /// Takes pending copies from this shard to their receivers' shard.
    Relay { shard: usize },
    /// The shard starts again.
    Restart { shard: usize },
}
