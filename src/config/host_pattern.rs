//! Hosts in `server.host-names` and `route.hosts`.

/// `host[:port]` as manifests write it, or `*.` before the end of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    Below(String),
    Exact(String),
}

impl HostPattern {
    pub fn fits(&self, authority: &str) -> bool {
        match self {
            Self::Below(end) => authority.len() > end.len() && authority.to_ascii_lowercase().ends_with(end),
            Self::Exact(host) => authority.eq_ignore_ascii_case(host),
        }
    }
}

/// `host`, `host:port`, or `*.` and the end of either.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let (name, below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    if name.is_empty() || !name.chars().all(plain) {
        return Err("must be a host, such as \"cdn.example\", \"cdn.example:8443\" or \"*.cdn.example\"".to_owned());
    }
    let name = name.to_ascii_lowercase();
    Ok(if below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Exact(name) })
}
