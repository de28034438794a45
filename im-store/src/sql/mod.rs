//! What all SQL adapters share: how a batch of posts becomes rows.

pub(crate) mod plan;
