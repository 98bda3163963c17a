//! The pure part of sidebeat: what a session does, and what bodies, reports and manifests say.
//!
//! No tokio, no socket, no clock, no chance: time is an argument, and so is a seed. The manifest of this crate holds
//! it, because none of what could is among its dependencies.

pub mod cmcd;
pub mod drm;
pub mod eme;
pub mod endpoint;
pub mod ledger;
pub mod manifest;
pub mod secret;
pub mod session;
pub mod session_id;
pub mod time;
