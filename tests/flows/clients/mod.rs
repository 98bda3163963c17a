//! Players that cannot run here, as scripted clients: what each sends for its settings, what it makes of a refusal, and
//! what its viewer is shown in the end. Each file names the public source of each fact.

mod avplayer;
mod kodi;
mod media3;
