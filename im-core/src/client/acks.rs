use std::time::Duration;

use crate::id::Version;
use crate::time::Tick;

/// Which versions the server has been told of on this link, and when it may be told again. An ack is cumulative, so many
/// applied entries make one.
#[derive(Debug)]
pub(super) struct Acks {
    delay: Duration,
    acked: Version,
    last_at: Option<Tick>,
    repeat: bool,
}

impl Acks {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, acked: Version::ZERO, last_at: None, repeat: false }
    }

    /// Whether the last ack of the old link arrived is unknown, so the new one says it again.
    pub(super) fn link_opened(&mut self) {
        self.acked = Version::ZERO;
        self.repeat = false;
    }

    /// A pull's offset said it.
    pub(super) fn said_by_pull(&mut self, offset: Version) {
        self.acked = self.acked.max(offset);
        self.repeat = false;
    }

    /// The server pushed again what the device holds: it does not know.
    pub(super) fn say_again(&mut self) {
        self.repeat = true;
    }

    /// There will be no later: what is due is due at once.
    pub(super) fn hurry(&mut self) {
        self.last_at = None;
    }

    /// When to ack, if there is something to ack.
    pub(super) fn due(&self, applied: Version) -> Option<Tick> {
        let news = applied > self.acked || (self.repeat && applied > Version::ZERO);
        news.then(|| self.last_at.map_or(Tick::default(), |at| at + self.delay))
    }

    /// The version to ack now, if it is time.
    pub(super) fn take(&mut self, now: Tick, applied: Version) -> Option<Version> {
        self.due(applied).filter(|due| *due <= now)?;
        *self = Self { delay: self.delay, acked: applied, last_at: Some(now), repeat: false };
        Some(applied)
    }
}
