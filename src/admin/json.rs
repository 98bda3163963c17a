//! Writes sessions as JSON. Ages and waits are in seconds, times in seconds since the epoch.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::drm::KeyId;
use crate::eme::{ClosedReason, KeySession};
use crate::session::{BeatSource, PlayingState, StreamType};
use crate::sessions::{DeviceNote, SessionView};

/// A row of the list.
pub(super) fn row(row: &SessionView) -> Value {
    let context = &row.context;
    json!({
        "id": row.id.to_string(),
        "state": row.state.name(),
        "device": context.device,
        "device_by": context.device_source.name(),
        "account": context.account,
        "content": context.content,
        "authority": &*context.authority_name,
        "route": &*context.route,
        "opened": seconds(row.opened),
        "opened_s_ago": seconds(row.age),
        "confirmed_s_ago": row.last_good.map(seconds),
        "interval_s": row.interval.map(seconds),
        "paced_by": pacing_name(row.paced_by),
        "player": row.player.map(playing_name),
        "served": row.served,
        "connections_gone_s": row.connections_gone.map(seconds),
        "stream": row.stream.map(stream_name),
        "on_credit_s": row.on_credit.map(seconds),
        "beats": row.beats,
        "next_beat_s": row.next_beat.map(seconds),
        "key_sessions": row.key_sessions,
    })
}

/// A license call without a session.
pub(super) fn device_note(note: &DeviceNote) -> Value {
    let DeviceNote { account, at, device, outcome, reason, route } = note;
    json!({
        "at": seconds(*at), "device": device, "account": account, "route": route, "outcome": outcome.name(),
        "reason": reason,
    })
}

/// A session with its timeline and key sessions.
pub(super) fn whole(of: &SessionView) -> Value {
    let entries = of.timeline.entries().map(|entry| {
        json!({
            "at": seconds(entry.at),
            "event": entry.what.name(),
            "detail": entry.what.describe(of.context.error_name),
        })
    });
    let mut value = row(of);
    value["playbacks"] = of.playbacks.iter().map(playback).collect();
    value["timeline"] = Value::Array(entries.collect());
    value["eme"] = eme(of);
    value
}

/// A playback that shares a session.
fn playback(of: &SessionView) -> Value {
    let mut value = row(of);
    value["eme"] = eme(of);
    value
}

fn eme(of: &SessionView) -> Value {
    of.mirror.key_sessions().iter().map(|session| key_session(session, of.opened + of.age)).collect()
}

/// A `MediaKeySession` as the wire shows it, in the terms of the EME specification.
fn key_session(of: &KeySession, wall: Duration) -> Value {
    let hex = |id: KeyId| format!("{:032x}", u128::from_be_bytes(id));
    let statuses: Map<_, _> = of.keys(wall).map(|(id, status)| (hex(id), json!(status.name()))).collect();
    let messages: Map<_, _> = of.messages().map(|(kind, seen)| (kind.name().to_owned(), json!(seen))).collect();
    json!({
        "id": format!("{:016x}", of.id.get()),
        "drm": of.system.label(),
        "messages": messages,
        "keyStatuses": statuses,
        "expiration": of.expiration.map(|expiration| expiration.as_millis() as u64),
        "closed": of.closed.map(ClosedReason::name),
    })
}

const fn pacing_name(paced_by: BeatSource) -> &'static str {
    match paced_by {
        BeatSource::Renewals { .. } => "renewals",
        BeatSource::Timer => "timer",
    }
}

const fn playing_name(playing: PlayingState) -> &'static str {
    match playing {
        PlayingState::Buffers => "buffers",
        PlayingState::Done => "done",
        PlayingState::Fails => "fails",
        PlayingState::Paused => "paused",
        PlayingState::Plays => "plays",
        PlayingState::Quit => "quit",
        PlayingState::Seeks => "seeks",
        PlayingState::Unsaid => "reports",
    }
}

const fn stream_name(stream: StreamType) -> &'static str {
    match stream {
        StreamType::Live => "live",
        StreamType::Vod => "vod",
    }
}

pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
