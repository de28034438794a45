#![allow(clippy::unwrap_used)]

mod bench;
mod logins;
mod reading;
mod rooms;
mod sending;
mod upkeep;
