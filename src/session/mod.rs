//! The core: what a session is, and how it answers whatever happens to it.
//!
//! Pure: no socket, no clock, no task, no randomness. [`step`] takes one session and one input and
//! returns effects; [`Device`] places a player's call with the right playback, opens a newer one beside the older, and
//! decides by what both show which one is over. `sessions` is the shell that carries effects out.

mod call;
mod contest;
mod device;
mod effect;
mod end;
mod grant;
mod input;
mod lease;
mod life;
mod playback;
mod policy;
mod record;
mod report;
mod role;
mod schedule;
mod state;
mod step;
mod turn;
mod turns;
mod verdict;
mod wheel;

pub use self::call::{Call, CallKind, CallNames, MediaNames, Opens};
pub use self::device::{Device, Outbox, PlaceTurn};
pub use self::effect::{Answer, Ask, Effect, Effects, Event, Refusal, Remembered, Told};
pub use self::end::End;
pub use self::grant::{AskKind, Grant, Ticket};
pub use self::input::{Farewell, Input, Served};
pub use self::lease::KeyLease;
pub use self::playback::{Playback, Start};
pub use self::policy::Policy;
pub use self::record::{PlaybackRecord, SessionRecord, Stamp, StateRecord};
pub use self::record::{expose, hide, is_default};
pub use self::report::{Media, Playing, Report, Stream};
pub use self::role::Role;
pub use self::schedule::{Moment, Schedule, Times};
pub use self::state::{Beats, Session, State, Use};
pub use self::step::{resume, step};
pub use self::verdict::{Blackout, Denial, Fault, FaultKind, KillSource, Reason, Verdict};
pub use self::wheel::{Slot, Wheel};
