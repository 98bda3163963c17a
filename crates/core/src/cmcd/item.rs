//! Splits a list into its keys, each with its value as written.
//!
//! This module bounds a list and gives no meaning to a key. `read` builds a list from its text; `report` asks each
//! value for a number, a truth value, a word or a buffer.

use std::borrow::Cow;

use arrayvec::ArrayVec;

use super::cursor::{Cursor, MalformedCmcd};

/// Bytes of one list. The longest captured one is below 300.
pub(super) const LIST_MAX: usize = 8 * 1024;
/// Keys of one report; both versions together define fewer.
const KEYS_MAX: usize = 64;
/// Members of one inner list; one for each track.
const MEMBERS_MAX: usize = 16;
/// RFC 8941, section 3.3.1: fifteen digits. Sums of two such values cannot overflow.
const WHOLE_MAX: u64 = 999_999_999_999_999;
/// Sign, fifteen digits, point, and more decimals than any player sends.
const NUMBER_BYTES_MAX: usize = 24;

/// The items of one report, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct CmcdList<'a> {
    items: ArrayVec<CmcdItem<'a>, KEYS_MAX>,
}

impl<'a> CmcdList<'a> {
    /// Adds the items of `text`: all of them, or none when it is malformed or beyond a bound.
    pub(super) fn read(&mut self, text: &'a str) -> Result<(), MalformedCmcd> {
        let before = self.items.len();
        let added = self.add(text);
        if added.is_err() {
            self.items.truncate(before);
        }
        added
    }

    pub(super) fn items(&self) -> &[CmcdItem<'a>] {
        &self.items
    }

    fn add(&mut self, text: &'a str) -> Result<(), MalformedCmcd> {
        if text.len() > LIST_MAX {
            return Err(MalformedCmcd);
        }
        let mut cursor = Cursor::new(text);
        loop {
            cursor.skip_space();
            if cursor.is_done() {
                return Ok(());
            }
            // Players that drop a value may leave its comma.
            if cursor.eat(',') {
                continue;
            }
            let item = CmcdItem::read(&mut cursor)?;
            self.items.try_push(item).map_err(|_| MalformedCmcd)?;
            cursor.skip_space();
            if !cursor.is_done() && !cursor.eat(',') {
                return Err(MalformedCmcd);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct CmcdItem<'a> {
    pub(super) key: &'a str,
    pub(super) value: CmcdValue<'a>,
}

impl<'a> CmcdItem<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, MalformedCmcd> {
        let key = cursor.key()?;
        let value = if cursor.eat('=') { CmcdValue::read(cursor)? } else { CmcdValue::True };
        cursor.parameters()?;
        Ok(Self { key, value })
    }
}

/// A value as written; its methods read it as a type.
#[derive(Debug, PartialEq)]
pub(super) enum CmcdValue<'a> {
    Bare(&'a str),
    /// An inner list, checked to its end, from its first member on.
    Members(Cursor<'a>),
    Quoted(Cow<'a, str>),
    True,
}

impl<'a> CmcdValue<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, MalformedCmcd> {
        if !cursor.eat('(') {
            return Self::single(cursor);
        }
        let members = *cursor;
        for _ in 0..=MEMBERS_MAX {
            if ListMember::read(cursor)?.is_none() {
                return Ok(Self::Members(members));
            }
        }
        Err(MalformedCmcd)
    }

    fn single(cursor: &mut Cursor<'a>) -> Result<Self, MalformedCmcd> {
        if cursor.eat('"') { cursor.quoted().map(Self::Quoted) } else { Ok(Self::Bare(cursor.bare())) }
    }

    /// Reads a word or a string, because some players quote tokens.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Bare(text) => Some(text),
            Self::Quoted(text) => Some(text),
            Self::Members(_) | Self::True => None,
        }
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bare("?0" | "false") => Some(false),
            Self::Bare("?1" | "true") | Self::True => Some(true),
            Self::Members(_) => Some(self.members().any(|member| member.value.truth() == Some(true))),
            Self::Bare(_) | Self::Quoted(_) => None,
        }
    }

    /// Reads a finite number of at most fifteen digits.
    pub(super) fn decimal(&self) -> Option<f64> {
        let text = self.text().filter(|text| text.len() <= NUMBER_BYTES_MAX)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        plain.then(|| text.parse().ok())?.filter(|number: &f64| number.abs() <= WHOLE_MAX as f64)
    }

    /// Reads a non-negative number of at most fifteen digits. Decimals are rounded, because players divide.
    pub(super) fn whole(&self) -> Option<u64> {
        let number = self.decimal().filter(|number| *number >= 0.0)?;
        Some(number.round() as u64)
    }

    /// Reads an amount that version 2 gives for each track: that of the video, else the largest.
    pub(super) fn of_video(&self) -> Option<u64> {
        if !matches!(self, Self::Members(_)) {
            return self.whole();
        }
        let video = self.members().filter(|member| member.is_video).find_map(|member| member.value.whole());
        video.or_else(|| self.members().filter_map(|member| member.value.whole()).max())
    }

    fn members(&self) -> impl Iterator<Item = ListMember<'a>> + use<'a> {
        let mut cursor = match self {
            Self::Members(cursor) => *cursor,
            Self::Bare(_) | Self::Quoted(_) | Self::True => Cursor::new(")"),
        };
        std::iter::from_fn(move || ListMember::read(&mut cursor).ok().flatten())
    }
}

struct ListMember<'a> {
    value: CmcdValue<'a>,
    is_video: bool,
}

impl<'a> ListMember<'a> {
    /// The next member; `None` behind the closing parenthesis.
    fn read(cursor: &mut Cursor<'a>) -> Result<Option<Self>, MalformedCmcd> {
        cursor.skip_space();
        if cursor.eat(')') {
            return Ok(None);
        }
        let value = CmcdValue::single(cursor)?;
        if value == CmcdValue::Bare("") {
            return Err(MalformedCmcd);
        }
        let is_video = cursor.parameters()?;
        Ok(Some(Self { value, is_video }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Option<Vec<String>> {
        let mut list = CmcdList::default();
        list.read(text).ok()?;
        Some(list.items().iter().map(|item| item.key.to_owned()).collect())
    }

    fn value(text: &str) -> CmcdValue<'_> {
        let mut list = CmcdList::default();
        list.read(text).unwrap();
        list.items.pop().unwrap().value
    }

    #[test]
    fn lists_split_at_separating_commas() {
        let rows: [(&str, Option<&[&str]>); 23] = [
            ("a=1,b,c=\"x,y\"", Some(&["a", "b", "c"])),
            ("a=(1 2), b=(\"x)\" \"y,\";r=\"0-1\"),c", Some(&["a", "b", "c"])),
            ("b,a\t, \tc", Some(&["b", "a", "c"])),
            ("a=token;x;y=2,b;z", Some(&["a", "b"])),
            ("com.example-key=\"x\"", Some(&["com.example-key"])),
            ("a=,b", Some(&["a", "b"])),
            (",a,,b,", Some(&["a", "b"])),
            ("a=()", Some(&["a"])),
            ("a=?1,b=@12,c=:aGk=:", Some(&["a", "b", "c"])),
            ("", Some(&[])),
            ("a=1 b=2", None),
            ("a=\"x", None),
            ("a=\"x\"y", None),
            ("a=(1", None),
            ("a=(1,2)", None),
            ("a=((1))", None),
            ("a=(;v)", None),
            ("a=)", None),
            ("a==(1)", None),
            ("=1", None),
            ("ä=1", None),
            ("a\0=1", None),
            ("a\nb", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
            assert_eq!(keys(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_plain_and_bounded() {
        let rows = [
            ("2000", Some(2000), Some(2000.0)),
            ("0", Some(0), Some(0.0)),
            ("0008", Some(8), Some(8.0)),
            ("\"12\"", Some(12), Some(12.0)),
            ("2000.6", Some(2001), Some(2000.6)),
            ("-0.5", None, Some(-0.5)),
            ("999999999999999", Some(WHOLE_MAX), Some(999_999_999_999_999.0)),
            ("1000000000000000", None, None),
            ("18446744073709551616", None, None),
            ("99999999999999999999999999999", None, None),
            ("1e3", None, None),
            ("+1", None, None),
            ("inf", None, None),
            ("-inf", None, None),
            ("NaN", None, None),
            ("0x10", None, None),
            (".", None, None),
            ("-", None, None),
            ("--1", None, None),
            ("1.2.3", None, None),
            ("٣", None, None),
            ("", None, None),
            ("(1)", None, None),
        ];
        for (text, whole, decimal) in rows {
            let text = format!("k={text}");
            assert_eq!(value(&text).whole(), whole, "{text}");
            assert_eq!(value(&text).decimal(), decimal, "{text}");
        }
    }

    #[test]
    fn the_video_member_counts_else_the_largest() {
        let rows = [
            ("10000", Some(10_000)),
            ("10000;v", Some(10_000)),
            ("(10000)", Some(10_000)),
            ("(5700;v)", Some(5700)),
            ("(6100;v 8100;a)", Some(6100)),
            ("(8100;a  6100;v )", Some(6100)),
            ("(8100;a 6100)", Some(8100)),
            ("(x;v 8100;a)", Some(8100)),
            ("(-1 x \"y\")", None),
            ("()", None),
            ("x", None),
        ];
        for (text, expected) in rows {
            assert_eq!(value(&format!("bl={text}")).of_video(), expected, "{text}");
        }
    }

    #[test]
    fn truth_values_are_bare_or_written_out() {
        let rows = [
            ("k", Some(true)),
            ("k;v", Some(true)),
            ("k=?1", Some(true)),
            ("k=true", Some(true)),
            ("k=?0", Some(false)),
            ("k=false", Some(false)),
            ("k=(?0;a ?1;v)", Some(true)),
            ("k=(?0)", Some(false)),
            ("k=\"true\"", None),
            ("k=1", None),
        ];
        for (text, expected) in rows {
            assert_eq!(value(text).truth(), expected, "{text}");
        }
    }

    #[test]
    fn a_list_is_read_up_to_its_bounds_and_not_beyond() {
        let text = |count: usize, text: &str| vec![text; count].join(",");
        assert_eq!(keys(&text(KEYS_MAX, "a")).map(|keys| keys.len()), Some(KEYS_MAX));
        assert_eq!(keys(&text(KEYS_MAX + 1, "a")), None);

        let members = |count: usize| format!("a=({})", vec!["1"; count].join(" "));
        assert!(keys(&members(MEMBERS_MAX)).is_some());
        assert_eq!(keys(&members(MEMBERS_MAX + 1)), None);

        let long = |bytes: usize| format!("a=\"{}\"", "x".repeat(bytes - 4));
        assert!(keys(&long(LIST_MAX)).is_some());
        assert_eq!(keys(&long(LIST_MAX + 1)), None);
    }

    #[test]
    fn a_malformed_text_adds_nothing() {
        let mut list = CmcdList::default();
        assert_eq!(list.read("a,b"), Ok(()));
        assert_eq!(list.read("c,d=\""), Err(MalformedCmcd));
        assert_eq!(list.read("e"), Ok(()));
        let keys: Vec<_> = list.items().iter().map(|item| item.key).collect();
        assert_eq!(keys, ["a", "b", "e"]);
    }
}
