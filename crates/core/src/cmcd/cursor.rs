//! A position in a list, and the smallest pieces read there.
//!
//! The grammar is that of a structured dictionary (RFC 8941, section 3.2), read liberally: any word without a delimiter
//! stands for itself, and quoted text may hold more than ASCII. Every step moves forward or ends, and nothing nests, so
//! reading takes time linear in the input. `item` calls this module.

use std::borrow::Cow;

/// Text outside the grammar. The error has no details, because no caller reports it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MalformedCmcd;

/// The unread rest of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Takes `wanted` if it stands next.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let after = self.rest.strip_prefix(wanted);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    pub(super) fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    pub(super) fn key(&mut self) -> Result<&'a str, MalformedCmcd> {
        let key = self.take_until(|c: char| !(c.is_ascii_alphanumeric() || "_-.*".contains(c)));
        if key.is_empty() { Err(MalformedCmcd) } else { Ok(key) }
    }

    /// A token, a number or any other unquoted word; empty when a delimiter stands next.
    pub(super) fn bare(&mut self) -> &'a str {
        self.take_until(|c: char| matches!(c, ',' | ';' | '"' | '(' | ')' | ' ' | '\t'))
    }

    /// The text up to the closing quote, after the opening one; borrowed unless it holds escapes.
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, str>, MalformedCmcd> {
        let mut text = Cow::Borrowed(self.take_until(|c| matches!(c, '"' | '\\')));
        while !self.eat('"') {
            if !self.eat('\\') {
                return Err(MalformedCmcd);
            }
            let escaped = if self.eat('"') {
                '"'
            } else {
                // A backslash that escapes nothing known stands for itself.
                self.eat('\\');
                '\\'
            };
            text.to_mut().push(escaped);
            text.to_mut().push_str(self.take_until(|c| matches!(c, '"' | '\\')));
        }
        Ok(text)
    }

    /// Reads over `;name` and `;name=value`, and says whether one of them is `v`, the video track.
    pub(super) fn parameters(&mut self) -> Result<bool, MalformedCmcd> {
        let mut video = false;
        while self.eat(';') {
            self.skip_space();
            video |= self.key()? == "v";
            if !self.eat('=') {
                continue;
            }
            if self.eat('"') {
                self.quoted()?;
            } else {
                self.bare();
            }
        }
        Ok(video)
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_unescaped_once() {
        let rows = [
            (r#"plain" rest"#, Ok("plain")),
            (r#"""#, Ok("")),
            (r#"a\"b\\c""#, Ok(r#"a"b\c"#)),
            (r#"\\\\""#, Ok(r"\\")),
            (r#"a\nb""#, Ok(r"a\nb")),
            (r#"é, (ü)""#, Ok("é, (ü)")),
            ("open", Err(MalformedCmcd)),
            (r#"open\"#, Err(MalformedCmcd)),
            (r#"open\""#, Err(MalformedCmcd)),
            ("", Err(MalformedCmcd)),
        ];
        for (text, expected) in rows {
            let read = Cursor::new(text).quoted();
            assert_eq!(read.as_deref(), expected.as_ref().map(|text| *text), "{text}");
        }
        assert!(matches!(Cursor::new("plain\"").quoted(), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn parameters_tell_the_video_track() {
        let rows = [
            (";v)", Ok(true)),
            ("; v", Ok(true)),
            (";a", Ok(false)),
            (";r=\"0-;v\";x=1", Ok(false)),
            (";a;v=?1", Ok(true)),
            ("", Ok(false)),
            (";", Err(MalformedCmcd)),
            (";r=\"0", Err(MalformedCmcd)),
        ];
        for (text, expected) in rows {
            assert_eq!(Cursor::new(text).parameters(), expected, "{text}");
        }
    }
}
