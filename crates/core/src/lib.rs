//! The pure part of sidebeat: sessions, and the readers of bodies, reports and manifests.
//!
//! The core has no tokio, socket, clock or randomness: time is an argument, and so is a seed. Its dependencies ensure
//! that.

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
