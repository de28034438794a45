use async_trait::async_trait;

use crate::id::{Uid, Version};

/// The vendor could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WakeUpError {
    /// It could not be reached or refused for now.
    #[error("the push vendor is unavailable")]
    Unavailable(#[source] Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>),
}

/// Wakes the devices of users who have not acknowledged a message in time: the vendors' push services.
#[async_trait]
pub trait WakeUp: Send + Sync + 'static {
    /// Asks for users to be woken. `Version` is the timeline head that each has not acknowledged; the message itself is pulled.
    /// Asking twice is harmless.
    ///
    /// # Errors
    /// [`WakeUpError::Unavailable`]; the users are asked for again at their next message.
    async fn wake(&self, users: Vec<(Uid, Version)>) -> Result<(), WakeUpError>;
}

/// Writes to the log whom it would wake.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogWakeUp;

#[async_trait]
impl WakeUp for LogWakeUp {
    async fn wake(&self, users: Vec<(Uid, Version)>) -> Result<(), WakeUpError> {
        for (uid, head) in users {
            // Anyone may write to a user of any name: escaped, a name cannot forge a line of the log.
            tracing::info!(uid = ?uid.as_str(), %head, "would wake");
        }
        Ok(())
    }
}
