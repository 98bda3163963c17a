//! sidebeat: session management for unmodified video players.
//!
//! The modules form layers; one imports only from those below it (`tests/guard` reads the `use`
//! lines and has the table). From the top: `command` and `app` build everything; `gateway` tells
//! the story of one call between `edge`, where players connect, and `authority` and `upstream`,
//! which speak HTTP outward, as `webhooks` do; `sessions` drives the pure core in `session`, and
//! `events` hands on what happened there; `playbacks` keeps what was registered before one began; `drm`
//! recognises messages and `cmcd` reports; `config`, `token`, `secret`, `ids`, `clock` and `task` stand at the
//! bottom.
//! `docs/design.md` gives the reasons.

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
