//! Values of settings before their type is known.
//!
//! A value of the file has a type, which must be the right one. A value of the environment is text and takes the type
//! that its key wants; it may also be written as TOML.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

pub(super) enum SettingValue<'a> {
    Bare(&'a str),
    Written(&'a DeValue<'a>),
}

/// An entry of a list, with its place if it stands in the file.
pub(super) struct ListEntry<'a> {
    pub(super) at: Option<usize>,
    pub(super) text: Result<Cow<'a, str>, String>,
}

impl<'a> SettingValue<'a> {
    /// Entries of a list; a bare value is split at its commas. `None` if it is no list.
    pub(super) fn entries(&self) -> Option<Vec<ListEntry<'a>>> {
        match *self {
            Self::Bare(text) if text.trim_start().starts_with('[') => bare_array(text),
            Self::Bare(text) if text.trim().is_empty() => Some(Vec::new()),
            Self::Bare(text) => {
                Some(text.split(',').map(|part| ListEntry { at: None, text: Ok(Cow::Borrowed(part.trim())) }).collect())
            }
            Self::Written(DeValue::Array(array)) => Some(array.iter().map(written_entry).collect()),
            Self::Written(_) => None,
        }
    }

    pub(super) fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Bare("true") | Self::Written(DeValue::Boolean(true)) => Ok(true),
            Self::Bare("false") | Self::Written(DeValue::Boolean(false)) => Ok(false),
            Self::Bare(_) | Self::Written(_) => Err("must be true or false".to_owned()),
        }
    }

    pub(super) fn number(&self) -> Result<f64, String> {
        let text = match self {
            Self::Bare(text) => text,
            Self::Written(DeValue::Float(float)) => float.as_str(),
            Self::Written(DeValue::Integer(integer)) => integer.as_str(),
            Self::Written(other) => return Err(format!("must be a number, not {}", kind(other))),
        };
        text.trim().parse().map_err(|_| "must be a number".to_owned())
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Result<Cow<'a, str>, String> {
        match *self {
            Self::Bare(text) => Ok(unquoted(text).unwrap_or(Cow::Borrowed(text))),
            Self::Written(DeValue::String(text)) => Ok(Cow::Borrowed(text)),
            Self::Written(other) => Err(format!("must be a string in quotes, not {}", kind(other))),
        }
    }

    /// The text of a string, or a number whose unit was forgotten.
    pub(super) fn amount(&self) -> Result<Cow<'a, str>, String> {
        match *self {
            Self::Written(DeValue::Integer(integer)) => Ok(Cow::Borrowed(integer.as_str())),
            Self::Bare(_) | Self::Written(_) => self.text(),
        }
    }

    pub(super) fn whole(&self) -> Result<u64, String> {
        let (text, radix) = match self {
            Self::Bare(text) => (text.trim(), 10),
            Self::Written(DeValue::Integer(integer)) => (integer.as_str(), integer.radix()),
            Self::Written(other) => return Err(format!("must be a whole number, not {}", kind(other))),
        };
        u64::from_str_radix(text, radix).map_err(|_| "must be a whole number, not negative".to_owned())
    }
}

fn bare_array<'a>(text: &'a str) -> Option<Vec<ListEntry<'a>>> {
    let value = DeValue::parse(text.trim()).ok()?;
    let array = value.get_ref().as_array()?;
    Some(
        array
            .iter()
            .map(|entry| ListEntry { at: None, text: written_text(entry).map(|text| Cow::Owned(text.into())) })
            .collect(),
    )
}

fn written_entry<'a>(entry: &'a Spanned<DeValue<'a>>) -> ListEntry<'a> {
    ListEntry { at: Some(entry.span().start), text: written_text(entry).map(Cow::Borrowed) }
}

fn written_text<'a>(entry: &'a Spanned<DeValue<'_>>) -> Result<&'a str, String> {
    let value = entry.get_ref();
    value.as_str().ok_or_else(|| format!("must be a string in quotes, not {}", kind(value)))
}

fn unquoted(text: &str) -> Option<Cow<'static, str>> {
    if !text.starts_with(['"', '\'']) {
        return None;
    }
    let value = DeValue::parse(text).ok()?;
    value.get_ref().as_str().map(|text| Cow::Owned(text.to_owned()))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) | DeValue::Integer(_) => "a number",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}
