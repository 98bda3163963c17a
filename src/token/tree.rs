//! A JSON document as one list and one text.
//!
//! Two allocations, where `serde_json::Value` makes one for every name and every value: a content
//! token is read on each license call, for a handful of its claims. Answers as a `Value` would; a
//! property test compares. Used by `token` alone.

use std::fmt;
use std::iter;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

#[derive(Clone)]
pub(super) struct Tree {
    /// Each node before its children.
    nodes: Vec<Node>,
    /// All names and strings.
    text: String,
}

#[derive(Clone)]
struct Node {
    /// Where the next node beside this one is, if there is one.
    end: usize,
    kind: Kind,
    name: Range<usize>,
}

#[derive(Clone)]
enum Kind {
    Array,
    Bool(bool),
    Null,
    Number(Number),
    Object,
    Text(Range<usize>),
}

/// A value as far as claims are read.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    Bool(bool),
    Many,
    Null,
    Number(&'a Number),
    Text(&'a str),
}

impl Tree {
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        // What escapes stand for is never longer than they are.
        let mut tree = Self { nodes: Vec::with_capacity(json.len() / 16), text: String::with_capacity(json.len()) };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        Growth { name: 0..0, tree: &mut tree }.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(tree)
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.nodes.first(), Some(Node { kind: Kind::Object, .. }))
    }

    /// The value at a path, dots between names and array positions.
    pub(super) fn find(&self, path: &str) -> Option<Found<'_>> {
        let node = path.split('.').try_fold(0, |at, name| self.child(at, name))?;
        Some(match &self.nodes.get(node)?.kind {
            Kind::Array | Kind::Object => Found::Many,
            Kind::Bool(truth) => Found::Bool(*truth),
            Kind::Null => Found::Null,
            Kind::Number(number) => Found::Number(number),
            Kind::Text(text) => Found::Text(self.text.get(text.clone())?),
        })
    }

    fn child(&self, at: usize, name: &str) -> Option<usize> {
        match self.nodes.get(at)?.kind {
            Kind::Array => self.children(at).nth(name.parse().ok()?),
            // Of equal names the last counts.
            Kind::Object => self.children(at).filter(|child| self.name(*child) == Some(name)).last(),
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => None,
        }
    }

    fn children(&self, at: usize) -> impl Iterator<Item = usize> {
        let after = |node: usize| self.nodes.get(node).map(|node| node.end);
        let end = after(at).unwrap_or_default();
        iter::successors(Some(at + 1), move |child| after(*child)).take_while(move |child| *child < end)
    }

    fn name(&self, at: usize) -> Option<&str> {
        self.text.get(self.nodes.get(at)?.name.clone())
    }

    fn push(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }
}

/// Reads one value, and what is in it, to the end of the tree.
struct Growth<'a> {
    name: Range<usize>,
    tree: &'a mut Tree,
}

impl Growth<'_> {
    /// Returns where the node is.
    fn add(self, kind: Kind) -> usize {
        let at = self.tree.nodes.len();
        self.tree.nodes.push(Node { end: at + 1, kind, name: self.name });
        at
    }
}

impl<'de> DeserializeSeed<'de> for Growth<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Growth<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.add(Kind::Bool(truth));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.add(Number::from_f64(number).map_or(Kind::Null, Kind::Number));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.add(Kind::Number(number.into()));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.add(Kind::Number(number.into()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.add(Kind::Null);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let text = self.tree.push(text);
        self.add(Kind::Text(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { name, tree } = self;
        let at = Growth { name, tree: &mut *tree }.add(Kind::Array);
        while items.next_element_seed(Growth { name: 0..0, tree: &mut *tree })?.is_some() {}
        close(tree, at);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Self { name, tree } = self;
        let at = Growth { name, tree: &mut *tree }.add(Kind::Object);
        while let Some(name) = fields.next_key_seed(Name(&mut *tree))? {
            fields.next_value_seed(Growth { name, tree: &mut *tree })?;
        }
        close(tree, at);
        Ok(())
    }
}

fn close(tree: &mut Tree, at: usize) {
    let end = tree.nodes.len();
    if let Some(node) = tree.nodes.get_mut(at) {
        node.end = end;
    }
}

/// Reads the name of a field.
struct Name<'a>(&'a mut Tree);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Range<usize>, E> {
        Ok(self.0.push(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// As `serde_json` would find it.
    fn expected<'a>(value: &'a Value, path: &str) -> Option<Found<'a>> {
        let found = path.split('.').try_fold(value, |value, name| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get(name),
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => None,
        })?;
        Some(match found {
            Value::Array(_) | Value::Object(_) => Found::Many,
            Value::Bool(truth) => Found::Bool(*truth),
            Value::Null => Found::Null,
            Value::Number(number) => Found::Number(number),
            Value::String(text) => Found::Text(text),
        })
    }

    /// Written out, so that names can come twice.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(vec![
                "null",
                "true",
                "false",
                "0",
                "-7",
                "1.5",
                "1e400",
                "18446744073709551615",
                "{}"
            ])
            .prop_map(str::to_owned),
            r#""[ab.é]{0,3}(\\u00e9|\\n|\\ud83d\\ude00)?""#,
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
                vec((r#""(a|b|0|a\.b|\\u0061|)""#, inner), 0..5).prop_map(|fields| {
                    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name} :{value}")).collect();
                    format!(" {{{}}}", fields.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_finds_is_found(json in json(), paths in vec("(a|b|0|1|x|00|)(\\.(a|b|0|1|)){0,3}", 8)) {
            match serde_json::from_str::<Value>(&json) {
                Ok(value) => {
                    let tree = Tree::read(json.as_bytes()).unwrap();
                    prop_assert_eq!(tree.is_object(), value.is_object());
                    for path in paths {
                        prop_assert_eq!(tree.find(&path), expected(&value, &path), "{} in {}", path, json);
                    }
                }
                Err(_) => prop_assert!(Tree::read(json.as_bytes()).is_none()),
            }
        }

        #[test]
        fn any_bytes_are_judged_alike(bytes in vec(prop::sample::select(b"{}[]\",:0a\\ \xc3\xa9-".to_vec()), 0..12)) {
            prop_assert_eq!(Tree::read(&bytes).is_some(), serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Tree::read("[".repeat(100_000).as_bytes()).is_none());
    }
}
