//! Where users are, and how to reach the gates that hold their links.
//!
//! Both are hints: losing them loses no message (idea 1 of the design). [`Routes`] decides which of two conflicting
//! logins survives; [`Bus`] carries pushes and kicks to the node that holds a link.

mod bus;
mod kick;
mod routes;

pub use bus::{Bus, BusError, Delivery, Parcel, Subscription};
pub use kick::KickPolicy;
pub use routes::{
    Confirmation, Continuity, NodeLife, Online, Registration, Route, RouteError, RouterNodes, Routes,
    UserRoutes,
};
