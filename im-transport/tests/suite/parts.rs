//! Parts for servers under test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use im_core::logic::{Command, Logic};
use im_core::memory::MemoryStore;
use im_core::ports::{AuthError, Authenticator, Credentials, Identity};
use im_core::session::{Reply, Request, SessionLimits};
use im_core::time::Timestamp;
use im_proto::CmdId;
use im_transport::gate::GateLimits;
use im_transport::{Server, ServerBuilder};

/// Answers with what it was sent.
pub const ECHO: CmdId = CmdId(2_000);

/// Does so after [`SLOWLY`].
pub const SLOW_ECHO: CmdId = CmdId(2_001);

/// Never answers.
pub const BLACK_HOLE: CmdId = CmdId(2_002);

/// Panics.
pub const PANICS: CmdId = CmdId(2_003);

/// What a slow part takes.
pub const SLOWLY: Duration = Duration::from_millis(300);

/// Takes a user's name for their token. The user `slow` is let in slowly; `panics` finds a bug.
struct NameIsToken;

#[async_trait]
impl Authenticator for NameIsToken {
    async fn authenticate(&self, credentials: &Credentials, _now: Timestamp) -> Result<Identity, AuthError> {
        if credentials.token != credentials.uid.as_str() {
            return Err(AuthError::Refused("not the user's name"));
        }
        assert_ne!(credentials.token, "panics", "as the test wants it");
        if credentials.token == "slow" {
            tokio::time::sleep(SLOWLY).await;
        }
        Ok(Identity { uid: credentials.uid.clone(), expires_at: None })
    }
}

/// Answers with what it was sent, after a time.
struct Echo(Duration);

#[async_trait]
impl Command for Echo {
    async fn serve(&self, _: &Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
        tokio::time::sleep(self.0).await;
        requests.iter().map(|request| request.reply(request.body.clone())).collect()
    }
}

/// A handler with a bug.
struct Panics;

#[async_trait]
impl Command for Panics {
    async fn serve(&self, _: &Arc<Logic>, _: Vec<Request>) -> Vec<Reply> {
        panic!("as the test wants it");
    }
}

/// A server over memory, without a listener.
pub fn server() -> ServerBuilder {
    Server::builder()
        .store(Arc::new(MemoryStore::default()))
        .authenticator(Arc::new(NameIsToken))
        .command(ECHO, Arc::new(Echo(Duration::ZERO)))
        .command(SLOW_ECHO, Arc::new(Echo(SLOWLY)))
        .command(BLACK_HOLE, Arc::new(Echo(Duration::from_secs(3_600))))
        .command(PANICS, Arc::new(Panics))
        .shards(2)
}

/// Session limits that differ from the default.
pub fn session(change: impl FnOnce(&mut SessionLimits)) -> SessionLimits {
    let mut limits = SessionLimits::default();
    change(&mut limits);
    limits
}

/// Gate limits that differ from the default.
pub fn gate(change: impl FnOnce(&mut GateLimits)) -> GateLimits {
    let mut limits = GateLimits::default();
    change(&mut limits);
    limits
}

/// Waits until something is so; fails after ten seconds.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
