//! The configuration as its users meet it: here its defaults, below its faults, the environment,
//! secrets, and the shipped file.

mod environment;
mod faults;
mod sample;
mod secrets;
mod token_keys;

use std::path::Path;
use std::time::Duration;
use std::{fs, iter};

use super::*;

/// The least that loads.
const LEAST: &str = "[[route]]\npath = \"/license\"\nlicense-server = \"https://drm.example/wv\"\n";
/// An authority without its URLs, to be written before [`LEAST`].
const NAGRA: &str = "[[authority]]\nname = \"n\"\nkind = \"nagra-ssm\"\n";

fn read(text: &str) -> Result<Config, ConfigFaults> {
    parse(text, Path::new("/etc/sidebeat"), iter::empty())
}

fn read_with(text: &str, folder: &Path, variables: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    parse(text, folder, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// The fields of a license route.
fn license(route: &RouteSettings) -> &LicenseRouteSettings {
    match &route.kind {
        RouteKind::License(license) => license,
        RouteKind::Media(_) => panic!("{} is a media route", route.path),
    }
}

fn faults(result: Result<Config, ConfigFaults>) -> Vec<String> {
    result.unwrap_err().to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_file_that_is_not_there_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.toml");
    let what =
        "does not exist: copy the config.toml that comes with sidebeat there, or name another file with --config";
    assert_eq!(faults(load(&file, iter::empty())), [format!("{}: {what}", file.display())]);
    fs::write(&file, b"\xff\xfe").unwrap();
    assert_eq!(faults(load(&file, iter::empty())), [format!("{}: is not UTF-8 text", file.display())]);
}

#[test]
fn the_least_file_has_all_defaults() {
    let config = read(LEAST).unwrap();
    assert_eq!(config.server.tls.certificate, Path::new("/etc/sidebeat/certs/leaf.pem"));
    assert_eq!(config.routes[0].authority, None);
    assert!(config.server.workers >= 1);
    let shown = format!("{:?}", read(&format!("{LEAST}[server.tls]\nkey = \"/run/key\"\n")).unwrap().server.tls.key);
    assert_eq!(shown, "\"/run/key\"");
}

#[test]
fn nagra_urls_come_from_the_base_unless_they_are_given() {
    let nagra = |text: &str| match read(&format!("{NAGRA}{text}\n{LEAST}")).unwrap().authorities.remove(0).kind {
        AuthorityKind::NagraSsm(nagra) => nagra,
        other => panic!("another kind was asked for: {other:?}"),
    };
    let shown = |nagra: &NagraSsmSettings| {
        let other = nagra.renewal_other.as_ref().map(ToString::to_string);
        let urls = [&nagra.setup, &nagra.heartbeat, &nagra.renewal, &nagra.teardown].map(ToString::to_string);
        (urls, other)
    };
    let (urls, other) = shown(&nagra("url = \"https://h/T/ssm/\"\nrenewal-url = \"https://g/r\""));
    let below = |tail: &str| format!("https://h/T/ssm/v1/{tail}");
    assert_eq!(
        urls,
        [below("sessions/setup"), below("sessions/heartbeat"), "https://g/r".into(), below("sessions/teardown")]
    );
    assert_eq!(other, None);
    let (urls, other) = shown(&nagra("url = \"https://h/T/ssm\"\nsetup-url = \"https://g/s?key=1\""));
    assert_eq!(urls[0], "https://g/s");
    assert_eq!((urls[2].clone(), other), (below("renewal-license-wv"), Some(below("sessions/renewal-license-wv"))));
    let all = ["setup", "heartbeat", "renewal", "teardown"].map(|call| format!("{call}-url = \"https://g/{call}\"\n"));
    let (urls, other) = shown(&nagra(&all.concat()));
    assert_eq!(urls, ["https://g/setup", "https://g/heartbeat", "https://g/renewal", "https://g/teardown"]);
    assert_eq!(other, None);
    let headers = nagra("url = \"https://h\"\ntenant = \"T\"\nheaders = { X-Key = \"v\" }").headers;
    let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(pairs, [("nv-tenant-id", "T"), ("x-key", "v")]);
}

#[test]
fn firstlight_has_the_vendors_defaults() {
    let firstlight = |text: &str| {
        let text = format!(
            "[[authority]]\nname = \"q\"\nkind = \"firstlight\"\nheartbeat-url = \"https://h/base/\"\n{text}\n{LEAST}"
        );
        match read(&text).unwrap().authorities.remove(0).kind {
            AuthorityKind::FirstLight(firstlight) => firstlight,
            other => panic!("another kind was asked for: {other:?}"),
        }
    };
    let plain = firstlight("");
    assert_eq!(plain.heartbeat.to_string(), "https://h/base/media/heartbeat");
    assert!(plain.stream_concurrency.is_none());
    assert_eq!((plain.interval.as_millis(), plain.max_failures), (60_000, 2));
    assert_eq!(plain.post_slate.as_millis(), 900_000);
    assert!(!plain.record_bookmark && !plain.track_viewers_count && !plain.multi_stream_mode);
    assert!(plain.stop_on_playback_end && plain.stop_player_on_stream_timeline_event);
    assert!(plain.beat_while_paused && plain.send_state);
    assert_eq!(firstlight("fail-when = \"reaches\"").max_failures, 1);
    assert!(firstlight("stream-concurrency-url = \"\"").stream_concurrency.is_none());
    let streams = "stream-concurrency-url = \"https://s/a/\"\nstream-concurrency-path = \"/s/{deviceId}/x\"";
    let streams = firstlight(streams).stream_concurrency.unwrap();
    assert_eq!(
        (streams.endpoint.to_string().as_str(), streams.path.as_str()),
        ("https://s/a/s/device/x", "/a/s/{deviceId}/x")
    );
}

#[test]
fn an_authorize_route_stands_beside_the_license_routes() {
    let text = "[[authority]]\nname = \"q\"\nkind = \"firstlight\"\nheartbeat-url = \"https://h\"\n\
        [[route]]\nkind = \"authorize\"\npath = \"/authorize\"\nauthorize-url = \"https://a/v1\"\nauthority = \"q\"\n\
        license-route = \"/license\"\n[server]\npublic-url = \"https://p/\"\n";
    let config = read(&format!("{text}{LEAST}")).unwrap();
    assert_eq!((config.routes.len(), config.authorize.len()), (1, 1));
    assert_eq!(config.authorize[0].license_route.as_deref(), Some("/license"));
    assert_eq!(config.server.public_url.as_deref(), Some("https://p"));
}

#[test]
fn wrappings_follow_their_neighbours() {
    let json = || BodyWrapping::Json("c".to_owned());
    for (text, [player, player_reply, server, server_reply]) in [
        ("", [BodyWrapping::Raw, BodyWrapping::Raw, BodyWrapping::Raw, BodyWrapping::Raw]),
        (
            "player = \"base64\"",
            [BodyWrapping::Base64, BodyWrapping::Base64, BodyWrapping::Base64, BodyWrapping::Base64],
        ),
        ("server = \"json:c\"", [BodyWrapping::Raw, BodyWrapping::Raw, json(), json()]),
        ("player = \"json:c\"\nserver-reply = \"raw\"", [json(), json(), json(), BodyWrapping::Raw]),
    ] {
        let wrapping = read(&format!("{LEAST}[route.body]\n{text}\n")).unwrap().routes.remove(0);
        let wrapping = license(&wrapping).wrapping.clone();
        let expected = BodyWrappings { player_reply, player_request: player, server_reply, server_request: server };
        assert_eq!(wrapping, expected, "{text}");
    }
}

#[test]
fn rungs_of_evidence_are_switched_off_one_by_one() {
    let endings = |text: &str| read(&format!("{LEAST}[route.endings]\n{text}\n")).unwrap().routes.remove(0).endings;
    let all = EndingRules::default();
    for (text, expected) in [
        ("", all),
        ("stop = false", EndingRules { stop: false, ..all }),
        ("quit = false", EndingRules { quit: false, ..all }),
        ("release = false", EndingRules { release: false, ..all }),
        ("renewals-overdue = \"off\"", EndingRules { renewals_overdue: None, ..all }),
        ("renewals-overdue = 3", EndingRules { renewals_overdue: Some(3.0), ..all }),
        ("report-silence = false", EndingRules { report_silence: false, ..all }),
        ("connections-gone = \"off\"", EndingRules { connections_gone: None, ..all }),
        ("connections-gone = \"5s\"", EndingRules { connections_gone: Some(Duration::from_secs(5)), ..all }),
        ("license-expiry = false", EndingRules { license_expiry: false, ..all }),
        ("longest = \"1h\"", EndingRules { longest: Duration::from_hours(1), ..all }),
    ] {
        assert_eq!(endings(text), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd(text in "([a-z]+ ?= ?[a-z0-9\"\\[{]+\\n|\\[\\[?(server|route|authority|admin)[.a-z]*\\]\\]?\\n|.){0,8}") {
        let _ = read(&text);
    }

    #[test]
    fn no_word_is_too_odd(text in "(header|query|json|token-claim|/|https://)?.*") {
        let _ = (words::address(&text), headers::header_name(&text), headers::header_value(&text));
        let _ = (words::origin(&text), embedded::pattern(&text), route::route_path(&text), license_route::wrapping(&text));
        let _ = (identity_source::account_source(&text), identity_source::group_source(&text));
        let _ = (identity_source::request_source(&text), identity_source::token_source(&text));
    }

    #[test]
    fn no_value_is_too_odd(key in proptest::sample::select(keys().into_iter().collect::<Vec<_>>()), value in ".*") {
        let path = key.replacen("route.", "route[0].", 1).replacen("authority.", "authority[0].", 1);
        let _ = read_with(LEAST, Path::new(""), &[(&super::environment::variable(&path), &value)]);
    }
}

#[test]
fn the_more_exact_budget_wins() {
    let rows: [(&str, [u64; 4]); 6] = [
        ("", [0, 0, 0, 0]),
        ("on-unreachable = \"refuse\"", [0, 0, 0, 0]),
        ("on-unreachable = \"2m\"", [120, 120, 120, 120]),
        ("on-unreachable = { allow-for = \"1m\" }", [60, 60, 60, 60]),
        ("on-unreachable = { running = \"1h\", running-vod = \"refuse\" }", [0, 0, 3600, 0]),
        ("on-unreachable = { allow-for = \"1m\", new = \"refuse\", new-live = \"5s\" }", [5, 0, 60, 60]),
    ];
    for (lines, expected) in rows {
        let config = read(&format!("{NAGRA}url = \"https://h\"\n{lines}\n{LEAST}")).unwrap();
        let AuthorityKind::NagraSsm(ssm) = &config.authorities[0].kind else { panic!("another kind") };
        let crate::config::OnUnreachable { new, running } = ssm.on_unreachable;
        let found = [new.live, new.vod, running.live, running.vod].map(|time| time.as_secs());
        assert_eq!(found, expected, "{lines}");
    }
}
