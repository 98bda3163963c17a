//! Events of playbacks for listeners outside the core: one type of event, one place to listen.
//!
//! A [`Notice`] is an event as listeners get it. The [`EventHub`] passes notices to listening apps and operators and
//! to webhooks. Bounded: a listener that is too slow misses the oldest, and is told how many. Knows no socket.
//! `telemetry` feeds it with the core's events, except beats.

mod hub;
mod notice;
mod stream;

pub use self::hub::{EventHub, HeardNext, Listener};
pub use self::notice::{Notice, NoticeName, PlaybackInfo};
pub use self::stream::{
    EVENT_STREAM_TYPE, EventAudience, ListenersFull, MAX_OPERATOR_LISTENERS, MAX_PLAYER_LISTENERS, NoticeStream,
};
