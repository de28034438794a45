use std::time::Duration;

/// The bounds of every session. Change what you need of [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLimits {
    /// From the connection to the end of auth. Default 10 s: a mobile network's worst round trips, thrice.
    pub auth_deadline: Duration,
    /// Between two frames of a client that announced no heartbeat. Default 630 s, because Mars' smart heartbeat
    /// probes up to 580 s.
    pub idle: Duration,
    /// What a client is given on top of one and a half times the heartbeat that it announced. Default 10 s.
    pub heartbeat_grace: Duration,
    /// From a kick to the closing of the link, for replies that are on their way. Default 3 s.
    pub kick_grace: Duration,
    /// Requests without a reply; the link is not read beyond them. Default 1,024.
    pub requests_in_flight: u32,
    /// Bytes of requests without a reply; the link is not read beyond them. Default 2 MiB, so that the largest frame always
    /// has room.
    pub bytes_in_flight: u32,
    /// Frames a second before the login, which needs one; the link is not read faster. Default 10. Anyone may open links, and
    /// what those without a login ask for must not keep the others waiting.
    pub frames_per_second_before_auth: u32,
    /// Frames at once before the login. Default 16.
    pub burst_before_auth: u32,
    /// Frames a second, sustained; the link is not read faster. Default 20,000: high, since it is the store's share of a single link
    /// that this protects.
    pub frames_per_second: u32,
    /// Frames at once before that rate counts. Default 2,000.
    pub burst: u32,
    /// Rooms that a link is in at one time. Default 16: an app shows one or two.
    pub rooms: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            auth_deadline: Duration::from_secs(10),
            idle: Duration::from_secs(630),
            heartbeat_grace: Duration::from_secs(10),
            kick_grace: Duration::from_secs(3),
            requests_in_flight: 1_024,
            bytes_in_flight: 2 << 20,
            frames_per_second_before_auth: 10,
            burst_before_auth: 16,
            frames_per_second: 20_000,
            burst: 2_000,
            rooms: 16,
        }
    }
}

impl SessionLimits {
    /// The idle limit of a client that announced `heartbeat_seconds`; 0 or less for none.
    pub fn idle_for(&self, heartbeat_seconds: i32) -> Duration {
        match u64::try_from(heartbeat_seconds) {
            Ok(seconds) if seconds > 0 => {
                (Duration::from_millis(seconds.saturating_mul(1_500)) + self.heartbeat_grace).min(self.idle)
            }
            _ => self.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_heartbeat_shortens_the_idle_limit_and_a_longer_one_does_not_lengthen_it() {
        let limits = SessionLimits::default();
        assert_eq!(limits.idle_for(0), Duration::from_secs(630));
        assert_eq!(limits.idle_for(-1), Duration::from_secs(630));
        assert_eq!(limits.idle_for(60), Duration::from_secs(100));
        assert_eq!(limits.idle_for(i32::MAX), Duration::from_secs(630));
    }
}
