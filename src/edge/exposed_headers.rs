//! Lists the headers of a reply that a page may read (Fetch standard, section 3.3.3).
//!
//! The upstream's list follows ours: pages read a clock from `Date`, a cache from `Age` and `CMSD-*`, a reason from a
//! license server's own header. A wildcard is written out, because for a page that calls with credentials it would be
//! a header of that name. `cors` calls this for each reply to a page.

use std::collections::HashSet;

use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Our headers that pages may read in every reply.
pub(super) const OWN_EXPOSED_HEADERS: [&str; 2] = ["x-ssm-error", "x-sidebeat-incident"];
/// The same, as the list for a reply whose upstream exposes nothing, as most do.
const OWN_EXPOSED_LIST: HeaderValue = HeaderValue::from_static("x-ssm-error, x-sidebeat-incident");
/// Bounds for an upstream's list. The longest that were met have twenty names.
const MAX_EXPOSED_NAMES: usize = 64;
const MAX_EXPOSED_LIST_BYTES: usize = 2048;

/// The list for a reply that still has its upstream's CORS headers.
pub(super) fn exposed(reply: &HeaderMap) -> HeaderValue {
    if !reply.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
        return OWN_EXPOSED_LIST;
    }
    let mut list = ExposedNames::default();
    for name in OWN_EXPOSED_HEADERS {
        list.add(name);
    }
    let listed = reply.get_all(ACCESS_CONTROL_EXPOSE_HEADERS).iter();
    let mut is_written_out = false;
    for name in listed.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
        if name == b"*" {
            if std::mem::replace(&mut is_written_out, true) {
                continue;
            }
            for name in reply.keys().filter(|name| may_be_read(name)) {
                list.add(name.as_str());
            }
        } else if let Ok(name) = HeaderName::from_bytes(name)
            && may_be_read(&name)
        {
            list.add(name.as_str());
        }
    }
    // Header names are always valid in a value.
    HeaderValue::try_from(list.text).unwrap_or(OWN_EXPOSED_LIST)
}

#[derive(Default)]
struct ExposedNames {
    names: HashSet<String>,
    text: String,
}

impl ExposedNames {
    fn add(&mut self, name: &str) {
        let is_full =
            self.names.len() >= MAX_EXPOSED_NAMES || self.text.len() + name.len() + 2 > MAX_EXPOSED_LIST_BYTES;
        if is_full || self.names.contains(name) {
            return;
        }
        self.names.insert(name.to_owned());
        if !self.text.is_empty() {
            self.text.push_str(", ");
        }
        self.text.push_str(name);
    }
}

/// Pages never read cookies, and the CORS headers are ours.
fn may_be_read(name: &HeaderName) -> bool {
    name != SET_COOKIE && name != "set-cookie2" && !name.as_str().starts_with("access-control-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::cost;

    fn list(headers: &[(&'static str, &str)]) -> String {
        let mut reply = HeaderMap::new();
        for (name, value) in headers {
            reply.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        exposed(&reply).to_str().unwrap().to_owned()
    }

    #[test]
    fn an_upstreams_list_follows_the_proxys_without_duplicates() {
        const LIST: &str = "access-control-expose-headers";
        for (headers, expected) in [
            (&[][..], ""),
            (&[(LIST, "Date, Age ,CMSD-Static,, cmsd-dynamic")], ", date, age, cmsd-static, cmsd-dynamic"),
            (&[(LIST, "X-License-Code"), (LIST, "date, X-LICENSE-CODE")], ", x-license-code, date"),
            (&[(LIST, "X-SSM-Error, Date")], ", date"),
            (&[(LIST, "bad name, d\u{fc}r, ok, Set-Cookie, Access-Control-Max-Age")], ", ok"),
            // Whatever is there, to pages with and without credentials alike.
            (
                &[
                    (LIST, "*"),
                    ("date", "x"),
                    ("set-cookie", "a=b"),
                    ("cmsd-static", "x"),
                    ("access-control-max-age", "1"),
                ],
                ", date, cmsd-static",
            ),
            (&[(LIST, "age, *"), ("date", "x")], ", age, date"),
        ] {
            assert_eq!(list(headers), format!("x-ssm-error, x-sidebeat-incident{expected}"), "{headers:?}");
        }
    }

    #[test]
    fn a_reply_whose_upstream_exposes_nothing_gets_a_list_that_is_there_already() {
        let [one, other] = [exposed(&HeaderMap::new()), exposed(&HeaderMap::new())];
        assert!(std::ptr::eq(one.as_bytes(), other.as_bytes()));
        assert_eq!(OWN_EXPOSED_LIST, OWN_EXPOSED_HEADERS.join(", "));
    }

    #[test]
    fn the_list_is_bounded_in_number_and_in_bytes() {
        let names = |count: usize, length: usize| -> String {
            (0..count).map(|at| format!("x{at:0>length$}")).collect::<Vec<_>>().join(",")
        };
        const LIST: &str = "access-control-expose-headers";
        assert_eq!(list(&[(LIST, &names(1000, 4))]).split(", ").count(), MAX_EXPOSED_NAMES);
        assert!(list(&[(LIST, &names(60, 400))]).len() <= MAX_EXPOSED_LIST_BYTES);
    }

    #[test]
    fn a_list_costs_no_more_than_its_size() {
        const HEAD_BYTES: usize = 32 * 1024;
        for (name, part) in [("wildcards", "*,"), ("nothing", ","), ("one name", "a,"), ("names", ""), ("spaces", " ")]
        {
            let expose = |bytes: &[u8]| {
                let mut reply = HeaderMap::new();
                for number in 0..60 {
                    let name = HeaderName::try_from(format!("x-{number}-{}", "n".repeat(25))).unwrap();
                    reply.append(name, HeaderValue::from_static("1"));
                }
                for line in cost::lines(bytes) {
                    reply.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_bytes(line).unwrap());
                }
                exposed(&reply).len()
            };
            let more = |number| if part.is_empty() { format!("x-{number},") } else { part.to_owned() };
            let make = |size| cost::filled("", more, "", size);
            cost::assert_linear(
                name,
                HEAD_BYTES,
                cost::Allowance { output: MAX_EXPOSED_LIST_BYTES, ..cost::SHORT },
                make,
                expose,
            );
        }
    }
}
