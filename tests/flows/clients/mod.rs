//! Scripted copies of players that cannot run here: the calls that each sends for its settings, its reaction to a
//! refusal, and the text that its viewer sees. Each file names the public source of each fact.

mod avplayer;
mod kodi;
mod media3;
