//! Sessions as JSON. Ages and waits are seconds, times are seconds since the epoch.

use serde_json::{Value, json};

use crate::sessions::Row;

/// One line of the list.
pub(super) fn row(row: &Row) -> Value {
    let card = &row.card;
    json!({
        "id": row.id.to_string(),
        "state": row.state,
        "device": card.device,
        "device_by": card.rung,
        "account": card.account,
        "content": card.content,
        "authority": &*card.authority_name,
        "route": &*card.route,
        "opened": seconds(row.opened),
        "opened_s_ago": seconds(row.age),
        "confirmed_s_ago": seconds(row.last_good),
        "interval_s": row.interval.map(seconds),
        "paced_by": row.paced_by,
        "player": row.player,
        "stream": row.stream,
        "on_credit_s": row.on_credit.map(seconds),
        "beats": row.beats,
        "next_beat_s": row.next_beat.map(seconds),
        "key_sessions": row.key_sessions,
    })
}

/// One session with its story.
pub(super) fn whole(of: &Row) -> Value {
    let entries = of.timeline.entries().map(|entry| {
        json!({
            "at": seconds(entry.at),
            "event": entry.event.name(),
            "detail": entry.event.describe(of.card.error_name),
        })
    });
    let mut value = row(of);
    value["timeline"] = Value::Array(entries.collect());
    value
}

pub(super) fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
