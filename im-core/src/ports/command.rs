use async_trait::async_trait;

use crate::session::{Reply, Request};

/// A command of the integrator's own.
#[async_trait]
pub trait Command: Send + Sync + 'static {
    /// Serves the requests of one turn, possibly of many links. Make each answer with [`Request::reply`] or [`Request::refuse`]. A
    /// request that gets no answer stays in flight until its link closes; if this panics, all get
    /// [`Unavailable`](im_proto::ErrorCode::Unavailable).
    ///
    /// # Cancel safety
    /// The future is dropped only when the server stops.
    async fn serve(&self, requests: Vec<Request>) -> Vec<Reply>;
}
