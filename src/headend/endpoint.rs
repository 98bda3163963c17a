//! Paths to endpoints.

use http::Method;

use super::firstlight;
use super::settings::RenewalPath;

/// A call that players' side makes of the head-end: what faults are scripted for and the log names.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Endpoint {
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
pub(super) enum Route<'a> {
    /// The path below `/content/`, or an embedded file's own path.
    Content(&'a str),
    Service(Endpoint),
    /// The path below `/sim/`.
    Sim(&'a str),
    Unknown,
    WrongMethod,
}

impl Endpoint {
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

    /// Whether a script written for `pattern` speaks of this endpoint: its name, `license` for all
    /// license servers, or `*`.
    pub(super) fn fits(self, pattern: &str) -> bool {
        pattern == "*" || pattern == self.name() || (pattern == "license" && self.is_license())
    }

    pub(super) fn is_license(self) -> bool {
        matches!(self, Self::ClearKey | Self::FairPlay | Self::PlayReady | Self::Widevine)
    }

    /// Whether it is one of FirstLight's services.
    pub(super) fn is_firstlight(self) -> bool {
        matches!(self, Self::Authorize | Self::LightBeat | Self::StreamDelete | Self::StreamPut)
    }

    /// Whether its calls carry a session token alone and rotate or end it.
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

impl<'a> Route<'a> {
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

fn service(renewal: RenewalPath, path: &str) -> Option<Endpoint> {
    Some(match path {
        "ssm/v1/renewal-license-wv" if renewal != RenewalPath::Sessions => Endpoint::Renewal,
        "ssm/v1/sessions/heartbeat" => Endpoint::Heartbeat,
        "ssm/v1/sessions/killAccountSessions" => Endpoint::KillAccount,
        "ssm/v1/sessions/killDeviceSessions" => Endpoint::KillDevice,
        "ssm/v1/sessions/renewal-license-wv" if renewal != RenewalPath::Plain => Endpoint::Renewal,
        "ssm/v1/sessions/setup" => Endpoint::Setup,
        "ssm/v1/sessions/teardown" => Endpoint::Teardown,
        "ckls/contentlicenseservice/v1/licenses" => Endpoint::ClearKey,
        "fpls/contentlicenseservice/v1/licenses" => Endpoint::FairPlay,
        "prls/contentlicenseservice/v1/licenses" => Endpoint::PlayReady,
        "wvls/contentlicenseservice/v1/certificates" => Endpoint::Certificate,
        "wvls/contentlicenseservice/v1/licenses" => Endpoint::Widevine,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_endpoint() {
        let of = |method, path| Route::of("DEMO", RenewalPath::Both, &method, path);
        let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
        for (method, path, expected) in [
            (&post, "/DEMO/ssm/v1/sessions/setup", Route::Service(Endpoint::Setup)),
            (&get, "/DEMO/ssm/v1/sessions/setup", Route::WrongMethod),
            (&put, "/DEMO/ssm/v1/sessions/killDeviceSessions", Route::Service(Endpoint::KillDevice)),
            (&post, "/DEMO/ssm/v1/renewal-license-wv", Route::Service(Endpoint::Renewal)),
            (&post, "/DEMO/ssm/v1/sessions/renewal-license-wv", Route::Service(Endpoint::Renewal)),
            (&get, "/DEMO/wvls/contentlicenseservice/v1/certificates", Route::Service(Endpoint::Certificate)),
            (&post, "/OTHER/ssm/v1/sessions/setup", Route::Unknown),
            (&get, "/content/a.mpd", Route::Content("/content/a.mpd")),
            (&get, "/sim/books", Route::Sim("books")),
        ] {
            assert_eq!(of(method.clone(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_renewal_path_can_be_absent() {
        let path = "/DEMO/ssm/v1/renewal-license-wv";
        assert_eq!(Route::of("DEMO", RenewalPath::Sessions, &Method::POST, path), Route::Unknown);
    }

    #[test]
    fn names_are_unique_and_patterns_fit() {
        let names: std::collections::BTreeSet<_> = Endpoint::ALL.iter().map(|endpoint| endpoint.name()).collect();
        assert_eq!(names.len(), Endpoint::ALL.len());
        assert!(Endpoint::ClearKey.fits("license") && Endpoint::ClearKey.fits("*") && !Endpoint::Setup.fits("license"));
    }
}
