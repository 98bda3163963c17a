//! Paths to endpoints.

use http::Method;

use super::firstlight;
use super::settings::RenewalPath;

/// A call of players or the proxy to the head-end; faults are scripted for it, and the log names it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum HeadendEndpoint {
    Authorize,
    Certificate,
    ClearKey,
    Content,
    FairPlay,
    Heartbeat,
    KillAccount,
    KillDevice,
    LightBeat,
    PlayReady,
    Renewal,
    Setup,
    StreamDelete,
    StreamPut,
    Teardown,
    Widevine,
}

#[derive(Debug, Eq, PartialEq)]
pub(super) enum HeadendRoute<'a> {
    /// The path below `/content/`, or an embedded file's own path.
    Content(&'a str),
    Service(HeadendEndpoint),
    /// The path below `/sim/`.
    Sim(&'a str),
    Unknown,
    WrongMethod,
}

impl HeadendEndpoint {
    pub(super) const ALL: [Self; 16] = [
        Self::Authorize,
        Self::Certificate,
        Self::ClearKey,
        Self::Content,
        Self::FairPlay,
        Self::Heartbeat,
        Self::KillAccount,
        Self::KillDevice,
        Self::LightBeat,
        Self::PlayReady,
        Self::Renewal,
        Self::Setup,
        Self::StreamDelete,
        Self::StreamPut,
        Self::Teardown,
        Self::Widevine,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Certificate => "certificate",
            Self::ClearKey => "license-clearkey",
            Self::Content => "content",
            Self::FairPlay => "license-fairplay",
            Self::Heartbeat => "heartbeat",
            Self::KillAccount => "kill-account",
            Self::KillDevice => "kill-device",
            Self::LightBeat => "fl-heartbeat",
            Self::PlayReady => "license-playready",
            Self::Renewal => "renewal",
            Self::Setup => "setup",
            Self::StreamDelete => "stream-delete",
            Self::StreamPut => "stream-put",
            Self::Teardown => "teardown",
            Self::Widevine => "license-widevine",
        }
    }

    /// True if a script with this `pattern` applies to the endpoint: its name, `license` for all license servers, or
    /// `*`.
    pub(super) fn fits(self, pattern: &str) -> bool {
        pattern == "*" || pattern == self.name() || (pattern == "license" && self.is_license())
    }

    pub(super) fn is_license(self) -> bool {
        matches!(self, Self::ClearKey | Self::FairPlay | Self::PlayReady | Self::Widevine)
    }

    /// True for FirstLight's services.
    pub(super) fn is_firstlight(self) -> bool {
        matches!(self, Self::Authorize | Self::LightBeat | Self::StreamDelete | Self::StreamPut)
    }

    /// True if its calls carry only a session token, and rotate or end it.
    pub(super) fn is_of_a_session(self) -> bool {
        matches!(self, Self::Heartbeat | Self::Renewal | Self::Teardown)
    }

    fn method(self) -> Method {
        match self {
            Self::Certificate | Self::Content => Method::GET,
            Self::StreamDelete => Method::DELETE,
            Self::StreamPut => Method::PUT,
            Self::KillAccount | Self::KillDevice => Method::PUT,
            Self::Authorize
            | Self::ClearKey
            | Self::FairPlay
            | Self::Heartbeat
            | Self::LightBeat
            | Self::PlayReady
            | Self::Renewal
            | Self::Setup
            | Self::Teardown
            | Self::Widevine => Method::POST,
        }
    }
}

impl<'a> HeadendRoute<'a> {
    pub(super) fn of(tenant: &str, renewal: RenewalPath, method: &Method, path: &'a str) -> Self {
        if let Some(call) = path.strip_prefix("/sim/") {
            return Self::Sim(call);
        }
        let rest =
            path.strip_prefix('/').and_then(|path| path.strip_prefix(tenant)).and_then(|path| path.strip_prefix('/'));
        if let Some((endpoint, _)) = rest.and_then(|rest| firstlight::endpoint(method, rest.strip_prefix("fl/")?)) {
            return Self::Service(endpoint);
        }
        let Some(endpoint) = rest.and_then(|rest| service(renewal, rest)) else {
            let reads = matches!(*method, Method::GET | Method::HEAD);
            return if reads { Self::Content(path) } else { Self::Unknown };
        };
        if endpoint.method() == *method { Self::Service(endpoint) } else { Self::WrongMethod }
    }
}

fn service(renewal: RenewalPath, path: &str) -> Option<HeadendEndpoint> {
    Some(match path {
        "ssm/v1/renewal-license-wv" if renewal != RenewalPath::Sessions => HeadendEndpoint::Renewal,
        "ssm/v1/sessions/heartbeat" => HeadendEndpoint::Heartbeat,
        "ssm/v1/sessions/killAccountSessions" => HeadendEndpoint::KillAccount,
        "ssm/v1/sessions/killDeviceSessions" => HeadendEndpoint::KillDevice,
        "ssm/v1/sessions/renewal-license-wv" if renewal != RenewalPath::Plain => HeadendEndpoint::Renewal,
        "ssm/v1/sessions/setup" => HeadendEndpoint::Setup,
        "ssm/v1/sessions/teardown" => HeadendEndpoint::Teardown,
        "ckls/contentlicenseservice/v1/licenses" => HeadendEndpoint::ClearKey,
        "fpls/contentlicenseservice/v1/licenses" => HeadendEndpoint::FairPlay,
        "prls/contentlicenseservice/v1/licenses" => HeadendEndpoint::PlayReady,
        "wvls/contentlicenseservice/v1/certificates" => HeadendEndpoint::Certificate,
        "wvls/contentlicenseservice/v1/licenses" => HeadendEndpoint::Widevine,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_endpoint() {
        let of = |method, path| HeadendRoute::of("DEMO", RenewalPath::Both, &method, path);
        let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
        for (method, path, expected) in [
            (&post, "/DEMO/ssm/v1/sessions/setup", HeadendRoute::Service(HeadendEndpoint::Setup)),
            (&get, "/DEMO/ssm/v1/sessions/setup", HeadendRoute::WrongMethod),
            (&put, "/DEMO/ssm/v1/sessions/killDeviceSessions", HeadendRoute::Service(HeadendEndpoint::KillDevice)),
            (&post, "/DEMO/ssm/v1/renewal-license-wv", HeadendRoute::Service(HeadendEndpoint::Renewal)),
            (&post, "/DEMO/ssm/v1/sessions/renewal-license-wv", HeadendRoute::Service(HeadendEndpoint::Renewal)),
            (
                &get,
                "/DEMO/wvls/contentlicenseservice/v1/certificates",
                HeadendRoute::Service(HeadendEndpoint::Certificate),
            ),
            (&post, "/OTHER/ssm/v1/sessions/setup", HeadendRoute::Unknown),
            (&get, "/content/a.mpd", HeadendRoute::Content("/content/a.mpd")),
            (&get, "/sim/books", HeadendRoute::Sim("books")),
        ] {
            assert_eq!(of(method.clone(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_renewal_path_can_be_absent() {
        let path = "/DEMO/ssm/v1/renewal-license-wv";
        assert_eq!(HeadendRoute::of("DEMO", RenewalPath::Sessions, &Method::POST, path), HeadendRoute::Unknown);
    }

    #[test]
    fn names_are_unique_and_patterns_fit() {
        let names: std::collections::BTreeSet<_> =
            HeadendEndpoint::ALL.iter().map(|endpoint| endpoint.name()).collect();
        assert_eq!(names.len(), HeadendEndpoint::ALL.len());
        assert!(
            HeadendEndpoint::ClearKey.fits("license")
                && HeadendEndpoint::ClearKey.fits("*")
                && !HeadendEndpoint::Setup.fits("license")
        );
    }
}
