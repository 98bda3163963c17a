//! The header of a license call under SSM: the configured mix of content token and session token.
//!
//! Read once into pieces, so that a call writes its value at one go and a token's own text is never read as a
//! placeholder.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

#[derive(Clone, Debug)]
pub struct AuthorizationTemplate(Vec<TemplatePiece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum TemplatePiece {
    Content,
    Session,
    Text(String),
}

const CONTENT: &str = "{content}";
const SESSION: &str = "{session}";

impl Default for AuthorizationTemplate {
    fn default() -> Self {
        Self(vec![TemplatePiece::Content, TemplatePiece::Text(",".to_owned()), TemplatePiece::Session])
    }
}

impl AuthorizationTemplate {
    /// Reads a template. It must hold the session's token, without which the license server refuses.
    ///
    /// # Errors
    /// The fault, for the operator.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.contains(SESSION) {
            return Err("must hold {session}");
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, placeholder) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(TemplatePiece::Text(before.to_owned()));
            }
            let (piece, after) = match (placeholder.strip_prefix(CONTENT), placeholder.strip_prefix(SESSION)) {
                (Some(after), _) => (TemplatePiece::Content, after),
                (None, Some(after)) => (TemplatePiece::Session, after),
                (None, None) => return Err("must hold no other placeholders than {content} and {session}"),
            };
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(TemplatePiece::Text(rest.to_owned()));
        }
        match HeaderValue::from_str(text) {
            Ok(_) => Ok(Self(pieces)),
            Err(_) => Err("must be the text of a header, without line breaks"),
        }
    }

    /// The header's value with these tokens, marked as sensitive. `None` if a token cannot stand in a header.
    pub fn fill(&self, content: &str, session: &str) -> Option<HeaderValue> {
        let texts = || {
            self.0.iter().map(|piece| match piece {
                TemplatePiece::Content => content,
                TemplatePiece::Session => session,
                TemplatePiece::Text(text) => text,
            })
        };
        let mut line = BytesMut::with_capacity(texts().map(str::len).sum());
        for text in texts() {
            line.put_slice(text.as_bytes());
        }
        let mut value = HeaderValue::from_maybe_shared(line.freeze()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_holds_the_sessions_token_and_no_unknown_placeholder() {
        for (text, good) in [
            ("{content},{session}", true),
            ("{session}", true),
            ("{session}{session}", true),
            ("a {content} b {session} c", true),
            ("{content}", false),
            ("", false),
            ("{session},{token}", false),
            ("{session}}", false),
            ("{{session}", false),
            ("{session} {content", false),
            ("{session}\n", false),
        ] {
            assert_eq!(AuthorizationTemplate::parse(text).is_ok(), good, "{text:?}");
        }
    }

    proptest! {
        /// The tokens may spell placeholders.
        #[test]
        fn tokens_stand_where_the_template_says_and_unchanged(
            pieces in prop::collection::vec("[a-z ,;]{0,4}|\\{content\\}|\\{session\\}", 0..6),
            content in "[a-z]{0,3}(\\{session\\}|\\{content\\}|[{}]){0,3}",
            session in "[a-z]{0,3}(\\{session\\}|\\{content\\}|[{}]){0,3}",
        ) {
            let text = format!("{{session}}{}", pieces.concat());
            let template = AuthorizationTemplate::parse(&text).unwrap();
            let expected: String = std::iter::once("{session}").chain(pieces.iter().map(|piece| &**piece)).map(|piece| {
                match piece {
                    "{content}" => &content,
                    "{session}" => &session,
                    text => text,
                }
            }).collect();
            let value = template.fill(&content, &session).unwrap();
            prop_assert!(value.is_sensitive());
            prop_assert_eq!(value.as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_fills_nothing() {
        assert!(AuthorizationTemplate::default().fill("a\r\nb", "c").is_none());
        assert_eq!(AuthorizationTemplate::default().fill("a", "b").unwrap(), "a,b");
    }
}
