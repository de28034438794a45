use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::ports::Clock;
use im_core::time::{Tick, Timestamp};

/// A clock that stands still: no deadline comes, and the same steps are taken each time.
pub(super) struct Frozen;

impl Clock for Frozen {
    fn tick(&self) -> Tick {
        Tick::from_millis(1_000)
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_000_000)
    }

    fn sleep_until(&self, _: Tick) -> BoxFuture<'static, ()> {
        futures::future::pending().boxed()
    }
}
