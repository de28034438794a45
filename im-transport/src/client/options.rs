use std::time::Duration;

/// Who says that received entries are durable on this device, so that they may be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirm {
    /// The local store alone: entries are applied to it, acknowledged, and then come out of [`Events`](super::Events).
    #[default]
    Store,
    /// The application, by [`Client::applied`](super::Client::applied), after which they are applied to the local store and acknowledged. For
    /// applications that do something with an entry that must not be lost: print it, index it, hand it on. What it has not confirmed holds another
    /// [epoch](super::Event::EpochBegan) off.
    Application,
}

/// How to reach the server. Begin with [`new`](Self::new) and change what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// `HOST:PORT`; a name is resolved again for every link.
    pub server: String,
    /// How long a link may take to open. Default 10 s (Mars, `kLonglinkConnTimeout`).
    pub connect_timeout: Duration,
    /// Who confirms entries. Default [`Confirm::Store`].
    pub confirm: Confirm,
    /// Events that may wait to be taken; beyond them, entries stay with the server. Default 64.
    pub events: usize,
}

impl ClientOptions {
    /// The defaults for this server.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            connect_timeout: Duration::from_secs(10),
            confirm: Confirm::default(),
            events: 64,
        }
    }
}
