//! What every transport must do, over a way to connect.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used)]

pub mod raw;

use std::sync::Arc;

use async_trait::async_trait;
use im_core::memory::MemoryStore;
use im_core::ports::{AuthError, Authenticator, Credentials, Identity};
use im_core::time::Timestamp;
use im_transport::{Server, ServerBuilder};

/// Takes a user's name for their token.
pub struct NameIsToken;

#[async_trait]
impl Authenticator for NameIsToken {
    async fn authenticate(&self, credentials: &Credentials, _now: Timestamp) -> Result<Identity, AuthError> {
        if credentials.token != credentials.uid.as_str() {
            return Err(AuthError::Refused("not the user's name"));
        }
        Ok(Identity { uid: credentials.uid.clone(), expires_at: None })
    }
}

/// A server over memory, without a listener.
pub fn server() -> ServerBuilder {
    Server::builder().store(Arc::new(MemoryStore::default())).authenticator(Arc::new(NameIsToken)).shards(2)
}
