//! The tier in Redis: how it is reached, and what is asked of it.

#![allow(dead_code, reason = "wired in the next step")]

mod backoff;
mod breaker;
mod connection;
mod failure;
mod race;
mod scripts;
mod subscriber;
mod supervisor;
mod tier;
mod url;
mod waiters;
mod wire;
