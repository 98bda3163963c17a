//! The `SIDEBEAT_…` variables, which override the file: `server.limits.first-byte` is
//! `SIDEBEAT_SERVER_LIMITS_FIRST_BYTE`, `route[0].path` is `SIDEBEAT_ROUTE_0_PATH`.
//!
//! The document asks by key path, so no name must be split to find out which of its underscores is a dot.

use std::collections::BTreeMap;

const VARIABLE_PREFIX: &str = "SIDEBEAT_";

/// Kubernetes sets these in every pod beside a service called `sidebeat`; they are not meant for us.
const SERVICE_LINKS: [&str; 3] = ["SIDEBEAT_PORT", "SIDEBEAT_PORT_", "SIDEBEAT_SERVICE_"];

pub(super) struct EnvironmentVariables {
    variables: BTreeMap<String, String>,
}

impl EnvironmentVariables {
    /// Keeps our own variables.
    pub(super) fn new(all: impl Iterator<Item = (String, String)>) -> Self {
        Self {
            variables: all.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX) && !is_service_link(name)).collect(),
        }
    }

    pub(super) fn value(&self, path: &str) -> Option<&str> {
        self.variables.get(&variable(path)).map(String::as_str)
    }

    /// The variables below a key path, as keys: `NV_TENANT_ID` is `nv-tenant-id`.
    pub(super) fn keys_below(&self, path: &str) -> impl Iterator<Item = String> {
        let prefix = format!("{}_", variable(path));
        let names = self.variables.keys();
        names.filter_map(move |name| name.strip_prefix(&prefix).map(|rest| rest.to_ascii_lowercase().replace('_', "-")))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }
}

/// The variable of a key path.
pub(super) fn variable(path: &str) -> String {
    let mut name = VARIABLE_PREFIX.to_owned();
    for character in path.chars() {
        match character {
            ']' => {}
            '-' | '.' | '[' => name.push('_'),
            other => name.push(other.to_ascii_uppercase()),
        }
    }
    name
}

fn is_service_link(name: &str) -> bool {
    SERVICE_LINKS.iter().any(|link| if link.ends_with('_') { name.starts_with(link) } else { name == *link })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_variable() {
        for (path, name) in [
            ("server.listen", "SIDEBEAT_SERVER_LISTEN"),
            ("server.limits.first-byte", "SIDEBEAT_SERVER_LIMITS_FIRST_BYTE"),
            ("route[0].path", "SIDEBEAT_ROUTE_0_PATH"),
            ("route[12].refusal.widevine.first", "SIDEBEAT_ROUTE_12_REFUSAL_WIDEVINE_FIRST"),
            ("admin.token-file", "SIDEBEAT_ADMIN_TOKEN_FILE"),
        ] {
            assert_eq!(variable(path), name);
        }
    }

    #[test]
    fn service_links_and_strangers_are_left_out() {
        let names = [
            "PATH",
            "SIDEBEATS_LISTEN",
            "SIDEBEAT_LOG_LEVEL",
            "SIDEBEAT_PORT",
            "SIDEBEAT_PORTS",
            "SIDEBEAT_PORT_8443_TCP_ADDR",
            "SIDEBEAT_SERVICE_HOST",
        ];
        let environment = EnvironmentVariables::new(names.into_iter().map(|name| (name.to_owned(), String::new())));
        assert_eq!(environment.names().collect::<Vec<_>>(), ["SIDEBEAT_LOG_LEVEL", "SIDEBEAT_PORTS"]);
    }
}
