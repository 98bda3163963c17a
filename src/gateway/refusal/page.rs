//! `GET {route}/~refused/ERROR/INCIDENT`: the page that a refusal's `href` leads to, for the viewer.
//!
//! Shows the error, the incident and advice, in plain HTML without scripts, and needs no memory of the refusal.
//! If a limit of the embedded authority was met, the refused player also gets a key. With the key the page shows
//! the account's running playbacks and can end one of them (POST); without it they stay hidden.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use std::time::Duration;

use super::slot_tickets::SlotTicket;
use super::viewer_texts::{ViewerTexts, advice_of, key_of};
use crate::authority::ledger::SlotNumber;
use crate::authority::{Authority, HeldSlot};
use crate::config::ViewerTextSettings;
use crate::edge::{ReplyBody, RequestBody, VIEWER_PAGE, body, is_own_page, own_replies};
use crate::gateway::query;
use crate::gateway::route::GatewayRoute;
use crate::gateway::{Gateway, refuse};
use crate::ids::Incident;
use crate::telemetry::SlotEnd;

const MARK: &str = VIEWER_PAGE;
/// Longest name of an error that is read; real ones are shorter.
const MAX_ERROR_BYTES: usize = 60;
/// A form holds a key and a slot.
const MAX_FORM_BYTES: usize = 1024;
/// More slots do not fit on a page, and no household has them.
const MAX_SHOWN_SLOTS: usize = 16;
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Allows no script, no style and no other source, forms to us alone, and no frame.
const POLICY: &str = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The refusal that the page explains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) struct RefusalPage<'a> {
    error: &'a str,
    incident: Incident,
}

/// The right to see an account's slots and to end one for a device. Only proven accounts have it.
#[derive(Clone, Copy)]
pub(in crate::gateway) struct SlotEndClaim<'a> {
    account: &'a str,
    device: &'a str,
}

impl<'a> SlotEndClaim<'a> {
    /// `None` if the account is not proven.
    pub(in crate::gateway) fn of(account: Option<&'a str>, device: Option<&'a str>, is_proven: bool) -> Option<Self> {
        let (account, device) = account.zip(device).filter(|_| is_proven)?;
        Some(Self { account, device })
    }
}

/// State of the account's slots on the page.
enum SlotList {
    /// No slots are shown, because the viewer has no key.
    Absent,
    Freed,
    Gone,
    Shown {
        held: Vec<HeldSlot>,
        key: String,
    },
}

/// Path of this refusal's page. A call without a route gets a path above all routes.
pub(in crate::gateway) fn path_of(
    route: Option<&GatewayRoute>,
    error: &str,
    incident: impl std::fmt::Display,
) -> String {
    format!("{}{MARK}{error}/{incident}", route.map_or("", |route| &*route.path).trim_end_matches('/'))
}

/// The page of a call without a route. It shows no slots.
pub(in crate::gateway) fn without_route(
    texts: &ViewerTextSettings,
    page: RefusalPage<'_>,
    request: &Request<RequestBody>,
) -> Response<ReplyBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "this page is read by GET");
    }
    html(page, (None, texts), request.headers(), &SlotList::Absent)
}

/// Reads the page's error and incident from the path behind a route's path.
pub(in crate::gateway) fn of(rest: &str) -> Option<RefusalPage<'_>> {
    let (error, incident) = rest.strip_prefix(MARK)?.split_once('/')?;
    let is_name = error.len() <= MAX_ERROR_BYTES && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let incident = Incident::parse(incident)?;
    (is_name && !error.is_empty()).then_some(RefusalPage { error, incident })
}

impl Gateway {
    /// Issues a key for the refused player, if its account is believed and may free slots.
    pub(in crate::gateway) fn issue_slot_ticket(
        &self,
        authority: &Authority,
        SlotEndClaim { account, device }: SlotEndClaim<'_>,
        incident: Incident,
    ) -> Option<String> {
        if !authority.counter()?.config().viewers_free_slots {
            return None;
        }
        let (account, device) = (account.to_owned(), device.to_owned());
        self.slot_tickets.issue(self.clock.now(), incident, (authority.name.clone(), account, device))
    }

    pub(in crate::gateway) async fn show_refusal(
        &self,
        route: &GatewayRoute,
        page: RefusalPage<'_>,
        request: Request<RequestBody>,
    ) -> Response<ReplyBody> {
        let (parts, incoming) = request.into_parts();
        let slots = match parts.method {
            Method::GET | Method::HEAD => {
                self.list_slots(route, page, query::value(parts.uri.query(), "key").as_deref())
            }
            Method::POST => {
                // A foreign page may neither send the form nor see its result.
                if !is_own_page(&parts.headers, parts.uri.authority(), self.public_url.as_deref()) {
                    const FOREIGN_FORM_DETAIL: &str = "only the page itself may send this form";
                    return refuse(StatusCode::FORBIDDEN, "foreign_form", FOREIGN_FORM_DETAIL);
                }
                match body::collect(incoming, MAX_FORM_BYTES, route.limits.body).await {
                    Ok(form) => self.free_slot(route, page, std::str::from_utf8(&form).unwrap_or_default()),
                    Err(fault) => return fault.reply(),
                }
            }
            _ => return refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "this page is read by GET"),
        };
        html(page, (Some(route), &route.texts), &parts.headers, &slots)
    }

    fn list_slots(&self, route: &GatewayRoute, page: RefusalPage<'_>, key: Option<&str>) -> SlotList {
        let now = self.clock.now();
        let ticket = key.and_then(|key| self.slot_tickets.find(now, page.incident, key));
        let listed = key.zip(ticket).and_then(|(key, ticket)| {
            let counter = authority_of(route, &ticket)?.counter()?;
            let held = counter.held_by(now, &ticket.account, MAX_SHOWN_SLOTS);
            Some(SlotList::Shown { held, key: key.to_owned() })
        });
        listed.unwrap_or(SlotList::Absent)
    }

    /// Frees the slot for the device that was refused.
    fn free_slot(&self, route: &GatewayRoute, page: RefusalPage<'_>, form: &str) -> SlotList {
        let (now, field) = (self.clock.now(), |name| query::value(Some(form), name));
        // A form without a slot uses up no key.
        let slot = field("slot").and_then(|slot| u64::from_str_radix(&slot, 16).ok()).map(SlotNumber);
        let Some(slot) = slot else { return SlotList::Gone };
        let ticket = field("key").and_then(|key| self.slot_tickets.take(now, page.incident, &key));
        let Some(ticket) = ticket else { return SlotList::Gone };
        let authority = authority_of(route, &ticket);
        let counter = authority.and_then(Authority::counter);
        let freed = counter.is_some_and(|counter| counter.move_within(now, &ticket.account, slot, &ticket.device));
        let Some(authority) = authority.filter(|_| freed) else {
            self.slot_tickets.put_back(ticket);
            return SlotList::Gone;
        };
        self.telemetry.metrics.slots_ended(&authority.name, SlotEnd::Viewer, 1);
        if self.telemetry.may_write("slot freed", &ticket.device, Default::default()) {
            let [device, account] = [&ticket.device, &ticket.account].map(|name| self.telemetry.shown(name));
            let (authority, slot) = (&*authority.name, format!("{:016x}", slot.0));
            tracing::info!(incident = %page.incident, authority, account, device, slot, "a viewer freed a slot");
        }
        SlotList::Freed
    }
}

/// The authority of a ticket, if it is still the route's.
fn authority_of<'a>(route: &'a GatewayRoute, ticket: &SlotTicket) -> Option<&'a Authority> {
    route.authority.as_deref().filter(|authority| authority.name == ticket.authority)
}

fn html(
    page: RefusalPage<'_>,
    (route, texts): (Option<&GatewayRoute>, &ViewerTextSettings),
    headers: &HeaderMap,
    slots: &SlotList,
) -> Response<ReplyBody> {
    let texts = ViewerTexts::choose(texts, headers);
    let text = |key: &str| escape(texts.text(key));
    let key = key_of(page.error);
    let (title, language) = (text("page-title"), texts.tag());
    let about = match slots {
        SlotList::Freed => paragraph(&text("page-freed")),
        SlotList::Gone => paragraph(&text("page-gone")),
        SlotList::Absent => paragraph(&text(key)) + &paragraph(&text(&advice_of(key))),
        SlotList::Shown { held, key: secret } => {
            let said = paragraph(&text(key)) + &paragraph(&text(&advice_of(key)));
            said + &list(&texts, held, secret, &path_of(route, page.error, page.incident))
        }
    };
    let incident = paragraph(&format!("{} <strong>{}</strong>", text("page-incident"), page.incident));
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{about}{incident}</body>\n</html>\n"
    );
    let mut response = own_replies::own(StatusCode::OK, "text/html; charset=utf-8", Full::new(text.into()));
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        // The URL holds the key. Browsers must still tell us which page sent a form.
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn list(texts: &ViewerTexts<'_>, held: &[HeldSlot], key: &str, path: &str) -> String {
    if held.is_empty() {
        return paragraph(&escape(texts.text("page-again")));
    }
    let rows = held.iter().map(|held| {
        format!(
            "<li>{} ({})\n<form method=\"post\" action=\"{}\">\n<input type=\"hidden\" name=\"key\" value=\"{}\">\n\
             <input type=\"hidden\" name=\"slot\" value=\"{:016x}\">\n<button>{}</button>\n</form>\n</li>\n",
            escape(&held.device),
            minutes(held.age),
            escape(path),
            escape(key),
            held.slot.0,
            escape(texts.text("page-free")),
        )
    });
    format!("{}<ul>\n{}</ul>\n", paragraph(&escape(texts.text("page-places"))), rows.collect::<String>())
}

/// Hours and minutes, in a form that every language uses.
fn minutes(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

fn paragraph(html: &str) -> String {
    format!("<p>{html}</p>\n")
}

fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_an_error_and_an_incident() {
        let page = of("/~refused/limit_reached/0123456Z").unwrap();
        assert_eq!((page.error, page.incident.to_string().as_str()), ("limit_reached", "0123456Z"));
        for other in [
            "",
            "/~refused",
            "/~refused/",
            "/~refused/limit_reached",
            "/~refused/limit_reached/",
            "/~refused//01234567",
            "/~refused/Limit/01234567",
            "/~refused/a b/01234567",
            "/~refused/limit_reached/0123456",
            "/~refused/limit_reached/012345678",
            "/~refused/limit_reached/0123456U",
            "/~refused/limit_reached/01234567/more",
            "/x/~refused/limit_reached/01234567",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(of(&format!("/~refused/{}/01234567", "a".repeat(MAX_ERROR_BYTES + 1))), None);
    }

    #[test]
    fn names_are_text_and_no_html() {
        assert_eq!(escape("<b>&\"'</b>"), "&lt;b&gt;&amp;&quot;&#39;&lt;/b&gt;");
        assert_eq!(minutes(Duration::from_secs(3_725)), "1:02");
    }
}
