//! `[route.refusal.…]`: which profile refuses which DRM, first licenses and renewals apart.

use super::section::Section;

/// The profile per DRM and phase.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Refusal {
    pub clearkey: Profiles,
    pub fairplay: Profiles,
    pub playready: Profiles,
    pub widevine: Profiles,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Profiles {
    pub first: Profile,
    pub renewal: Profile,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// By player family.
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

const WORDS: [(&str, Profile); 5] = [
    ("auto", Profile::Auto),
    ("http", Profile::Http),
    ("reject", Profile::Reject),
    ("soap-200", Profile::Soap200),
    ("soap-500", Profile::Soap500),
];

pub(super) fn refusal(table: &Section<'_>) -> Refusal {
    Refusal {
        clearkey: profiles(&table.table("clearkey"), no_soap),
        fairplay: profiles(&table.table("fairplay"), http_alone),
        playready: profiles(&table.table("playready"), |_| Ok(())),
        widevine: profiles(&table.table("widevine"), no_soap),
    }
}

fn profiles(table: &Section<'_>, fits: impl Fn(Profile) -> Result<(), &'static str>) -> Profiles {
    let profile = |key: &str| {
        let profile = table.choice(key, &WORDS).unwrap_or(Profile::Auto);
        if let Err(what) = fits(profile) {
            table.fault(key, what);
        }
        profile
    };
    Profiles { first: profile("first"), renewal: profile("renewal") }
}

fn no_soap(profile: Profile) -> Result<(), &'static str> {
    match profile {
        Profile::Auto | Profile::Http | Profile::Reject => Ok(()),
        Profile::Soap200 | Profile::Soap500 => Err("cannot be a SOAP fault: only PlayReady speaks SOAP"),
    }
}

fn http_alone(profile: Profile) -> Result<(), &'static str> {
    match profile {
        Profile::Auto | Profile::Http => Ok(()),
        Profile::Reject => Err("cannot be \"reject\": FairPlay has no refusal in band, use \"http\""),
        Profile::Soap200 | Profile::Soap500 => no_soap(profile),
    }
}
