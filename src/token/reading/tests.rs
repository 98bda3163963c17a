use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::token::{TokenListing, asks_for_session, known_print, other_prints};

fn jwt(claims: &str) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

/// All that can be asked of a text.
fn everything(text: &str) -> impl PartialEq + std::fmt::Debug {
    let claims = TokenClaims::peek(text);
    let listings = [TokenListing::Alone, TokenListing::NamingContent];
    (
        claims.map(|claims| (claims.0.to_string(), claims.wants_session(), claims.is_of_device())),
        token_list::content_token(text).map(|(token, _)| token.to_owned()),
        (known_print(text), other_prints(text), asks_for_session(text)),
        listings.map(|listing| listing.is_ambiguous(text)),
        secret(text).expose().to_owned(),
    )
}

/// Runs in a thread of its own that remembers.
fn remembering<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let work = || {
            remember_readings();
            work()
        };
        scope.spawn(work).join().unwrap()
    })
}

fn kept() -> (usize, usize) {
    READINGS.with_borrow(|readings| {
        let TokenReadings { bytes, known, order, .. } = readings.as_ref().unwrap();
        assert_eq!(known.len(), order.len());
        assert_eq!(*bytes, known.values().map(|reading| reading.bytes()).sum::<usize>());
        (known.len(), *bytes)
    })
}

/// Texts as hostile callers put them together.
fn text() -> impl Strategy<Value = String> {
    let claims = prop::sample::select(vec![
        "{}",
        r#"{"exp":1,"exp":4000000000}"#,
        r#"{"contentRights":[{"contentId":"a"}],"contentRights":[{"contentId":"b","sessionControl":{}}]}"#,
        r#"{"typ":"DevAuthN","device":{"deviceId":"tv"}}"#,
        r#"{"sessionControl":{},"n":1}"#,
        "[]",
        "no json",
    ]);
    let token = (claims, 0..6_u8).prop_map(|(claims, spelling)| match spelling {
        0 => format!("e30.{}.sig", STANDARD.encode(claims)),
        1 => format!("{}==", jwt(claims)),
        2 => format!("Bearer {}", jwt(claims)),
        3 => format!("{}.x.y", jwt(claims)),
        _ => jwt(claims),
    });
    let piece = prop_oneof![4 => token, 1 => "[ -~]{0,20}", 1 => "\\PC{0,10}"];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_remembered_reading_equals_a_fresh_one(texts in prop::collection::vec(text(), 1..8)) {
        let fresh: Vec<_> = texts.iter().map(|text| format!("{:?}", everything(text))).collect();
        remembering(|| {
            for _ in 0..3 {
                for (text, fresh) in texts.iter().zip(&fresh) {
                    assert_eq!(&format!("{:?}", everything(text)), fresh, "{text}");
                }
            }
        });
    }
}

#[test]
fn a_text_is_read_once_and_its_secret_is_shared() {
    let token = jwt(r#"{"n":1}"#);
    assert!(!secret(&token).is_clone_of(&secret(&token)), "this thread remembers nothing");
    remembering(|| {
        assert!(secret(&token).is_clone_of(&secret(&token.clone())));
        let [one, two] = [(); 2].map(|()| find(&token).unwrap());
        assert!(Rc::ptr_eq(&one, &two));
        assert!(!Rc::ptr_eq(&one, &find(&format!("{token}=")).unwrap()));
    });
}

/// As if two texts had the same hash.
#[test]
fn a_reading_never_answers_for_another_text_of_the_same_hash() {
    remembering(|| {
        let (one, two) = (jwt(r#"{"n":1}"#), jwt(r#"{"n":2}"#));
        find(&one);
        READINGS.with_borrow_mut(|readings| {
            let readings = readings.as_mut().unwrap();
            let [high, low] = readings.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(&two)));
            let (before, reading) = readings.known.drain().next().unwrap();
            readings.order.retain(|key| *key != before);
            readings.bytes = 0;
            readings.insert(high << 64 | low, reading);
        });
        for _ in 0..2 {
            assert_eq!(TokenClaims::peek(&two).unwrap().text("n").as_deref(), Some("2"));
        }
        assert_eq!(kept().0, 1);
    });
}

#[test]
fn an_expired_token_is_forgotten_and_not_kept_again() {
    remembering(|| {
        let (short, long, endless) = (jwt(r#"{"exp":100}"#), jwt(r#"{"exp":200}"#), jwt("{}"));
        for text in [&short, &long, &endless] {
            find(text);
        }
        for (wall, left) in [(99, 3), (100, 2), (199, 2), (200, 1), (1_000, 1)] {
            forget_expired(Duration::from_secs(wall));
            assert_eq!(kept().0, left, "{wall}");
        }
        assert_eq!(TokenClaims::peek(&short).unwrap().text("exp").as_deref(), Some("100"));
        assert_eq!(kept().0, 1);
    });
}

#[test]
fn readings_are_bounded_in_number_and_bytes_and_the_used_ones_stay() {
    remembering(|| {
        let used = jwt(r#"{"n":"used"}"#);
        let first = find(&used).unwrap();
        for number in 0..2 * MAX_READINGS {
            find(&jwt(&format!("{{\"n\":{number}}}")));
            assert!(Rc::ptr_eq(&first, &find(&used).unwrap()), "{number}");
        }
        assert_eq!(kept().0, MAX_READINGS);
        // Small texts may hold large trees.
        for number in 0..MAX_READINGS {
            find(&jwt(&format!("{{\"n\":{number},\"m\":[{}0]}}", "0,".repeat(4_000))));
        }
        let (count, bytes) = kept();
        assert!(count < MAX_READINGS && bytes <= MAX_READINGS_BYTES, "{count}, {bytes}");
        assert!(find(&"x".repeat(MAX_TEXT_BYTES + 1)).is_none());
    });
}
