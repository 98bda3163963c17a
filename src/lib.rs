//! sidebeat: session management for unmodified video players.
//!
//! The modules form layers; a layer imports only from those below it (`tests/guard.rs` reads the
//! `use` lines). From the top: `app` builds everything; `edge` and `admin` turn bytes into typed
//! calls; `gateway` tells the story of one call; `authority` and `upstream` speak HTTP outward;
//! `sessions` drives the pure core in `session`; `drm` recognises messages and `cmcd` reads reports;
//! `telemetry`, `config`, `token`, `secret`, `ids` and `clock` stand at the bottom.
//! `docs/design.md` gives the reasons.

pub mod admin;
pub mod app;
pub mod args;
pub mod authority;
pub mod clock;
pub mod cmcd;
pub mod command;
pub mod config;
pub mod demo;
pub mod drm;
pub mod edge;
pub mod gateway;
pub mod headend;
pub mod ids;
pub mod secret;
pub mod session;
pub mod sessions;
pub mod task;
pub mod telemetry;
pub mod token;
pub mod upstream;
