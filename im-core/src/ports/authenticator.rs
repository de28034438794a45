use async_trait::async_trait;

use crate::id::{DeviceId, DeviceType, Uid};
use crate::time::Timestamp;

/// What a client shows at login.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it says it is.
    pub uid: Uid,
    /// The token that its user centre gave it.
    pub token: String,
    /// Its device.
    pub device: DeviceId,
    /// Its device's type.
    pub device_type: DeviceType,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the token out, so that it gets into no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("uid", &self.uid)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user that the token speaks for. Login is refused unless it is the one that the client names.
    pub uid: Uid,
    /// When the token ends; the link is closed then. `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// Why nobody was authenticated.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The token is forged, malformed, expired or revoked.
    #[error("{0}")]
    Refused(&'static str),
    /// The user centre could not be asked. The client retries.
    #[error("the user centre is unavailable")]
    Unavailable(#[source] Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>),
}

/// Tells who a token speaks for.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a token. `now` is the time to check its validity against.
    ///
    /// # Errors
    /// [`AuthError::Refused`] closes the link; [`AuthError::Unavailable`] lets the client retry.
    async fn authenticate(&self, credentials: &Credentials, now: Timestamp) -> Result<Identity, AuthError>;
}
