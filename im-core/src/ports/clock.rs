use futures::future::BoxFuture;

use crate::time::{Tick, Timestamp};

/// The time, and waiting for it. The only way in which use-cases learn of either.
pub trait Clock: Send + Sync + 'static {
    /// The monotonic time.
    fn tick(&self) -> Tick;

    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Ends at `deadline`, or at once if that has passed. Dropping it cancels the wait.
    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()>;
}
