//! Checks that metrics, keys and refusals have the same names in the code and in the documents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sidebeat::config;
use sidebeat::edge::RequestViolation;
use sidebeat::events::PlaybackInfo;
use sidebeat::ids::SessionId;
use sidebeat::session::{AskKind, EndReason, FaultKind, SessionEvent};
use sidebeat::telemetry::{CallLabels, MediaLabels, SavedCall, SlotEnd, Telemetry, WebhookDelivery};

use crate::documents::column;
use crate::source::{is_name, literals, read, source};

/// Every metric by the name under which it is scraped.
fn metrics() -> BTreeSet<String> {
    let telemetry = Arc::new(Telemetry::default());
    let metrics = &telemetry.metrics;
    // A family shows itself with its first member.
    let playback = PlaybackInfo {
        account: None,
        authority: &"a".into(),
        content: None,
        device: "d",
        error_name: |_| "e",
        key: 1,
        network: sidebeat::secret::Fingerprint::default(),
        route: &"/r".into(),
        session: SessionId(1),
        token: None,
    };
    telemetry.note(&playback, &SessionEvent::Closed(EndReason::Stopped), Duration::ZERO, false);
    telemetry.clock_offset(&"a".into(), 0.0, false);
    telemetry.token_keys_fetched(&"a".into(), 1);
    metrics.authority_call(&"a".into(), AskKind::Beat, Err(FaultKind::Busy), Duration::ZERO);
    let call = CallLabels { drm: "d", kind: "k", outcome: "o", route: "/r".into() };
    metrics.open_asked_again(&"a".into(), "granted");
    metrics.license_call(&metrics.license_calls(&call), Duration::ZERO);
    metrics.authorization("/r", "o");
    metrics.refusal("c", "http");
    metrics.session_displaced("ended");
    metrics.kill_effective(Duration::ZERO);
    metrics.manifest_unfit("/r", "f");
    metrics.media_bytes(&"/r".into());
    metrics.media_request(&MediaLabels { kind: "k", outcome: "o", route: "/r".into() });
    metrics.unrecognised("/r", "f");
    metrics.upstream_fault("/r", "f");
    metrics.upstream_retries("/a", 1, true);
    metrics.account_deferred(&"a".into());
    metrics.late_grant(&"a".into());
    metrics.reload(true);
    metrics.sessions("live", 1);
    telemetry.note(&playback, &SessionEvent::OnCredit { running: true }, Duration::ZERO, false);
    telemetry.note(&playback, &SessionEvent::Settled(Duration::ZERO), Duration::ZERO, false);
    metrics.authority_call_spared(&"a".into(), AskKind::Open);
    metrics.breaker(&"a".into(), "open,renew", true);
    metrics.outage(&"a".into(), Duration::ZERO, 0);
    metrics.sessions_restored("resumed", 1);
    metrics.slots_ended(&"a".into(), SlotEnd::Ended, 1);
    metrics.upstream_call_saved("/r", SavedCall::SameChallenge);
    metrics.weak_identity("/r", "w");
    metrics.webhook("w", WebhookDelivery::Delivered, 1);
    let page = metrics.render(|_| {});
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let core = types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() });
    let edge = source("src/admin/metrics.rs");
    let edge = literals(&edge.code)
        .into_iter()
        .filter(|name| (name.starts_with("edge_") || name.starts_with("admin_")) && is_name(name));
    let edge = edge.map(|name| match name {
        "admin_connections" | "edge_connections" | "edge_parked_connections" => format!("sidebeat_{name}"),
        _ => format!("sidebeat_{name}_total"),
    });
    core.chain(edge).collect()
}

#[test]
fn metrics_are_documented_and_documented_metrics_exist() {
    let documented: BTreeSet<_> = column("docs/operations.md", "\n## Metrics\n", 0).into_iter().collect();
    assert_eq!(metrics(), documented);
}

/// The names among the literals of a function, with what stands before them in a refusal.
fn names(path: &str, function: &[&str], before: &str) -> Vec<String> {
    let source = source(path);
    let literals = literals(source.body(function));
    literals.into_iter().filter(|name| is_name(name)).map(|name| format!("{before}{name}")).collect()
}

/// The literals that follow these marks at once.
fn marked(path: &str, marks: &[&str]) -> Vec<String> {
    let code = source(path).code;
    let places = marks.iter().flat_map(|mark| code.match_indices(mark).map(|(at, _)| at + mark.len()));
    let names = places.filter_map(|at| code[at..].strip_prefix('"')?.split('"').next());
    names.filter(|name| is_name(name)).map(str::to_owned).collect()
}

/// Every `error` that a player may get.
fn refusals() -> BTreeSet<String> {
    [
        RequestViolation::ALL.iter().map(|breach| breach.label().to_owned()).collect(),
        names("src/gateway/refusal.rs", &["fn by_refusal("], ""),
        names("src/gateway/refusal.rs", &["fn denied("], ""),
        names("crates/core/src/session/verdict.rs", &["impl FaultKind", "fn name("], "authority_"),
        names("src/upstream/fault.rs", &["impl UpstreamFault ", "fn name("], "license_server_"),
        names("src/gateway/license/upstream.rs", &["impl LicenseServerFailure", "fn name("], "license_server_"),
        names("src/gateway/license/redirect.rs", &["impl RedirectFault", "fn name("], "license_server_"),
        marked("src/edge/body.rs", &["BAD_REQUEST, ", "PAYLOAD_TOO_LARGE, ", "REQUEST_TIMEOUT, "]),
        marked("src/edge/cors.rs", &["error: "]),
        marked("src/edge/call_place.rs", &["Self::AddressFull => (", "Self::Full => ("]),
        marked(
            "src/gateway/mod.rs",
            &["BAD_REQUEST, ", "FORBIDDEN, ", "LOOP_DETECTED, ", "METHOD_NOT_ALLOWED, ", "NOT_FOUND, "],
        ),
        marked("src/gateway/authorize.rs", &["error: "]),
        marked("src/gateway/control.rs", &["whole("]),
        marked("src/gateway/refusal/page.rs", &["FORBIDDEN, "]),
        marked("src/gateway/media/replies.rs", &["BAD_GATEWAY, ", "FORBIDDEN, ", "NOT_FOUND, "]),
        marked("src/gateway/media/manifest.rs", &["FORBIDDEN, "]),
        marked("src/gateway/license/refuse.rs", &["error: "]),
        marked("src/gateway/refusal/token_faults.rs", &["ours(403, ", "ours(503, ", "            403,\n            "]),
        names("src/gateway/license/sessionless.rs", &["impl SessionlessReason", "fn refusal("], ""),
        names("src/gateway/license/outgoing.rs", &["impl UnfitRequest", "fn error("], ""),
        marked("src/gateway/license/single_flight.rs", &["error: "]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn refusals_are_documented_and_documented_refusals_exist() {
    let documented: BTreeSet<_> = column("docs/operations.md", "\n## Refusals\n", 0).into_iter().collect();
    assert_eq!(refusals(), documented);
}

#[test]
fn the_readme_explains_the_most_frequent_refusals() {
    let explained: BTreeSet<_> = column("README.md", "\n## When the phone rings\n", 0).into_iter().collect();
    let unknown: Vec<_> = explained.difference(&refusals()).cloned().collect();
    assert!(explained.len() > 5 && unknown.is_empty(), "no refusals: {unknown:?}");
}

#[test]
fn endings_are_documented() {
    let documented: BTreeSet<_> = column("docs/operations.md", "\n## How a session ends\n", 0).into_iter().collect();
    let ends: BTreeSet<_> =
        EndReason::ALL.iter().map(|end| end.name().to_owned()).chain(["killed".to_owned()]).collect();
    assert_eq!(ends, documented);
}

#[test]
fn every_key_is_in_the_reference_configuration() {
    let sample = read("config.toml");
    let mut table = String::new();
    let mut shown = BTreeSet::new();
    for line in sample.lines().map(|line| line.strip_prefix('#').unwrap_or(line)) {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end().trim_matches(['[', ']']).to_owned();
            shown.insert(table.clone());
        } else if let (false, Some((key, _))) = (line.starts_with(' '), line.split_once(" = ")) {
            shown.insert(format!("{table}.{key}"));
        }
    }
    let missing: Vec<_> = config::keys().into_iter().filter(|key| !shown.contains(key)).collect();
    assert!(missing.is_empty(), "not in config.toml: {missing:?}");
}
