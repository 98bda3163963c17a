//! Checks that the comparison of calls is built with the libraries of sidebeat.

use std::collections::BTreeMap;

use crate::source::read;

/// The versions of each package of a lock file.
fn versions(path: &str) -> BTreeMap<String, Vec<String>> {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in read(path).split("[[package]]").skip(1) {
        let of = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_matches(['"', ' ', '=']).to_owned()
        };
        versions.entry(of("name")).or_default().push(of("version"));
    }
    versions
}

#[test]
fn the_relay_is_built_with_the_versions_of_sidebeat() {
    let (ours, theirs) = (versions("Cargo.lock"), versions("benches/compare/Cargo.lock"));
    for name in ["aws-lc-rs", "h2", "hyper", "hyper-util", "rustls", "tokio", "tokio-rustls"] {
        assert!(theirs.contains_key(name), "{name}");
        assert_eq!(theirs[name], ours[name], "{name}: copy Cargo.lock to benches/compare, and build it there");
    }
}
