//! The names that a session is counted under.

use super::limit::MAX_LEDGER_NAME_BYTES;

/// The names under which a session takes its places.
#[derive(Clone, Copy, Debug)]
pub struct LedgerClaim<'a> {
    pub account: &'a str,
    pub content: &'a str,
    /// Group within the account, if any.
    pub content_group: Option<&'a str>,
    pub device: &'a str,
    /// Group within the account, if any.
    pub device_group: Option<&'a str>,
}

/// The kinds of groups within an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum GroupKind {
    Content,
    Device,
}

/// The group in a name of the index.
pub(super) fn group_of(name: &str) -> &str {
    let read = || {
        let (length, rest) = name.get(1..)?.split_once(':')?;
        rest.get(..length.parse().ok()?)
    };
    // A name from a journal may have any form.
    read().unwrap_or(name)
}

impl LedgerClaim<'_> {
    pub(super) fn fits(&self) -> bool {
        let names = [Some(self.account), Some(self.content), self.content_group, Some(self.device), self.device_group];
        names.into_iter().flatten().all(|name| name.len() <= MAX_LEDGER_NAME_BYTES)
    }

    /// The name of the claim's group in the index; unique for account and kind.
    pub(super) fn group(&self, of: GroupKind) -> Option<String> {
        let (kind, group) = match of {
            GroupKind::Content => ('c', self.content_group?),
            GroupKind::Device => ('d', self.device_group?),
        };
        Some(format!("{kind}{}:{group}{}", group.len(), self.account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_from_its_name_in_the_index() {
        for group in ["sports", "", "7:7", "größe"] {
            let claim = LedgerClaim {
                account: "3:ann",
                content: "c",
                content_group: Some(group),
                device: "tv",
                device_group: Some(group),
            };
            for of in [GroupKind::Content, GroupKind::Device] {
                assert_eq!(group_of(&claim.group(of).unwrap()), group);
            }
        }
        for odd in ["", "c", "c9:x", "ö1:x", "c2:ö"] {
            assert!(odd.starts_with(group_of(odd)) || odd.ends_with(group_of(odd)), "{odd}");
        }
    }
}
