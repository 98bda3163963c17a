//! A pull scanner over JSON: tokens in order, borrowed.
//!
//! The scanner builds no tree, so a hostile body costs time linear in its bytes. Nothing else bounds depth or number: a
//! limit that servers do not have would hide a message from sidebeat alone. Structure is checked (nesting, commas, an
//! end); the form of numbers is not, because the tokens only label a message. Called by `clearkey`, `nested_messages`,
//! `fairplay_hints` and `configured_wrapping`.

use memchr::memchr2;

pub(super) use super::json_text::JsonText;
use super::protobuf::MalformedProtobuf;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum JsonContainer {
    Array,
    Object,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum JsonToken<'a> {
    Close,
    Key(JsonText<'a>),
    Open(JsonContainer),
    /// A number, `true`, `false` or `null`.
    Scalar,
    String(JsonText<'a>),
}

#[derive(Clone, Copy)]
enum JsonExpected {
    AfterValue,
    FirstItem,
    FirstKey,
    Key,
    Value,
}

pub(super) struct JsonScanner<'a> {
    expect: JsonExpected,
    open: Vec<JsonContainer>,
    rest: &'a [u8],
}

impl<'a> JsonScanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { expect: JsonExpected::Value, open: Vec::new(), rest: body }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// `None` when the one value is complete and nothing follows it.
    pub(super) fn next(&mut self) -> Result<Option<JsonToken<'a>>, MalformedProtobuf> {
        self.rest = self.rest.trim_ascii_start();
        if matches!(self.expect, JsonExpected::AfterValue) {
            match (self.rest.first(), self.open.last()) {
                (None, None) => return Ok(None),
                (Some(b','), Some(JsonContainer::Array)) => self.step(JsonExpected::Value),
                (Some(b','), Some(JsonContainer::Object)) => self.step(JsonExpected::Key),
                (Some(b']'), Some(JsonContainer::Array)) | (Some(b'}'), Some(JsonContainer::Object)) => {
                    return self.close();
                }
                _ => return Err(MalformedProtobuf),
            }
            self.rest = self.rest.trim_ascii_start();
        }
        match (self.expect, self.rest.first()) {
            (JsonExpected::FirstItem, Some(b']')) | (JsonExpected::FirstKey, Some(b'}')) => self.close(),
            (JsonExpected::FirstKey | JsonExpected::Key, Some(b'"')) => self.key().map(Some),
            (JsonExpected::FirstItem | JsonExpected::Value, Some(byte)) => self.value(*byte).map(Some),
            _ => Err(MalformedProtobuf),
        }
    }

    fn step(&mut self, expect: JsonExpected) {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.expect = expect;
    }

    fn close(&mut self) -> Result<Option<JsonToken<'a>>, MalformedProtobuf> {
        self.open.pop();
        self.step(JsonExpected::AfterValue);
        Ok(Some(JsonToken::Close))
    }

    fn key(&mut self) -> Result<JsonToken<'a>, MalformedProtobuf> {
        let key = self.string()?;
        self.rest = self.rest.trim_ascii_start();
        if self.rest.first() != Some(&b':') {
            return Err(MalformedProtobuf);
        }
        self.step(JsonExpected::Value);
        Ok(JsonToken::Key(key))
    }

    fn value(&mut self, first: u8) -> Result<JsonToken<'a>, MalformedProtobuf> {
        let (container, expect) = match first {
            b'[' => (JsonContainer::Array, JsonExpected::FirstItem),
            b'{' => (JsonContainer::Object, JsonExpected::FirstKey),
            b'"' => {
                self.expect = JsonExpected::AfterValue;
                return self.string().map(JsonToken::String);
            }
            _ => return self.scalar(),
        };
        self.open.push(container);
        self.step(expect);
        Ok(JsonToken::Open(container))
    }

    fn scalar(&mut self) -> Result<JsonToken<'a>, MalformedProtobuf> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        self.rest = self.rest.get(length..).filter(|_| length > 0).ok_or(MalformedProtobuf)?;
        self.expect = JsonExpected::AfterValue;
        Ok(JsonToken::Scalar)
    }

    /// Reads a string; the input stands at its opening quote.
    fn string(&mut self) -> Result<JsonText<'a>, MalformedProtobuf> {
        let body = self.rest.get(1..).ok_or(MalformedProtobuf)?;
        let mut end = 0;
        loop {
            end += memchr2(b'"', b'\\', body.get(end..).ok_or(MalformedProtobuf)?).ok_or(MalformedProtobuf)?;
            if body.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let (text, rest) = body.split_at_checked(end).ok_or(MalformedProtobuf)?;
        self.rest = rest.get(1..).ok_or(MalformedProtobuf)?;
        Ok(JsonText::new(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(body: &[u8]) -> Result<Vec<JsonToken<'_>>, MalformedProtobuf> {
        let mut scanner = JsonScanner::new(body);
        std::iter::from_fn(|| scanner.next().transpose()).collect()
    }

    #[test]
    fn the_scanner_checks_structure() {
        for good in ["1", "\"a\"", "[]", "{}", " [1, -2.5e+3 ,null] ", r#"{"a":{"b":[true,"c"]},"d":""}"#] {
            assert!(scan(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "[",
            "{",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:2}",
            "[}",
            "1 2",
            "\"a",
            "\"a\\\"",
            "[,1]",
            "]",
        ] {
            assert_eq!(scan(bad.as_bytes()), Err(MalformedProtobuf), "{bad}");
        }
    }

    #[test]
    fn depth_and_number_hide_no_token() {
        assert!(scan(("[".repeat(5_000) + &"]".repeat(5_000)).as_bytes()).is_ok());
        assert_eq!(scan(format!("[{}]", vec!["1"; 5_000].join(",")).as_bytes()).map(|tokens| tokens.len()), Ok(5_002));
    }

    proptest! {
        #[test]
        fn the_scanner_accepts_all_json_that_serde_json_accepts(body in r#"[\[\]{}",:1a\\ ]{0,12}"#) {
            if serde_json::from_str::<serde_json::Value>(&body).is_ok() {
                prop_assert!(scan(body.as_bytes()).is_ok(), "{}", body);
            }
        }

        #[test]
        fn strings_mean_what_serde_json_says(text in any::<String>()) {
            let written = serde_json::to_vec(&text).unwrap();
            let tokens = scan(&written).unwrap();
            let [JsonToken::String(read)] = tokens[..] else { panic!("{tokens:?}") };
            prop_assert_eq!(&*read.unescape(), text.as_bytes());
        }
    }
}
