//! The template of a header's value that is filled in for each call: `Bearer {header:x-user}`.

use std::fmt;

use http::{HeaderName, HeaderValue};

/// Texts and the placeholders between them.
#[derive(Clone, Eq, PartialEq)]
pub struct HeaderTemplate(Vec<TemplatePart>);

#[derive(Clone, Eq, PartialEq)]
enum TemplatePart {
    Place(HeaderPlaceholder),
    Text(String),
}

/// A value that a template's `{…}` stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HeaderPlaceholder {
    CatalogType,
    ContentId,
    DeviceId,
    /// `header:NAME`: a header of the app's own authorize call.
    Header(HeaderName),
    HeartbeatToken,
    /// A fresh UUID.
    TrackingId,
}

impl HeaderTemplate {
    /// # Errors
    /// The text is no template; the error tells the remedy.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "may have {catalogType}, {contentId}, {deviceId}, {header:NAME}, {heartbeatToken} and \
                            {trackingId}, and no other braces";
        let (mut parts, mut left) = (Vec::new(), text);
        while let Some((before, rest)) = left.split_once('{') {
            let (name, after) = rest.split_once('}').ok_or(EXPECTED)?;
            parts.extend([
                TemplatePart::Text(before.to_owned()),
                TemplatePart::Place(HeaderPlaceholder::parse(name).ok_or(EXPECTED)?),
            ]);
            left = after;
        }
        parts.push(TemplatePart::Text(left.to_owned()));
        let text = parts.iter().all(|part| match part {
            TemplatePart::Place(_) => true,
            TemplatePart::Text(text) => !text.contains('}') && HeaderValue::from_str(text).is_ok(),
        });
        if text { Ok(Self(parts)) } else { Err(EXPECTED) }
    }

    /// The headers of the authorize call that the template needs.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|part| match part {
            TemplatePart::Place(HeaderPlaceholder::Header(name)) => Some(name),
            TemplatePart::Place(_) | TemplatePart::Text(_) => None,
        })
    }

    /// Fills the template; `None` if a value is unknown or cannot stand in a header.
    pub fn fill(&self, known: impl Fn(&HeaderPlaceholder) -> Option<String>) -> Option<HeaderValue> {
        let mut whole = String::new();
        for part in &self.0 {
            match part {
                TemplatePart::Place(place) => whole.push_str(&known(place)?),
                TemplatePart::Text(text) => whole.push_str(text),
            }
        }
        let mut value = HeaderValue::from_str(&whole).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl HeaderPlaceholder {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "catalogType" => Some(Self::CatalogType),
            "contentId" => Some(Self::ContentId),
            "deviceId" => Some(Self::DeviceId),
            "heartbeatToken" => Some(Self::HeartbeatToken),
            "trackingId" => Some(Self::TrackingId),
            _ => Some(Self::Header(name.strip_prefix("header:")?.parse().ok()?)),
        }
    }
}

/// Hides the texts, because an operator may put an API key into any of them.
impl fmt::Debug for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_filled_and_one_that_is_not_known_leaves_the_header_out() {
        let known = |place: &HeaderPlaceholder| match place {
            HeaderPlaceholder::DeviceId => Some("tv".to_owned()),
            HeaderPlaceholder::Header(name) if name == "x-user" => Some("ann".to_owned()),
            HeaderPlaceholder::CatalogType
            | HeaderPlaceholder::ContentId
            | HeaderPlaceholder::Header(_)
            | HeaderPlaceholder::HeartbeatToken
            | HeaderPlaceholder::TrackingId => None,
        };
        let fill = |text: &str| HeaderTemplate::parse(text).unwrap().fill(known);
        for (text, value) in [
            ("key", Some("key")),
            ("Bearer {header:X-User}/{deviceId}", Some("Bearer ann/tv")),
            ("{deviceId}", Some("tv")),
            ("{contentId}", None),
            ("{header:x-other}", None),
        ] {
            assert_eq!(fill(text).as_ref().map(|value| value.to_str().unwrap()), value, "{text}");
        }
        for text in ["{", "}", "{}", "{deviceid}", "{header:}", "a}b{deviceId}", "a\nb"] {
            assert!(HeaderTemplate::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            format!("{:?} {:?}", HeaderTemplate::parse("hush").unwrap(), fill("hush").unwrap()),
            "Template Sensitive"
        );
    }

    proptest! {
        #[test]
        fn no_template_is_too_odd(text in "[{}a-z:é\\PC]{0,20}", name in ".{0,8}") {
            if let Ok(template) = HeaderTemplate::parse(&text) {
                let _ = template.fill(|_| Some(name.clone()));
            }
        }
    }
}
