//! The core: the state of a session, and its reaction to every input.
//!
//! The core is pure: no socket, no clock, no task, no randomness. [`step`] takes a session and an input and returns effects.
//! [`Device`] finds the playback of a player's call, opens a newer one beside the older, and decides by the evidence of
//! both which one is over. `sessions` is the shell that carries the effects out.

mod beat_jitter;
mod confirmation;
mod device;
mod effect;
mod end_reason;
mod event_words;
mod grant;
mod grant_release;
mod held_grant;
mod input;
mod license_expiry;
mod life_signs;
mod playback;
mod player_call;
mod player_evidence;
mod player_report;
mod policy;
mod preload_or_zap;
mod program_schedule;
mod rare;
mod record;
mod role;
mod rules;
mod session_calls;
mod session_kill;
mod shared_playback;
mod short_list;
mod state;
mod step;
mod timer_wheel;
mod unconfirmed_run;
mod verdict;
mod way_back;

pub use self::device::{Device, DeviceEffects, PlaceTurn};
pub use self::effect::{
    AuthorityAsk, CallAnswer, Effect, Effects, PlayerFacts, RetentionClass, SessionEvent, SessionRefusal,
};
pub use self::end_reason::EndReason;
pub use self::grant::{AskKind, Grant, Ticket};
pub use self::input::{FarewellSignal, Input, LicenseFeedback};
pub use self::license_expiry::KeyLease;
pub use self::playback::playback_names::NamesRecord;
pub use self::playback::{Playback, PlaybackStart};
pub use self::player_call::{CallKind, CallNames, MediaNames, OpenAbility, PlayerCall};
pub use self::player_evidence::EvidenceRecord;
pub use self::player_report::{MediaFetch, PlayerReport, PlayingState, StreamType};
pub use self::policy::Policy;
pub use self::program_schedule::{ProgramTimes, Schedule, StreamTimelineEvent};
pub use self::record::{CoreSessionRecord, PlaybackRecord, StateRecord, WrittenStamp};
pub use self::record::{expose, hide, is_default};
pub use self::role::Role;
pub use self::rules::{EndingRules, Enforcement, OnUnreachable, OutageBudget};
pub use self::session_kill::{Blackout, BlackoutReason, SessionKill};
pub use self::state::{BeatSource, DeliveryState, Session, SessionState};
pub use self::step::step;
pub use self::timer_wheel::{Wheel, WheelSlot};
pub use self::unconfirmed_run::UnconfirmedRecord;
pub use self::verdict::{AuthorityFault, Denial, FaultKind, KillSource, Reason, Verdict};
