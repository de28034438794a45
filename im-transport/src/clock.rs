//! The machine's clocks as the use-cases see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::ports::Clock;
use im_core::time::{Tick, Timestamp};
use tokio::time::Instant;

/// [`Clock`] over tokio's timer and the system's time of day. A paused tokio runtime pauses its ticks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose ticks count from now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn tick(&self) -> Tick {
        Tick::default() + self.start.elapsed()
    }

    fn now(&self) -> Timestamp {
        // Before 1970 there was no chat.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default() + since
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        // A deadline beyond what an Instant can carry is no deadline.
        match self.start.checked_add(Duration::from_nanos(deadline.0)) {
            Some(at) => tokio::time::sleep_until(at).boxed(),
            None => futures::future::pending().boxed(),
        }
    }
}
