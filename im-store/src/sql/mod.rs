//! What all SQL adapters share: how things are named in rows, and how a batch of posts becomes rows.

pub(crate) mod file;
pub(crate) mod name;
pub(crate) mod plan;
