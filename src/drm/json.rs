//! A pull scanner over JSON: tokens in order, borrowed.
//!
//! Builds no tree, so a hostile body costs what its bytes cost; nothing else bounds depth or number, or what a server
//! skips would hide a message from us alone. It checks structure (nesting,
//! commas, an end) and is lenient about what numbers look like: its results label a message and are
//! trusted for nothing. Used by `clearkey`, `peel` and `wrap`.

use memchr::memchr2;

pub(super) use super::json_text::Text;
use super::protobuf::Malformed;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Container {
    Array,
    Object,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Token<'a> {
    Close,
    Key(Text<'a>),
    Open(Container),
    /// A number, `true`, `false` or `null`.
    Scalar,
    String(Text<'a>),
}

#[derive(Clone, Copy)]
enum Expect {
    AfterValue,
    FirstItem,
    FirstKey,
    Key,
    Value,
}

pub(super) struct Scanner<'a> {
    expect: Expect,
    open: Vec<Container>,
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { expect: Expect::Value, open: Vec::new(), rest: body }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// `None` when the one value is complete and nothing follows it.
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>, Malformed> {
        self.rest = self.rest.trim_ascii_start();
        if matches!(self.expect, Expect::AfterValue) {
            match (self.rest.first(), self.open.last()) {
                (None, None) => return Ok(None),
                (Some(b','), Some(Container::Array)) => self.step(Expect::Value),
                (Some(b','), Some(Container::Object)) => self.step(Expect::Key),
                (Some(b']'), Some(Container::Array)) | (Some(b'}'), Some(Container::Object)) => return self.close(),
                _ => return Err(Malformed),
            }
            self.rest = self.rest.trim_ascii_start();
        }
        match (self.expect, self.rest.first()) {
            (Expect::FirstItem, Some(b']')) | (Expect::FirstKey, Some(b'}')) => self.close(),
            (Expect::FirstKey | Expect::Key, Some(b'"')) => self.key().map(Some),
            (Expect::FirstItem | Expect::Value, Some(byte)) => self.value(*byte).map(Some),
            _ => Err(Malformed),
        }
    }

    fn step(&mut self, expect: Expect) {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.expect = expect;
    }

    fn close(&mut self) -> Result<Option<Token<'a>>, Malformed> {
        self.open.pop();
        self.step(Expect::AfterValue);
        Ok(Some(Token::Close))
    }

    fn key(&mut self) -> Result<Token<'a>, Malformed> {
        let key = self.string()?;
        self.rest = self.rest.trim_ascii_start();
        if self.rest.first() != Some(&b':') {
            return Err(Malformed);
        }
        self.step(Expect::Value);
        Ok(Token::Key(key))
    }

    fn value(&mut self, first: u8) -> Result<Token<'a>, Malformed> {
        let (container, expect) = match first {
            b'[' => (Container::Array, Expect::FirstItem),
            b'{' => (Container::Object, Expect::FirstKey),
            b'"' => {
                self.expect = Expect::AfterValue;
                return self.string().map(Token::String);
            }
            _ => return self.scalar(),
        };
        self.open.push(container);
        self.step(expect);
        Ok(Token::Open(container))
    }

    fn scalar(&mut self) -> Result<Token<'a>, Malformed> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        self.rest = self.rest.get(length..).filter(|_| length > 0).ok_or(Malformed)?;
        self.expect = Expect::AfterValue;
        Ok(Token::Scalar)
    }

    /// At its opening quote.
    fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let body = self.rest.get(1..).ok_or(Malformed)?;
        let mut end = 0;
        loop {
            end += memchr2(b'"', b'\\', body.get(end..).ok_or(Malformed)?).ok_or(Malformed)?;
            if body.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let (text, rest) = body.split_at_checked(end).ok_or(Malformed)?;
        self.rest = rest.get(1..).ok_or(Malformed)?;
        Ok(Text::new(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(body: &[u8]) -> Result<Vec<Token<'_>>, Malformed> {
        let mut scanner = Scanner::new(body);
        std::iter::from_fn(|| scanner.next().transpose()).collect()
    }

    #[test]
    fn structure_is_checked() {
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
            assert_eq!(scan(bad.as_bytes()), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn neither_depth_nor_number_hides_anything() {
        assert!(scan(("[".repeat(5_000) + &"]".repeat(5_000)).as_bytes()).is_ok());
        assert_eq!(scan(format!("[{}]", vec!["1"; 5_000].join(",")).as_bytes()).map(|tokens| tokens.len()), Ok(5_002));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_it_accepts(body in r#"[\[\]{}",:1a\\ ]{0,12}"#) {
            if serde_json::from_str::<serde_json::Value>(&body).is_ok() {
                prop_assert!(scan(body.as_bytes()).is_ok(), "{}", body);
            }
        }

        #[test]
        fn strings_mean_what_serde_json_says(text in any::<String>()) {
            let written = serde_json::to_vec(&text).unwrap();
            let tokens = scan(&written).unwrap();
            let [Token::String(read)] = tokens[..] else { panic!("{tokens:?}") };
            prop_assert_eq!(&*read.unescape(), text.as_bytes());
        }
    }
}
