use std::sync::Arc;

use async_trait::async_trait;

use crate::logic::Logic;
use crate::session::{Reply, Request};

/// A command of the integrator's own.
#[async_trait]
pub trait Command: Send + Sync + 'static {
    /// Serves the requests of one turn, possibly of many links. Make each answer with [`Request::reply`] or [`Request::refuse`]. A
    /// request that gets no answer stays in flight until its link closes; if this panics, all get
    /// [`Unavailable`](im_proto::ErrorCode::Unavailable).
    ///
    /// `server` is the one that the requests came to, with all that it can do: send, push, kick, tell who is online.
    ///
    /// # Cancel safety
    /// The future is dropped only when the server stops.
    async fn serve(&self, server: &Arc<Logic>, requests: Vec<Request>) -> Vec<Reply>;
}
