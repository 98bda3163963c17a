//! `kind = "nagra-ssm"`: NAGRA Secure Session Management, version 1.
//!
//! Every URL can be set separately, because operators put gateways in front of single calls.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::authority::{GRACE_RANGE, INTERVAL_RANGE, KindSettings, constant_headers, timeout};
use super::authorization_template::AuthorizationTemplate;
use super::on_unreachable::on_unreachable;
use super::table_reader::TableReader;
use super::{EndpointUrl, OnUnreachable, headers};

/// NAGRA SSM v1. Facts: `docs/authorities.md`.
#[derive(Debug)]
pub struct NagraSsmSettings {
    /// Name of the header that carries tokens: `nv-authorizations`.
    pub authorization: HeaderName,
    /// CA for these endpoints, in place of the public roots.
    pub ca: Option<PathBuf>,
    /// Share of the interval after which a beat is sent, 0.5 to 1.0.
    pub fraction: f64,
    /// Time after the interval until a silent session counts as expired.
    pub grace: Duration,
    /// Constant headers of every call, such as `nv-tenant-id`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub heartbeat: EndpointUrl,
    /// Used if the setup reply names no interval.
    pub interval: Duration,
    /// `nv-authorizations` of a license call; `{content}` and `{session}` are replaced.
    pub license_authorization: AuthorizationTemplate,
    pub on_unreachable: OnUnreachable,
    pub renewal: EndpointUrl,
    /// Tried once, and remembered, when `renewal` answers 404 without an error code.
    pub renewal_other: Option<EndpointUrl>,
    pub setup: EndpointUrl,
    pub teardown: EndpointUrl,
    /// Bounds one call to the authority.
    pub timeout: Duration,
}

impl KindSettings for NagraSsmSettings {
    fn servers(&self) -> Vec<(&EndpointUrl, Option<&Path>)> {
        let endpoints = [&self.setup, &self.heartbeat, &self.renewal, &self.teardown];
        let endpoints = endpoints.into_iter().chain(&self.renewal_other);
        endpoints.map(|endpoint| (endpoint, self.ca.as_deref())).collect()
    }

    fn takes_renewals(&self) -> bool {
        true
    }
}

const DEFAULT_AUTHORIZATION_HEADER: HeaderName = HeaderName::from_static("nv-authorizations");
const TENANT_HEADER: HeaderName = HeaderName::from_static("nv-tenant-id");

// The paths of SSM v1 below its base. The head-end's version decides which of the two renewal paths exists.
const HEARTBEAT_PATH: &str = "/v1/sessions/heartbeat";
const RENEWAL_PATH: &str = "/v1/renewal-license-wv";
const OTHER_RENEWAL_PATH: &str = "/v1/sessions/renewal-license-wv";
const SETUP_PATH: &str = "/v1/sessions/setup";
const TEARDOWN_PATH: &str = "/v1/sessions/teardown";

/// `call` is the time of a whole license call, of which a setup is a part.
pub(super) fn nagra_ssm(table: &TableReader<'_>, call: Duration) -> Option<NagraSsmSettings> {
    let authorization = table.word("authorization", headers::header_name).unwrap_or(DEFAULT_AUTHORIZATION_HEADER);
    let headers = headers(table, &authorization);
    let timeout = timeout(table, call, Duration::from_secs(2));
    let license_authorization = table.word("license-authorization", AuthorizationTemplate::parse);
    let (ca, fraction) = (table.file("ca"), table.number("fraction", 0.5..=1.0).unwrap_or(1.0));
    let grace = table.duration("grace", GRACE_RANGE).unwrap_or(Duration::from_secs(10));
    let interval = table.duration("interval", INTERVAL_RANGE).unwrap_or(Duration::from_mins(1));
    let on_unreachable = on_unreachable(table);
    let urls = urls(table)?;
    Some(NagraSsmSettings {
        authorization,
        ca,
        fraction,
        grace,
        headers,
        heartbeat: urls.heartbeat,
        interval,
        license_authorization: license_authorization.unwrap_or_default(),
        on_unreachable,
        renewal: urls.renewal,
        renewal_other: urls.renewal_other,
        setup: urls.setup,
        teardown: urls.teardown,
        timeout,
    })
}

struct SsmUrls {
    heartbeat: EndpointUrl,
    renewal: EndpointUrl,
    renewal_other: Option<EndpointUrl>,
    setup: EndpointUrl,
    teardown: EndpointUrl,
}

fn urls(table: &TableReader<'_>) -> Option<SsmUrls> {
    let base = table.word("url", base);
    let derived = |tail: &str| EndpointUrl::parse(&format!("{}{tail}", base.as_ref()?)).ok();
    let either = |key: &str, tail: &str| match table.has(key) {
        true => table.word(key, EndpointUrl::parse),
        false => derived(tail),
    };
    let heartbeat = either("heartbeat-url", HEARTBEAT_PATH);
    let renewal = either("renewal-url", RENEWAL_PATH);
    let setup = either("setup-url", SETUP_PATH);
    let teardown = either("teardown-url", TEARDOWN_PATH);
    let own = ["heartbeat-url", "renewal-url", "setup-url", "teardown-url"].into_iter().all(|key| table.has(key));
    if !own {
        table.need(
            "url",
            "write the base of SSM, such as \"https://host/TENANT/ssm\", \
            or all of heartbeat-url, renewal-url, setup-url and teardown-url",
        );
    }
    let renewal_other = derived(OTHER_RENEWAL_PATH).filter(|_| !table.has("renewal-url"));
    Some(SsmUrls { heartbeat: heartbeat?, renewal: renewal?, renewal_other, setup: setup?, teardown: teardown? })
}

/// A base URL without a slash at its end, behind which every path is valid.
fn base(text: &str) -> Result<String, &'static str> {
    let base = text.trim_end_matches('/');
    let longest = EndpointUrl::parse(&format!("{base}{OTHER_RENEWAL_PATH}"))?;
    if longest.query().is_some() { Err("must not have a query") } else { Ok(base.to_owned()) }
}

fn headers(table: &TableReader<'_>, authorization: &HeaderName) -> Vec<(HeaderName, HeaderValue)> {
    let tenant = table.word("tenant", headers::header_value);
    let headers = tenant.map(|tenant| (TENANT_HEADER, tenant)).into_iter().collect();
    constant_headers(&table.table("headers"), headers, Some(authorization))
}
