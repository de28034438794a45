use super::company::Stranger;
use crate::router::RouteError;
use crate::storage::StoreError;

/// Why the use-cases do not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store gave no lease, or did not tell what it holds.
    #[error("the store does not let the server start")]
    Store(#[from] StoreError),
    /// The router took no node: it could serve no login either.
    #[error("the router does not let the server start")]
    Routes(#[from] RouteError),
    /// Another server runs that does not belong together with this one.
    #[error(transparent)]
    Company(#[from] Stranger),
}
