//! `[server.limits]`: every bound toward players.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::table_reader::TableReader;

/// `[server.limits]`: every bound toward players.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Request body, from its first to its last byte.
    pub body: Duration,
    /// Largest body of a license, authorize or control call, bytes.
    pub body_max: usize,
    /// Bytes of bodies at once: those on their way and those of calls in flight.
    pub body_memory: usize,
    pub body_memory_per_address: usize,
    /// Longest license call, upstream included. At most 7 s: dash.js gives up at 8.
    pub call: Duration,
    /// Connections at once, all workers together.
    pub connections: usize,
    pub connections_per_address: usize,
    /// Longest wait of SIGTERM for calls in flight.
    pub drain: Duration,
    /// Streams of events toward players of one address.
    pub event_listeners_per_address: usize,
    /// Time from the accepted connection to its first byte.
    pub first_byte: Duration,
    pub handshake: Duration,
    /// Time from the first byte of a request head to its end; on a new HTTP/2 connection, to its first request.
    pub head: Duration,
    /// The idle time of a kept-alive connection.
    pub idle: Duration,
    /// Calls at once, all workers together.
    pub in_flight: usize,
    /// Calls of one address at once, from the complete request to the last byte of the reply.
    pub in_flight_per_address: usize,
    /// Longest life of one connection; it is then closed after the running call.
    pub lifetime: Duration,
    /// New connections per second; four seconds' worth may come at once.
    pub new_connections_per_address: usize,
    /// Playbacks that are not over, of all devices.
    pub sessions: usize,
}

const UP_TO_A_DAY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

pub(super) fn limits(table: &TableReader<'_>) -> ServerLimits {
    let duration = |key: &str, default| table.duration(key, UP_TO_A_DAY).unwrap_or(Duration::from_secs(default));
    let count = |key: &str, default| table.whole(key, 1..=1_000_000).unwrap_or(default);
    // dash.js gives up on a license after 8 s.
    let call = table.duration("call", Duration::from_millis(1)..=Duration::from_secs(7));
    let body_max = table.size("body-max", 1 << 10..=16 << 20).unwrap_or(64 << 10);
    let all_memory = body_memory(table, "body-memory", 64 << 20, body_max);
    let body_memory_per_address = body_memory(table, "body-memory-per-address", 8 << 20, body_max);
    ServerLimits {
        body: duration("body", 10),
        body_max,
        body_memory: all_memory,
        body_memory_per_address,
        call: call.unwrap_or(Duration::from_secs(6)),
        connections: count("connections", 10_000),
        connections_per_address: count("connections-per-address", 256),
        drain: table.duration("drain", Duration::ZERO..=Duration::from_hours(1)).unwrap_or(Duration::from_secs(10)),
        event_listeners_per_address: count("event-listeners-per-address", 32),
        first_byte: duration("first-byte", 5),
        handshake: duration("handshake", 5),
        head: duration("head", 10),
        idle: duration("idle", 120),
        in_flight: count("in-flight", 1000),
        in_flight_per_address: count("in-flight-per-address", 128),
        lifetime: duration("lifetime", 3600),
        new_connections_per_address: count("new-connections-per-address", 200),
        sessions: table.whole("sessions", 1..=10_000_000).unwrap_or(1_000_000),
    }
}

/// Reads the memory for bodies. At least one body of the largest size must fit, or none could ever come in.
fn body_memory(table: &TableReader<'_>, key: &str, default: usize, body_max: usize) -> usize {
    let memory = table.size(key, 1 << 10..=64 << 30);
    if memory.is_some_and(|memory| memory < body_max) {
        table.fault(key, "must be at least body-max, or no body of that size could come in");
    }
    memory.unwrap_or(default.max(body_max))
}
