use std::time::Instant;

use crate::proc::Pid;

/// Reads what the server and this process use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    server: Option<Pid>,
}

/// The beginning of what is metered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    meter: Meter,
    at: Instant,
    server: Option<f64>,
    own: Option<f64>,
}

/// What was used from a span's start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    /// The server's CPU seconds, if it is known which process that is.
    pub(crate) cpu_s: Option<f64>,
    /// This process's CPU seconds.
    pub(crate) own_cpu_s: f64,
}

impl Meter {
    pub(crate) fn new(server: Option<Pid>) -> Self {
        Meter { server }
    }

    pub(crate) fn start(self) -> Span {
        let server = self.server.and_then(Pid::cpu_seconds);
        Span { meter: self, at: Instant::now(), server, own: Pid::own().cpu_seconds() }
    }
}

impl Span {
    pub(crate) fn end(&self) -> Usage {
        let now = self.meter.start();
        let difference = |before: Option<f64>, after: Option<f64>| Some(after? - before?);
        Usage {
            seconds: now.at.duration_since(self.at).as_secs_f64(),
            cpu_s: difference(self.server, now.server),
            own_cpu_s: difference(self.own, now.own).unwrap_or(0.0),
        }
    }
}
