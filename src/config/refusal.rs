//! `[route.refusal.…]`: the refusal profile for each DRM system, with first licenses and renewals apart.

use super::table_reader::TableReader;

/// The profile per DRM and phase.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefusalSettings {
    pub clearkey: RefusalProfiles,
    pub fairplay: RefusalProfiles,
    pub playready: RefusalProfiles,
    pub widevine: RefusalProfiles,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefusalProfiles {
    pub first: RefusalProfile,
    pub renewal: RefusalProfile,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RefusalProfile {
    /// The player family decides.
    #[default]
    Auto,
    /// 403 and JSON.
    Http,
    /// 200 and an in-band refusal that the CDM rejects.
    Reject,
    /// 200 and a SOAP fault.
    Soap200,
    /// 500 and a SOAP fault.
    Soap500,
}

const PROFILE_WORDS: [(&str, RefusalProfile); 5] = [
    ("auto", RefusalProfile::Auto),
    ("http", RefusalProfile::Http),
    ("reject", RefusalProfile::Reject),
    ("soap-200", RefusalProfile::Soap200),
    ("soap-500", RefusalProfile::Soap500),
];

pub(super) fn refusal(table: &TableReader<'_>) -> RefusalSettings {
    RefusalSettings {
        clearkey: profiles(&table.table("clearkey"), no_soap),
        fairplay: profiles(&table.table("fairplay"), http_alone),
        playready: profiles(&table.table("playready"), |_| Ok(())),
        widevine: profiles(&table.table("widevine"), no_soap),
    }
}

fn profiles(table: &TableReader<'_>, fits: impl Fn(RefusalProfile) -> Result<(), &'static str>) -> RefusalProfiles {
    let profile = |key: &str| {
        let profile = table.choice(key, &PROFILE_WORDS).unwrap_or(RefusalProfile::Auto);
        if let Err(what) = fits(profile) {
            table.fault(key, what);
        }
        profile
    };
    RefusalProfiles { first: profile("first"), renewal: profile("renewal") }
}

fn no_soap(profile: RefusalProfile) -> Result<(), &'static str> {
    match profile {
        RefusalProfile::Auto | RefusalProfile::Http | RefusalProfile::Reject => Ok(()),
        RefusalProfile::Soap200 | RefusalProfile::Soap500 => Err("cannot be a SOAP fault: only PlayReady speaks SOAP"),
    }
}

fn http_alone(profile: RefusalProfile) -> Result<(), &'static str> {
    match profile {
        RefusalProfile::Auto | RefusalProfile::Http => Ok(()),
        RefusalProfile::Reject => Err("cannot be \"reject\": FairPlay has no refusal in band, use \"http\""),
        RefusalProfile::Soap200 | RefusalProfile::Soap500 => no_soap(profile),
    }
}
