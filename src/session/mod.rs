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

pub use self::call::{CallKind, CallNames, MediaNames, OpenAbility, PlayerCall};
pub use self::device::{Device, DeviceEffects, PlaceTurn};
pub use self::effect::{
    AuthorityAsk, CallAnswer, Effect, Effects, PlayerFacts, RetentionClass, SessionEvent, SessionRefusal,
};
pub use self::end::EndReason;
pub use self::grant::{AskKind, Grant, Ticket};
pub use self::input::{FarewellSignal, Input, LicenseFeedback};
pub use self::lease::KeyLease;
pub use self::playback::{Playback, PlaybackStart};
pub use self::policy::Policy;
pub use self::record::{CoreSessionRecord, PlaybackRecord, StateRecord, WrittenStamp};
pub use self::record::{expose, hide, is_default};
pub use self::report::{MediaFetch, PlayerReport, PlayingState, StreamType};
pub use self::role::Role;
pub use self::schedule::{ProgramTimes, Schedule, StreamTimelineEvent};
pub use self::state::{BeatSource, DeliveryState, Session, SessionState};
pub use self::step::{resume, step};
pub use self::verdict::{AuthorityFault, Blackout, Denial, FaultKind, KillSource, Reason, Verdict};
pub use self::wheel::{Wheel, WheelSlot};
