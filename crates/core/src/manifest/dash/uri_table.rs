//! The table of all elements and attributes of an MPD with a URI; `docs/media.md` gives the reasons. The DASH parser
//! looks them up.

use super::UriTextKind;

/// The use of an attribute's URI, which decides what is done with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum UriKind {
    /// Requested beside the media. A URI with a server stays; a path is kept on the route.
    Beside,
    /// Files of the media, below the bases in force.
    File,
    License,
    /// Another MPD.
    Manifest,
    /// A part of this MPD.
    Part,
    /// The attribute is removed.
    Removed,
    /// A segment for the content of the element.
    Segment,
    /// A segment in an element of a list.
    SegmentOfList,
    /// A template of segments by number or time.
    Template,
}

pub(in super::super) struct DashUriAttribute {
    /// Empty for any element.
    pub(in super::super) element: &'static str,
    pub(in super::super) kind: UriKind,
    pub(in super::super) name: &'static str,
    /// Start of the element's `schemeIdUri`.
    pub(in super::super) scheme: &'static str,
}

const fn row(element: &'static str, name: &'static str, kind: UriKind) -> DashUriAttribute {
    DashUriAttribute { element, kind, name, scheme: "" }
}

const fn of_scheme(element: &'static str, scheme: &'static str, name: &'static str, kind: UriKind) -> DashUriAttribute {
    DashUriAttribute { element, kind, name, scheme }
}

pub(in super::super) const URI_ATTRIBUTES: [DashUriAttribute; 34] = [
    row("AdaptationSet", "initializationPrincipal", UriKind::Segment),
    row("BitstreamSwitching", "sourceURL", UriKind::SegmentOfList),
    row("Channel", "endpoint", UriKind::Beside),
    row("ContentSteering", "proxyServerURL", UriKind::Removed),
    of_scheme("EssentialProperty", "urn:dvb:dash:fontdownload:", "url", UriKind::File),
    of_scheme("EssentialProperty", "urn:mpeg:dash:fallback:", "value", UriKind::Manifest),
    row("EmptyAdaptationSet", "initializationPrincipal", UriKind::Segment),
    of_scheme("EssentialProperty", "urn:mpeg:dash:mpd-as-linking:", "value", UriKind::Manifest),
    of_scheme("EssentialProperty", "urn:mpeg:dash:mpd-chaining:", "value", UriKind::Manifest),
    row("ImportedMPD", "uri", UriKind::Manifest),
    row("Initialization", "sourceURL", UriKind::SegmentOfList),
    row("InitializationSet", "initialization", UriKind::Segment),
    row("InsertPresentation", "url", UriKind::Manifest),
    row("Laurl", "LicenseUrl", UriKind::License),
    row("Laurl", "licenseUrl", UriKind::License),
    row("OverlayPresentation", "url", UriKind::Manifest),
    row("ProgramInformation", "moreInformationURL", UriKind::Beside),
    row("ReplacePresentation", "url", UriKind::Manifest),
    row("Reporting", "reportingServer", UriKind::Beside),
    row("Reporting", "reportingUrl", UriKind::Beside),
    row("RepresentationIndex", "sourceURL", UriKind::SegmentOfList),
    row("SegmentTemplate", "bitstreamSwitching", UriKind::Template),
    row("SegmentTemplate", "index", UriKind::Template),
    row("SegmentTemplate", "initialization", UriKind::Template),
    row("SegmentTemplate", "media", UriKind::Template),
    row("SegmentURL", "index", UriKind::SegmentOfList),
    row("SegmentURL", "media", UriKind::SegmentOfList),
    row("SelectionInfo", "contactURL", UriKind::Beside),
    of_scheme("SupplementalProperty", "urn:dvb:dash:fontdownload:", "url", UriKind::File),
    of_scheme("SupplementalProperty", "urn:mpeg:dash:fallback:", "value", UriKind::Manifest),
    of_scheme("SupplementalProperty", "urn:mpeg:dash:mpd-as-linking:", "value", UriKind::Manifest),
    of_scheme("SupplementalProperty", "urn:mpeg:dash:mpd-chaining:", "value", UriKind::Manifest),
    of_scheme("UTCTiming", "urn:mpeg:dash:utc:http-", "value", UriKind::Beside),
    row("", "xlink:href", UriKind::Part),
];

/// Events whose messages are URLs that the player requests (ISO/IEC 23009-1, DASH-IF callback events).
const CALLBACK_SCHEME: &str = "urn:mpeg:dash:event:callback:";
/// Events whose texts are MPDs to insert.
const INSERTION_SCHEME: &str = "urn:mpeg:dash:event:insertion:";
/// Events whose segments bring MPDs and patches, which would pass unedited.
pub(super) const UPDATE_SCHEME: &str = "urn:mpeg:dash:event:2012";
pub(super) const UPDATES_WITH_TEXT: [&str; 2] = ["2", "3"];

/// Elements whose own text is a URI.
pub(in super::super) const URI_TEXTS: [(&str, UriTextKind); 8] = [
    ("Authzurl", UriTextKind::Beside),
    ("BaseURL", UriTextKind::Base),
    ("Certurl", UriTextKind::Beside),
    ("ContentSteering", UriTextKind::Steering),
    ("ImportedMPD", UriTextKind::Manifest),
    ("Laurl", UriTextKind::License),
    ("Location", UriTextKind::Manifest),
    ("PatchLocation", UriTextKind::Patch),
];

/// The use of the texts in an event stream, if they are URLs.
pub(super) fn events(scheme: &str) -> Option<UriTextKind> {
    match scheme {
        _ if scheme.starts_with(CALLBACK_SCHEME) => Some(UriTextKind::Beside),
        _ if scheme.starts_with(INSERTION_SCHEME) => Some(UriTextKind::Manifest),
        _ => None,
    }
}

/// Compares names without case, because servers and guidelines write DRM elements differently.
fn is(known: &str, name: &str) -> bool {
    known == name || (known.ends_with("url") && known.eq_ignore_ascii_case(name))
}

pub(super) fn uri_text(element: &str) -> Option<UriTextKind> {
    URI_TEXTS.iter().find(|(known, _)| is(known, element)).map(|(_, text)| *text)
}

/// The rows of an element's attributes, without those for any element.
pub(super) fn rows(element: &str) -> impl Iterator<Item = &'static DashUriAttribute> + Clone + use<'_> {
    URI_ATTRIBUTES.iter().filter(move |row| is(row.element, element))
}
