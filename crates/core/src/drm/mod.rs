//! Recognises the license messages of ClearKey, FairPlay, PlayReady and Widevine.
//!
//! This module owns the wire knowledge of the four systems: which operation a body is, and the few facts that travel in
//! clear. It only reads bytes: no clock, no sockets, no session state. It never decrypts, forges or changes a message,
//! and leaves unknown ones alone. The gateway calls [`recognise`] for both directions of a license call, and
//! [`configured_wrapping`] if a route is configured to translate between wrappings.

mod clearkey;
pub mod configured_wrapping;
mod denial;
mod encoded_text;
mod fairplay;
mod fairplay_hints;
mod form;
mod json;
mod json_text;
mod key_ids;
mod message;
mod nested_messages;
mod playready;
mod playready_envelope;
mod playready_words;
mod protobuf;
mod pssh;
mod recognise;
mod utf16;
mod widevine;
mod widevine_request;
mod xml;
mod xmr;

pub use self::denial::is_no_license;
pub use self::key_ids::{KeyId, KeyIds};
pub use self::message::{Direction, DrmMessage, DrmSystem, LicenseLease, MessageKind, UnrecognisedBody, Validity};
pub use self::recognise::{recognise, recognise_request};
