//! A header that sidebeat writes toward an upstream: `x-forwarded-for: {viewer-address}`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The placeholder of the viewer's address.
const ADDRESS_PLACEHOLDER: &str = "{viewer-address}";

/// Set for each call, replacing the player's own header of that name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ViewerHeader {
    name: HeaderName,
    /// The texts between the placeholders.
    texts: Vec<String>,
}

impl ViewerHeader {
    /// # Errors
    /// The template is faulty; the error tells the remedy.
    pub(super) fn new(name: HeaderName, template: &str) -> Result<Self, String> {
        let texts: Vec<_> = template.split(ADDRESS_PLACEHOLDER).map(str::to_owned).collect();
        let plain = texts.iter().all(|text| !text.contains(['{', '}']) && HeaderValue::from_str(text).is_ok());
        if texts.len() < 2 || !plain {
            return Err(format!("must hold {ADDRESS_PLACEHOLDER} behind the colon, and no other braces"));
        }
        Ok(Self { name, texts })
    }

    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    pub fn write(&self, viewer: IpAddr, headers: &mut HeaderMap) {
        // Made of checked texts and an address, so this cannot fail.
        if let Ok(value) = HeaderValue::try_from(self.texts.join(&viewer.to_string())) {
            headers.insert(self.name.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_viewers_address_replaces_what_the_player_sent() {
        let mut headers = HeaderMap::new();
        headers.append("x-client", HeaderValue::from_static("6.6.6.6"));
        headers.append("x-client", HeaderValue::from_static("7.7.7.7"));
        for (template, address, expected) in [
            ("{viewer-address}", "203.0.113.9", "203.0.113.9"),
            ("for=\"[{viewer-address}]\";proto=https", "2001:db8::9", "for=\"[2001:db8::9]\";proto=https"),
            ("{viewer-address}, {viewer-address}", "::1", "::1, ::1"),
        ] {
            let header = ViewerHeader::new(HeaderName::from_static("x-client"), template).unwrap();
            header.write(address.parse().unwrap(), &mut headers);
            let values: Vec<_> = headers.get_all("x-client").iter().collect();
            assert_eq!(values, [expected]);
        }
        for template in ["", "constant", "{viewer}", "{viewer-address}}", "{viewer-address}\n", "é{viewer-address}\0"]
        {
            assert!(ViewerHeader::new(HeaderName::from_static("x-client"), template).is_err(), "{template}");
        }
    }
}
