//! What happens to playbacks, as others may hear it: one type of event, one place to listen.
//!
//! Owns what a [`Notice`] says and the [`EventHub`] that hands notices on: to apps and operators that
//! listen, and to webhooks. Bounded: a listener that is too slow misses the oldest and is told how
//! many. Knows no socket. Fed by `telemetry` with the core's events; beats are none of them.

mod hub;
mod notice;
mod stream;

pub use self::hub::{EventHub, HeardNext, Listener};
pub use self::notice::{Notice, PlaybackInfo};
pub use self::stream::{EventAudience, ListenersFull, MAX_OPERATOR_LISTENERS, MAX_PLAYER_LISTENERS, NoticeStream};
