//! What the library asks of the world outside: who may log in, what time it is, how to wake a phone, who
//! may do what only one may do.

mod authenticator;
mod clock;
mod lock;
mod rooms;
mod wake_up;

pub use authenticator::{AuthError, Authenticator, Credentials, Identity};
pub use clock::Clock;
pub use lock::{FencingToken, LockError, LockLease, Locks};
pub use rooms::{OpenRooms, RoomEntry, RoomPolicy, RoomWord};
pub use wake_up::{LogWakeUp, WakeUp, WakeUpError};
