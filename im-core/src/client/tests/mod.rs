//! Scenarios of the machine: inputs in, lists of effects out.
#![allow(clippy::unwrap_used)]

mod bench;
mod epochs;
mod link;
mod random_walk;
mod receiving;
mod rooms;
mod sending;
