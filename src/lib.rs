//! sidebeat: session management for unmodified video players.
//!
//! The modules form layers; each uses only those below it (`tests/guard` checks the `use` lines). From the top:
//! `command` and `app` build everything. `gateway` handles each call between `edge`, where players connect, and
//! `authority` and `upstream`, which call other servers, as `webhooks` does. `sessions` drives the pure core in
//! `session`, and `events` passes its events on. `registrations` keeps what was registered of a playback before it
//! began. `drm` recognises messages and `cmcd` reads reports. `config`, `token`, `secret`, `ids`, `clock` and `task`
//! are at the bottom. `docs/design.md` gives the reasons.

pub use sidebeat_core::{cmcd, drm, eme, endpoint, ledger, manifest, secret, session, session_id, time};
#[cfg(feature = "simulator")]
pub use sidebeat_simulator as headend;
pub use sidebeat_system::{clock, random, task};

pub mod admin;
pub mod app;
pub mod args;
pub mod authority;
pub mod command;
pub mod config;
#[cfg(feature = "simulator")]
pub mod demo;
pub mod edge;
pub mod events;
pub mod gateway;
pub mod ids;
pub mod registrations;
pub mod sessions;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod token;
pub mod upstream;
pub mod webhooks;
