//! Cross-origin rules, as pure functions over headers (Fetch standard, section 3.2).
//!
//! Decides which pages may call us and what browsers are told. Every reply passes through [`Cors::mark`], our own
//! refusals included, because without these headers a player cannot even see a 4xx. A preflight is answered here and
//! reaches neither session nor upstream.

use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ALLOW, HOST, ORIGIN, REFERER, VARY,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};

use super::exposed_headers::exposed;
use super::host::HostRules;
use super::{ReplyBody, own_replies};
use crate::config::{AllowedOrigins, ServerSettings};
use crate::secret::clean_name;

const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Header of requests that a browser sends before anybody asks for the page.
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, soapaction, authorization, nv-authorizations, cmcd-object, cmcd-request, cmcd-session, cmcd-status",
);
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Two hours: the longest that Chromium keeps a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Longer lists of requested headers are not echoed.
const MAX_ECHOED_HEADERS_BYTES: usize = 1024;

#[derive(Clone, Debug)]
pub struct Cors {
    hosts: HostRules,
    /// `None` if the handler judges origins and adds the headers itself.
    origins: Option<AllowedOrigins>,
}

pub(super) const HOST_REFUSED: own_replies::EdgeRefusal = own_replies::EdgeRefusal {
    status: StatusCode::MISDIRECTED_REQUEST,
    error: "host_refused",
    detail: "the Host header names none of server.host-names, which matter where server.origins is a list",
    close: true,
};

/// Decision about the `Origin` of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OriginDecision {
    /// A page that may call. Its origin is echoed, also `null` (packaged television apps).
    Allow(HeaderValue),
    /// No page: a native player, a tool, or a same-origin GET.
    Ignore,
    /// A page that is not on the list.
    Refuse,
}

impl Cors {
    pub fn new(origins: AllowedOrigins) -> Self {
        Self { hosts: HostRules::default(), origins: Some(origins) }
    }

    pub(super) fn of(server: &ServerSettings) -> Self {
        Self { hosts: HostRules::of(server), ..Self::new(server.origins.clone()) }
    }

    pub(super) fn admits_host(&self, headers: &HeaderMap, target: Option<&Authority>, tls: bool) -> bool {
        self.hosts.admits(headers, target, tls)
    }

    pub(super) fn left_to_the_handler() -> Self {
        Self { hosts: HostRules::default(), origins: None }
    }

    pub(super) fn is_left_to_the_handler(&self) -> bool {
        self.origins.is_none()
    }

    pub fn caller(&self, request: &HeaderMap) -> OriginDecision {
        match (&self.origins, only_value(request, &ORIGIN)) {
            (Some(listed), Ok(None)) if is_foreign_load(listed, request) => OriginDecision::Refuse,
            (None, _) | (Some(_), Ok(None)) => OriginDecision::Ignore,
            (Some(listed), Ok(Some(origin))) if lists(listed, origin) => OriginDecision::Allow(origin.clone()),
            (Some(_), Ok(Some(_)) | Err(RepeatedHeader)) => OriginDecision::Refuse,
        }
    }

    /// Answers OPTIONS on any path: 204, or 403 for a page that is not on the list. The reply still needs
    /// [`Cors::mark`].
    pub fn preflight(&self, caller: &OriginDecision) -> Response<ReplyBody> {
        if *caller == OriginDecision::Refuse {
            return own_replies::EdgeRefusal {
                status: StatusCode::FORBIDDEN,
                error: "origin_refused",
                detail: "this origin is not on the proxy's list of origins",
                close: false,
            }
            .reply();
        }
        let mut reply = Response::new(ReplyBody::default());
        *reply.status_mut() = StatusCode::NO_CONTENT;
        reply.headers_mut().insert(ALLOW, METHODS);
        reply
    }

    /// Sets our headers on a reply and removes an upstream's own, because a second Allow-Origin makes a browser
    /// reject the reply. Names that pages may read are kept. `preflight` holds the request's headers if it was
    /// OPTIONS.
    pub fn mark(&self, caller: &OriginDecision, preflight: Option<&HeaderMap>, reply: &mut HeaderMap) {
        if self.is_left_to_the_handler() {
            return;
        }
        let exposed = matches!(caller, OriginDecision::Allow(_)).then(|| exposed(reply));
        drop_foreign(reply);
        add_vary(reply);
        // The upstream's policy describes that server's site, not ours. Our own list decides who may call.
        if let Some(policy) = reply.get_mut(RESOURCE_POLICY) {
            *policy = HeaderValue::from_static("cross-origin");
        }
        let OriginDecision::Allow(origin) = caller else { return };
        reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        // If any page may call, none may use the browser's cookies for the viewer.
        if self.origins != Some(AllowedOrigins::Any) {
            reply.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        reply.extend(exposed.map(|names| (ACCESS_CONTROL_EXPOSE_HEADERS, names)));
        let Some(request) = preflight else { return };
        reply.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        reply.insert(ACCESS_CONTROL_ALLOW_HEADERS, wished_headers(request));
        reply.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if request.contains_key(REQUEST_PRIVATE_NETWORK) {
            reply.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
    }
}

/// A header that may stand once came more than once. Two parsers could believe different values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this header is given more than once")]
pub struct RepeatedHeader;

/// The value of a header that may stand once.
///
/// # Errors
/// There are several.
pub fn only_value<'r>(request: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r HeaderValue>, RepeatedHeader> {
    let mut values = request.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(RepeatedHeader),
        (only, None) => Ok(only),
    }
}

fn lists(origins: &AllowedOrigins, origin: &HeaderValue) -> bool {
    match origins {
        AllowedOrigins::Any => true,
        AllowedOrigins::List(list) => {
            list.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        }
    }
}

/// True for a load by a page that is not on the list: an image, a link or a native video. Such a request has no
/// `Origin`, but browsers tell whether it comes from another site. Same-site counts as foreign, because the list
/// names origins and a neighbour's port is another origin. On a local network without TLS browsers do not tell; there
/// any header that only pages cause counts. `Referer` names the page if the page allows it; without it the page is on
/// no list.
fn is_foreign_load(origins: &AllowedOrigins, request: &HeaderMap) -> bool {
    let listed = || referring_origin(request).is_some_and(|origin| lists(origins, &origin));
    let elsewhere = match request.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => false,
        Some(_) => true,
        None => is_of_another_page(request),
    };
    elsewhere && *origins != AllowedOrigins::Any && !listed()
}

/// True if a page of ours sent the request, by its `Origin`. `public_url` is our URL for players, in case a proxy in
/// front of us calls us by another name.
pub fn is_own_page(request: &HeaderMap, target: Option<&Authority>, public_url: Option<&str>) -> bool {
    let elsewhere = request.get(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none");
    let Ok(origin) = only_value(request, &ORIGIN) else { return false };
    let Some(origin) = origin else { return !elsewhere && !is_of_another_page(request) };
    let Ok(origin) = origin.to_str() else { return false };
    let host = || request.get(HOST).and_then(|host| host.to_str().ok());
    let own = target.map(Authority::as_str).or_else(host);
    let named = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    let is_own = named.zip(own).is_some_and(|(named, own)| named.eq_ignore_ascii_case(own));
    let is_public = public_url
        .and_then(|url| url.strip_prefix(origin))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !elsewhere && (is_own || is_public)
}

/// True for a request of a browser's page: only browsers write these headers, and pages cannot remove them. Also true
/// if the request asks for a page or picture.
pub fn has_browser_headers(request: &HeaderMap) -> bool {
    let fetches = request.keys().any(|name| name.as_str().starts_with("sec-fetch-") || name == SEC_PURPOSE);
    fetches || request.contains_key(ORIGIN) || request.contains_key(REFERER) || asks_for_a_page_or_picture(request)
}

/// Reads `Accept` as browsers write it. Java's own client names both kinds in another way, and is a player.
fn asks_for_a_page_or_picture(request: &HeaderMap) -> bool {
    let accept = request.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    accept.trim_start().starts_with("image/") || accept.contains("application/xhtml+xml")
}

/// True for a page's request that has neither `Origin` nor `Sec-Fetch-Site`.
fn is_of_another_page(request: &HeaderMap) -> bool {
    !request.contains_key(SEC_FETCH_SITE) && has_browser_headers(request) && !has_own_referer(request)
}

/// True if the page came from the host that it calls. Another check decides if that host is ours.
fn has_own_referer(request: &HeaderMap) -> bool {
    let host = request.get(HOST).and_then(|host| host.to_str().ok());
    let page = request.get(REFERER).and_then(|page| page.to_str().ok()?.parse::<Uri>().ok());
    let at = page.as_ref().and_then(|page| page.authority());
    at.zip(host).is_some_and(|(at, host)| at.as_str().eq_ignore_ascii_case(host))
}

/// Names the origin that is not on the list, for the person who has to add it.
pub(super) fn origin_note(request: &HeaderMap) -> String {
    let told: Vec<_> = request.get_all(ORIGIN).iter().cloned().collect();
    let from = if told.is_empty() { referring_origin(request).into_iter().collect() } else { told };
    let shown: Vec<_> = from.iter().map(|origin| clean_name(origin.as_bytes())).collect();
    match shown.len() {
        0 => "a page that does not say its origin".to_owned(),
        _ => format!("origin {}", shown.join(" and ")),
    }
}

/// Scheme and authority of the page that the request comes from.
fn referring_origin(request: &HeaderMap) -> Option<HeaderValue> {
    let referer: Uri = request.get(REFERER)?.to_str().ok()?.parse().ok()?;
    HeaderValue::try_from(format!("{}://{}", referer.scheme_str()?, referer.authority()?)).ok()
}

fn wished_headers(request: &HeaderMap) -> HeaderValue {
    match request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(wish) if !wish.is_empty() && wish.len() <= MAX_ECHOED_HEADERS_BYTES => wish.clone(),
        Some(_) | None => HEADERS,
    }
}

fn drop_foreign(reply: &mut HeaderMap) {
    let foreign: Vec<_> = reply.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in foreign {
        reply.remove(name);
    }
}

fn add_vary(reply: &mut HeaderMap) {
    let names_origin = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|name| {
            let name = name.trim_ascii();
            name.eq_ignore_ascii_case(b"origin") || name == b"*"
        })
    };
    if !reply.get_all(VARY).iter().any(names_origin) {
        reply.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn listed() -> Cors {
        Cors::new(AllowedOrigins::List(vec!["https://tv.example".to_owned(), "http://127.0.0.1:9000".to_owned()]))
    }

    #[test]
    fn callers() {
        let any = Cors::new(AllowedOrigins::Any);
        let allow = |origin| OriginDecision::Allow(HeaderValue::from_static(origin));
        let from = |origin| headers(&[("origin", origin)]);
        let twice = headers(&[("origin", "https://a"), ("origin", "https://b")]);
        let rows = [
            (&any, HeaderMap::new(), OriginDecision::Ignore),
            (&any, from("https://tv.example"), allow("https://tv.example")),
            (&any, from("null"), allow("null")),
            (&any, twice, OriginDecision::Refuse),
            (&listed(), from("https://tv.example"), allow("https://tv.example")),
            (&listed(), from("https://tv.example.evil"), OriginDecision::Refuse),
            (&listed(), from("http://tv.example"), OriginDecision::Refuse),
            (&listed(), from("null"), OriginDecision::Refuse),
            (&listed(), HeaderMap::new(), OriginDecision::Ignore),
        ];
        for (cors, request, expected) in rows {
            assert_eq!(cors.caller(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn a_page_that_is_not_on_the_list_cannot_call_without_an_origin_either() {
        let rows: [(&[(&'static str, &'static str)], bool); 9] = [
            (&[], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("referer", "https://evil.example/")], false),
            (&[("sec-fetch-site", "same-site"), ("referer", "https://tv.example.evil/")], false),
            // A native player in a page that is on the list.
            (&[("sec-fetch-site", "cross-site"), ("referer", "https://tv.example/watch?x")], true),
            (&[("sec-fetch-site", "same-site"), ("referer", "http://127.0.0.1:9000/")], true),
        ];
        for (request, good) in rows {
            let expected = if good { OriginDecision::Ignore } else { OriginDecision::Refuse };
            assert_eq!(listed().caller(&headers(request)), expected, "{request:?}");
            assert_eq!(Cors::new(AllowedOrigins::Any).caller(&headers(request)), OriginDecision::Ignore, "{request:?}");
        }
    }

    /// Browsers tell nothing of where a request comes from to an address of the local network without TLS.
    #[test]
    fn a_page_that_is_not_on_the_list_is_known_without_what_browsers_say_over_tls_too() {
        const PICTURE: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
        const PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let rows: [(&[(&'static str, &'static str)], bool); 12] = [
            (&[("referer", "https://evil.example/"), ("accept", PICTURE)], false),
            (&[("referer", "https://evil.example/"), ("accept", "*/*")], false),
            (&[("referer", "https://tv.example.evil/")], false),
            // The page lets its browser not say whose it is.
            (&[("accept", PICTURE)], false),
            (&[("accept", PAGE)], false),
            (&[("accept", PICTURE), ("host", "192.168.1.2:8080"), ("referer", "http://192.168.1.3:8080/")], false),
            (&[("referer", "https://tv.example/watch"), ("accept", PICTURE)], true),
            (&[("referer", "http://192.168.1.2:8080/x"), ("host", "192.168.1.2:8080")], true),
            // Players that are no pages.
            (&[("accept", "*/*"), ("user-agent", "VLC/3.0.20 LibVLC/3.0.20")], true),
            (&[("accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"), ("user-agent", "Java/1.8")], true),
            (&[("user-agent", "AppleCoreMedia/1.0.0.21E219")], true),
            (&[], true),
        ];
        for (request, good) in rows {
            let expected = if good { OriginDecision::Ignore } else { OriginDecision::Refuse };
            assert_eq!(listed().caller(&headers(request)), expected, "{request:?}");
            assert_eq!(Cors::new(AllowedOrigins::Any).caller(&headers(request)), OriginDecision::Ignore, "{request:?}");
        }
    }

    #[test]
    fn a_page_of_the_proxy_is_recognised_by_its_origin() {
        const OWN: (&str, &str) = ("host", "tv.home.arpa:8080");
        for (request, own) in [
            (&[OWN, ("origin", "http://tv.home.arpa:8080")][..], true),
            (&[OWN, ("origin", "https://TV.home.arpa:8080")], true),
            (&[OWN, ("origin", "http://tv.home.arpa:8080"), ("sec-fetch-site", "same-origin")], true),
            (&[OWN, ("origin", "https://public.example")], true),
            (&[OWN], true),
            (&[OWN, ("sec-fetch-site", "cross-site")], false),
            (&[OWN, ("origin", "http://tv.home.arpa:8080"), ("sec-fetch-site", "same-site")], false),
            (&[OWN, ("origin", "http://tv.home.arpa:8080"), ("origin", "http://tv.home.arpa:8080")], false),
            (&[OWN, ("origin", "http://tv.home.arpa")], false),
            (&[OWN, ("origin", "http://evil.example")], false),
            (&[OWN, ("origin", "https://public.example.evil")], false),
            (&[OWN, ("origin", "https://public")], false),
            (&[OWN, ("origin", "null")], false),
            (&[("origin", "http://tv.home.arpa")], false),
        ] {
            let found = is_own_page(&headers(request), None, Some("https://public.example/tv"));
            assert_eq!(found, own, "{request:?}");
        }
        let target = Authority::from_static("h:443");
        assert!(is_own_page(&headers(&[("origin", "https://h:443")]), Some(&target), None));
    }

    #[test]
    fn browsers_are_known_by_what_pages_cannot_take_away() {
        for (name, value, browser) in [
            ("sec-fetch-mode", "no-cors", true),
            ("sec-fetch-site", "none", true),
            ("sec-purpose", "prefetch", true),
            ("sec-ch-ua", "\"Chromium\"", false),
            ("origin", "null", true),
            ("referer", "https://tv.example/", true),
            ("accept", "image/avif,image/webp,*/*;q=0.8", true),
            ("accept", "text/html,application/xhtml+xml", true),
            ("accept", "*/*", false),
            ("user-agent", "curl/8.0", false),
        ] {
            assert_eq!(has_browser_headers(&headers(&[(name, value)])), browser, "{name}: {value}");
        }
    }

    #[test]
    fn a_preflight_is_answered_in_full() {
        let cors = Cors::new(AllowedOrigins::Any);
        let request = headers(&[
            ("origin", "null"),
            ("access-control-request-headers", "content-type,nv-authorizations"),
            ("access-control-request-private-network", "true"),
        ]);
        let caller = cors.caller(&request);
        let mut reply = cors.preflight(&caller);
        cors.mark(&caller, Some(&request), reply.headers_mut());
        assert_eq!(reply.status(), 204);
        let expected = headers(&[
            ("allow", "GET, POST, OPTIONS"),
            ("vary", "Origin"),
            ("access-control-allow-origin", "null"),
            ("access-control-expose-headers", "x-ssm-error, x-sidebeat-incident"),
            ("access-control-allow-methods", "GET, POST, OPTIONS"),
            ("access-control-allow-headers", "content-type,nv-authorizations"),
            ("access-control-max-age", "7200"),
            ("access-control-allow-private-network", "true"),
        ]);
        assert_eq!(*reply.headers(), expected);
    }

    #[test]
    fn the_usual_headers_are_allowed_if_none_is_requested() {
        let mut reply = HeaderMap::new();
        let caller = OriginDecision::Allow(HeaderValue::from_static("https://tv.example"));
        listed().mark(&caller, Some(&HeaderMap::new()), &mut reply);
        assert_eq!(reply[ACCESS_CONTROL_ALLOW_HEADERS], HEADERS);
        assert!(!reply.contains_key(ALLOW_PRIVATE_NETWORK));
    }

    #[test]
    fn a_long_wish_is_not_echoed() {
        for (bytes, echoed) in
            [(1, true), (MAX_ECHOED_HEADERS_BYTES, true), (MAX_ECHOED_HEADERS_BYTES + 1, false), (64 * 1024, false)]
        {
            let wish = HeaderValue::try_from("x".repeat(bytes)).unwrap();
            let request = HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, wish.clone())]);
            let (mut reply, caller) = (HeaderMap::new(), OriginDecision::Allow(HeaderValue::from_static("null")));
            Cors::new(AllowedOrigins::Any).mark(&caller, Some(&request), &mut reply);
            let expected = if echoed { wish } else { HEADERS };
            assert_eq!(reply[ACCESS_CONTROL_ALLOW_HEADERS], expected, "{bytes} bytes");
        }
    }

    #[test]
    fn a_page_off_the_list_gets_403_and_no_headers() {
        let request = headers(&[("origin", "https://evil.example")]);
        let caller = listed().caller(&request);
        let mut reply = listed().preflight(&caller);
        listed().mark(&caller, Some(&request), reply.headers_mut());
        assert_eq!(reply.status(), 403);
        assert!(reply.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
        assert_eq!(reply.headers()[VARY], "Origin");
    }

    #[test]
    fn the_upstreams_own_headers_are_replaced() {
        let mut reply = headers(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://old.example"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "1"),
            ("access-control-expose-headers", "Date, CMSD-Static"),
            ("cross-origin-resource-policy", "same-site"),
            ("timing-allow-origin", "https://tv.example"),
            ("vary", "Accept-Encoding"),
            ("content-type", "application/octet-stream"),
        ]);
        let caller = OriginDecision::Allow(HeaderValue::from_static("https://tv.example"));
        listed().mark(&caller, None, &mut reply);
        let expected = headers(&[
            ("vary", "Accept-Encoding"),
            ("vary", "Origin"),
            ("content-type", "application/octet-stream"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("timing-allow-origin", "https://tv.example"),
            ("access-control-allow-origin", "https://tv.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-ssm-error, x-sidebeat-incident, date, cmsd-static"),
        ]);
        assert_eq!(reply, expected);
    }

    #[test]
    fn vary_is_not_repeated() {
        for vary in ["origin", "Accept, ORIGIN", "*"] {
            let mut reply = HeaderMap::new();
            reply.insert(VARY, HeaderValue::from_static(vary));
            listed().mark(&OriginDecision::Ignore, None, &mut reply);
            assert_eq!(reply.get_all(VARY).iter().count(), 1, "{vary}");
        }
    }
}
