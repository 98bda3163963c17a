//! Control paths below a route: `~stop`, `~report` and `~events`.
//!
//! An app or a player uses them to report about its own playback, or to hear about it. The sessions decide what
//! follows.

pub(super) mod control_paths;
pub(super) mod events;
