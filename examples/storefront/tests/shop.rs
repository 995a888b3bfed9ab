//! The shop over HTTP, as a process: what it answers, and what that costs its database.

mod common;

#[path = "shop/checkout.rs"]
mod checkout;
#[path = "shop/ending.rs"]
mod ending;
#[path = "shop/hanging_up.rs"]
mod hanging_up;
#[path = "shop/input.rs"]
mod input;
#[path = "shop/login.rs"]
mod login;
#[path = "shop/operating.rs"]
mod operating;
#[cfg(feature = "servers")]
#[path = "shop/own_servers.rs"]
mod own_servers;
#[path = "shop/reads.rs"]
mod reads;
#[path = "shop/routes.rs"]
mod routes;
#[path = "shop/writes.rs"]
mod writes;
