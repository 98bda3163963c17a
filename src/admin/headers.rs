//! Sets the security headers of every reply of the admin listener.
//!
//! The page acts on a click, so no other page may frame it, and only its own script runs in it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::api::ADMIN_PAGE_HTML;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Allows the page's one style and one script, by their hashes, and its own calls; nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source(ADMIN_PAGE_HTML, "script"),
        source(ADMIN_PAGE_HTML, "style"),
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
});

pub(super) fn protect(reply: &mut HeaderMap) {
    reply.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    // For browsers without support for frame-ancestors.
    reply.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    reply.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// The content of the page's only element of this name, as a source expression (CSP level 3, section 2.3.1).
fn source(page: &str, element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let inner = page.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end)).map(|(inner, _)| inner);
    match inner {
        Some(inner) => format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, inner.as_bytes()))),
        None => "'none'".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_runs_its_own_script_alone_and_cannot_be_framed() {
        let policy = POLICY.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        // An attribute such as onclick or style would need unsafe-inline.
        for word in [" onclick=", " onload=", " style=", "javascript:", "<script ", "<style "] {
            assert!(!ADMIN_PAGE_HTML.contains(word), "the policy forbids {word}");
        }
        // The empty text's hash is known from FIPS 180-4.
        assert_eq!(source("<style></style>", "style"), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
    }
}
