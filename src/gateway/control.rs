//! Paths below a route that are no license calls and no media: `~stop`, `~report` and `~events`.
//!
//! An app or a player says by them what happens to its own playback, or asks. Owns nothing; the sessions decide.

pub(super) mod control_paths;
pub(super) mod events;
