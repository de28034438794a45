//! Who came, who went and who was turned away: lines for an operator, so many a second.
//!
//! All of them go to the log at `debug`. At `info`, and at `warn` where the server is at fault, a flood of logins or of
//! attempts is a few lines a second and a count of the others. What a client says of itself is quoted: a line break in a user's
//! name begins no line.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use im_core::id::ConnId;
use im_core::rate_limited_log::RateLimitedLog;
use im_core::session::{Caller, CloseReason};
use im_core::time::Tick;
use im_proto::ErrorCode;

use super::admission::Refusal;
use super::link::Cut;

/// Lines a second of a kind that a storm of reconnecting clients brings.
const COMINGS: u32 = 20;

/// Lines a second of a kind that an attack brings.
const ATTEMPTS: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Writes the lines about all of a gate's links.
#[derive(Debug)]
pub(crate) struct AccessLog {
    logins: Kind,
    leaves: Kind,
    refusals: Kind,
    failures: Kind,
    strangers: Kind,
    connections: Kind,
}

/// Lines of one kind.
#[derive(Debug)]
struct Kind {
    what: &'static str,
    log: RateLimitedLog,
}

/// Who is at the other end of a link.
#[derive(Debug)]
pub(super) struct Guest {
    address: SocketAddr,
    link: ConnId,
    /// Who it says it is.
    caller: Option<Arc<Caller>>,
    /// When it was let in.
    since: Option<Tick>,
}

/// Why a link ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The session closed it.
    Closed(CloseReason),
    /// The gate did.
    Cut(Cut),
}

/// Writes a line at this level, or, if there were too many, at `debug`.
macro_rules! line {
    ($kind:expr, $now:expr, $level:ident, $($line:tt)+) => {
        if $kind.admits($now) { tracing::$level!($($line)+) } else { tracing::debug!($($line)+) }
    };
}

impl Default for AccessLog {
    fn default() -> Self {
        let kind = |what, lines| Kind { what, log: RateLimitedLog::new(lines, SECOND) };
        Self {
            logins: kind("logged in", COMINGS),
            leaves: kind("left", COMINGS),
            refusals: kind("login refused", ATTEMPTS),
            // All have one cause, and everybody comes again while it lasts.
            failures: kind("login failed", 1),
            strangers: kind("closed without a login", ATTEMPTS),
            connections: Kind { what: "connection refused", log: RateLimitedLog::default() },
        }
    }
}

impl AccessLog {
    /// A client is let in.
    pub(super) fn logged_in(&self, now: Tick, guest: &mut Guest) {
        guest.since = Some(now);
        let Some(caller) = &guest.caller else { return };
        line!(
            self.logins,
            now,
            info,
            user = ?caller.uid.as_str(),
            device = ?caller.device.as_str(),
            device_type = caller.device_type.0,
            address = %guest.address,
            link = %guest.link,
            "logged in"
        );
    }

    /// A client is not let in, for a cause that it need not know.
    pub(super) fn refused(&self, now: Tick, guest: &Guest, code: ErrorCode, cause: &str) {
        let Some(caller) = &guest.caller else { return };
        let (user, device) = (caller.uid.as_str(), caller.device.as_str());
        let (address, link) = (&guest.address, guest.link);
        if code == ErrorCode::Unavailable {
            line!(self.failures, now, warn, ?user, ?device, %address, %link, cause, "login failed");
        } else {
            line!(self.refusals, now, info, ?user, ?device, %address, %link, cause, "login refused");
        }
    }

    /// A link is over.
    pub(super) fn ended(&self, now: Tick, guest: &Guest, end: End) {
        match (&guest.caller, guest.since) {
            (Some(caller), Some(since)) => line!(
                self.leaves,
                now,
                info,
                user = ?caller.uid.as_str(),
                device = ?caller.device.as_str(),
                device_type = caller.device_type.0,
                address = %guest.address,
                link = %guest.link,
                after = %Seconds(now.since(since)),
                why = ?end.to_string(),
                "left"
            ),
            // That was told with its cause.
            (Some(_), None) if matches!(end, End::Closed(CloseReason::Refused)) => {}
            (None, _) if end.is_ordinary() => {
                let (address, link) = (&guest.address, guest.link);
                tracing::debug!(%address, %link, why = ?end.to_string(), "closed without a login");
            }
            (caller, None) => line!(
                self.strangers,
                now,
                info,
                user = caller.as_ref().map(|caller| tracing::field::debug(caller.uid.as_str())),
                address = %guest.address,
                link = %guest.link,
                why = ?end.to_string(),
                "closed without a login"
            ),
            (None, Some(_)) => {}
        }
    }

    /// A connection is not taken.
    pub(crate) fn turned_away(&self, now: Tick, address: SocketAddr, why: Refusal) {
        line!(self.connections, now, warn, %address, why = ?why.to_string(), "connection refused");
    }

    /// Counts what was left out by now, if no line has done so.
    pub(crate) fn tell_left_out(&self, now: Tick) {
        for kind in
            [&self.logins, &self.leaves, &self.refusals, &self.failures, &self.strangers, &self.connections]
        {
            kind.tell(kind.log.left_out(now));
        }
    }
}

impl Kind {
    fn admits(&self, now: Tick) -> bool {
        let left_out = self.log.admit(now);
        self.tell(left_out.unwrap_or_default());
        left_out.is_some()
    }

    fn tell(&self, count: u64) {
        if count > 0 {
            tracing::info!(count, "{}, not listed", self.what);
        }
    }
}

impl Guest {
    /// Somebody who has said nothing yet.
    pub(super) fn new(address: SocketAddr, link: ConnId) -> Self {
        Self { address, link, caller: None, since: None }
    }

    /// The client says who it is.
    pub(super) fn claims(&mut self, caller: Arc<Caller>) {
        self.caller = Some(caller);
    }
}

impl End {
    /// Whether links without a login end so in ordinary times: load balancers look whether a port is open, and servers stop.
    fn is_ordinary(self) -> bool {
        matches!(
            self,
            Self::Cut(Cut::Gone | Cut::Broken | Cut::Stopped) | Self::Closed(CloseReason::Kicked(_))
        )
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => reason.fmt(f),
            Self::Cut(cut) => cut.fmt(f),
        }
    }
}

/// A time in seconds, with a digit behind the point.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}s", self.0.as_secs_f64())
    }
}
