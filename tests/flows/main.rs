//! Tests whole flows: the real proxy between scripted players and the real head-end, over real sockets.
//!
//! A test reads as a story: it sets a [`stage::Stage`], viewers press play, and the head-end's log and books show the
//! result. Tests wait for events and never for a time. Every stage ends with [`stage::Stage::end`], which checks the
//! conditions common to all stories.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

#[path = "../support/drm.rs"]
mod drm;
#[path = "../support/headend.rs"]
mod headend;
#[path = "../support/web.rs"]
mod web;

mod log;
mod player;
mod stage;
mod upstream;

mod admin;
mod beacons;
mod blackouts;
mod clients;
mod demanded;
mod embedded;
mod eme;
mod endings;
mod enforcement;
mod events;
mod faults;
mod firstlight;
mod firstlight_media;
mod firstlight_outages;
mod hang_ups;
mod heavy;
mod holding;
mod identity;
mod judged;
mod kill;
mod kill_memory;
mod last_words;
mod leaks;
mod license_server;
mod lost;
mod media;
mod noted;
mod opening;
mod outages;
mod packagers;
mod passing;
mod pictures;
mod preloads;
mod provisional;
mod refusal_page;
mod refusing;
mod reloading;
mod renewing;
mod silence;
mod stock_nginx;
mod systems;
mod token_keys;
mod token_lists;
mod tools;
mod unaccepted;
mod unused;
mod wrapping;
mod zap;
