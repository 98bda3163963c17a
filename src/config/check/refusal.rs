//! `[route.refusal.…]`: which profile refuses which DRM, first licenses and renewals apart.

use crate::config::section::Section;
use crate::config::{Profile, Profiles, Refusal};

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
