use super::*;

fn wanted() -> (FetchedKeys, Instant) {
    (FetchedKeys::new(Arc::default()), Clock.now())
}

fn keys() -> Option<TokenKeySet> {
    Some(TokenKeySet::of_secret(&[7; 32]).unwrap())
}

const REFRESH: Duration = Duration::from_hours(1);

#[test]
fn keys_are_fetched_at_once_and_then_each_refresh() {
    let (fetched, now) = wanted();
    assert!(fetched.begin(now) && !fetched.begin(now), "one at a time");
    assert_eq!(fetched.due(), None);
    fetched.end(now, REFRESH, keys());
    assert!(!fetched.begin(now + REFRESH - Duration::from_millis(1)) && fetched.begin(now + REFRESH));
}

#[test]
fn a_fetch_that_fails_is_tried_again_soon_and_takes_no_key_away() {
    let (fetched, mut now) = wanted();
    assert!(fetched.begin(now));
    fetched.end(now, REFRESH, keys());
    now += REFRESH;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert!(fetched.begin(now));
        fetched.end(now, REFRESH, None);
        assert_eq!((fetched.due(), fetched.keys.load().len()), (Some(now + Duration::from_secs(pause)), 1));
        now += Duration::from_secs(pause);
    }
    // Never later than it would have been without the fault.
    assert!(fetched.begin(now));
    fetched.end(now, Duration::from_secs(30), None);
    assert_eq!(fetched.due(), Some(now + Duration::from_secs(30)));
}

#[test]
fn calls_have_keys_fetched_once_in_a_while_and_wait_for_what_is_under_way() {
    let (fetched, mut now) = wanted();
    assert!(fetched.want(now), "the first one is about to be made");
    assert!(fetched.begin(now));
    assert!(fetched.want(now), "it is under way");
    fetched.end(now, REFRESH, keys());
    for _ in 0..3 {
        assert!(fetched.want(now), "not asked for by calls lately");
        assert!(fetched.begin(now));
        fetched.end(now, REFRESH, keys());
        assert!(!fetched.want(now + MIN_FETCH_INTERVAL - Duration::from_millis(1)));
        assert!(!fetched.begin(now + MIN_FETCH_INTERVAL - Duration::from_millis(1)));
        now += MIN_FETCH_INTERVAL;
    }
}
