#![allow(clippy::unwrap_used)]

mod bench;
mod blocking;
mod company;
mod faulty;
mod logins;
mod outages;
mod own_code;
mod reading;
mod rooms;
mod sending;
mod upkeep;
