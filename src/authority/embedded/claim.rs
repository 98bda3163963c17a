//! Whom a session is counted for.

use super::limit::NAME_LONGEST;

/// The names under which a session takes its places.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub account: &'a str,
    pub content: &'a str,
    /// Counted within the account; in none if absent.
    pub content_group: Option<&'a str>,
    pub device: &'a str,
    /// Counted within the account; in none if absent.
    pub device_group: Option<&'a str>,
}

/// Which of an account's groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grouped {
    Content,
    Device,
}

impl Claim<'_> {
    pub(super) fn fits(&self) -> bool {
        let names = [Some(self.account), Some(self.content), self.content_group, Some(self.device), self.device_group];
        names.into_iter().flatten().all(|name| name.len() <= NAME_LONGEST)
    }

    /// The name of the claim's group in the index; no two accounts or kinds of group share one.
    pub(super) fn group(&self, of: Grouped) -> Option<String> {
        let (kind, group) = match of {
            Grouped::Content => ('c', self.content_group?),
            Grouped::Device => ('d', self.device_group?),
        };
        Some(format!("{kind}{}:{group}{}", group.len(), self.account))
    }
}
