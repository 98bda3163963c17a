//! Variables over the file.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::{LEAST, faults, license, read_with};
use crate::config::environment::variable;
use crate::config::{
    AuthorityKind, Config, LogFormat, OnExit, RefusalProfile, RefusalProfiles, StoreKind, StoreSettings, keys,
};

#[test]
fn the_environment_wins_over_the_file() {
    let text = format!("[server]\nlisten = 3\nlisten-plain = []\n{LEAST}");
    let config = read_with(
        &text,
        Path::new(""),
        &[
            ("HOME", "/"),
            ("SIDEBEAT_ADMIN_LISTEN", "off"),
            ("SIDEBEAT_ADMIN_ORIGINS", ""),
            ("SIDEBEAT_AUTHORITY_0_FRACTION", "0.8"),
            ("SIDEBEAT_AUTHORITY_0_HEADERS_X_API_KEY", "k"),
            ("SIDEBEAT_AUTHORITY_0_KIND", "\"nagra-ssm\""),
            ("SIDEBEAT_AUTHORITY_0_NAME", "far"),
            ("SIDEBEAT_AUTHORITY_0_URL", "https://h/T/ssm"),
            ("SIDEBEAT_LOG_FORMAT", "'json'"),
            ("SIDEBEAT_ROUTE_0_AUTHORITY", "far"),
            ("SIDEBEAT_ROUTE_0_REFUSAL_PLAYREADY_RENEWAL", "soap-500"),
            ("SIDEBEAT_ROUTE_1_LICENSE_SERVER", "http://h/pr"),
            ("SIDEBEAT_ROUTE_1_PATH", "/pr"),
            ("SIDEBEAT_SERVER_LIMITS_FIRST_BYTE", "250ms"),
            ("SIDEBEAT_SERVER_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("SIDEBEAT_SERVER_LISTEN_PLAIN", "[\"0.0.0.0:3\"]"),
            ("SIDEBEAT_SERVER_PLAIN_BEYOND_LOOPBACK", "true"),
            ("SIDEBEAT_SERVER_WORKERS", "3"),
            ("SIDEBEAT_SERVICE_HOST", "10.0.0.1"),
            ("SIDEBEAT_STORE_FILE", "/var/a.redb"),
            ("SIDEBEAT_STORE_KIND", "journal"),
            ("SIDEBEAT_STORE_ON_EXIT", "keep"),
        ],
    )
    .unwrap();
    let Config {
        admin,
        authorities,
        authorize: _,
        files: _,
        log,
        routes,
        server,
        store,
        texts: _,
        warnings: _,
        webhooks,
    } = config;
    assert!(webhooks.is_empty());
    assert_eq!(admin.listen, None);
    assert_eq!(log.format, LogFormat::Json);
    let AuthorityKind::NagraSsm(nagra) = &authorities[0].kind else { panic!("another kind was asked for") };
    assert!((nagra.fraction - 0.8).abs() < f64::EPSILON);
    assert_eq!((nagra.headers[0].0.as_str(), nagra.headers[0].1.as_bytes()), ("x-api-key", &b"k"[..]));
    assert_eq!((routes[0].path.as_str(), routes[0].authority), ("/license", Some(0)));
    assert_eq!(
        license(&routes[0]).refusal.playready,
        RefusalProfiles { first: RefusalProfile::Auto, renewal: RefusalProfile::Soap500 }
    );
    assert_eq!((routes[1].path.as_str(), routes[1].upstream().to_string().as_str()), ("/pr", "http://h/pr"));
    assert_eq!(server.limits.first_byte, Duration::from_millis(250));
    assert_eq!(server.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(server.listen_plain, ["0.0.0.0:3".parse().unwrap()]);
    assert_eq!(server.workers, 3);
    assert_eq!(store, StoreSettings { kind: StoreKind::Journal("/var/a.redb".into()), on_exit: OnExit::Keep });
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    for (name, value, what) in [
        ("SIDEBEAT_ADMIN_TOKEN", "hush hush", "must be visible ASCII without spaces"),
        ("SIDEBEAT_LOG_LEVLE", "info", "is not a known variable; did you mean SIDEBEAT_LOG_LEVEL?"),
        ("SIDEBEAT_ROUTE_0_DEVICE", "", "is empty: name at least \"peer\""),
        ("SIDEBEAT_ROUTE_2_PATH", "/c", "is not a known variable; did you mean SIDEBEAT_ROUTE_0_PATH?"),
        ("SIDEBEAT_SERVER_LIMITS", "{}", "is not a known variable; did you mean SIDEBEAT_SERVER_LISTEN?"),
        ("SIDEBEAT_SERVER_LIMITS_IDLE", "30", "has no unit: write \"30ms\", \"30s\", \"30m\" or \"30h\""),
        (
            "SIDEBEAT_SERVER_LISTEN",
            "127.0.0.1:1,here",
            "entry 2 must be an IP address and a port, such as \"127.0.0.1:8443\" or \"[::1]:8443\"",
        ),
        ("SIDEBEAT_SERVER_LISTEN", "[127.0.0.1:1]", "must be a list, such as [\"127.0.0.1:8443\"]"),
        ("SIDEBEAT_SERVER_PLAIN_BEYOND_LOOPBACK", "yes", "must be true or false"),
        ("SIDEBEAT_SERVER_WORKERS", "-1", "must be a whole number, not negative"),
        ("SIDEBEAT_X", "", "is not a known variable"),
    ] {
        let found = faults(read_with(LEAST, Path::new(""), &[(name, value)]));
        assert_eq!(found, [format!("{name}: {what}")], "{value}");
    }
}

#[test]
fn no_two_keys_share_a_variable() {
    let variables: BTreeSet<_> = keys().iter().map(|key| variable(key)).collect();
    assert_eq!(variables.len(), keys().len());
}
