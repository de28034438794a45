#![allow(clippy::unwrap_used)]

mod bench;
mod blocking;
mod company;
mod faulty;
mod logins;
mod outages;
mod reading;
mod rooms;
mod sending;
mod upkeep;
