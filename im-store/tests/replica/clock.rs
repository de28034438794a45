use std::time::Instant;

use futures::future::BoxFuture;
use im_core::ports::Clock;
use im_core::time::{Tick, Timestamp};

/// The runtime's time.
pub(crate) struct RealClock(Instant);

impl Default for RealClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn tick(&self) -> Tick {
        Tick::default() + self.0.elapsed()
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_000_000) + self.0.elapsed()
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(deadline.since(self.tick())))
    }
}
