//! The rule by which a round does not count: somebody else was on the cores, or the load could not keep up.
//!
//! Wrong answers, closed connections and handshakes of the wrong kind end their case, and with it its round, before this
//! rule is asked.

use crate::window::Measure;

/// Largest share of the window in which others may run on the proxy's core.
const MAX_FOREIGN_SHARE: f64 = 0.05;
/// Largest share of the window that the machine below may take from it.
const MAX_STOLEN_SHARE: f64 = 0.02;
/// Longest time by which the load may miss the time of a call, in 99 of 100 calls.
const MAX_LATENESS_US: f64 = 500.0;

/// Says why the round of this case does not count.
pub(crate) fn disturbance(measure: &Measure) -> Option<String> {
    let took = measure.took.as_secs_f64();
    let foreign = measure.core.busy.saturating_sub(measure.spent.whole()).as_secs_f64() / took;
    let stolen = measure.core.stolen.as_secs_f64() / took;
    let late = measure.lateness_us.unwrap_or(0.0);
    if foreign > MAX_FOREIGN_SHARE {
        return Some(format!("others took {:.0} % of the proxy's core", foreign * 100.0));
    }
    if stolen > MAX_STOLEN_SHARE {
        return Some(format!("{:.0} % of the proxy's core were stolen", stolen * 100.0));
    }
    (late > MAX_LATENESS_US).then(|| format!("the load was {late:.0} us late"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cpu::{CoreTime, Spent};

    fn measure(busy: u64, stolen: u64, own: u64) -> Measure {
        let ms = Duration::from_millis;
        let core = CoreTime { busy: ms(busy), stolen: ms(stolen) };
        Measure { core, spent: Spent::of_ticks(ms(own)), took: ms(1_000), ..Measure::default() }
    }

    #[test]
    fn a_round_counts_if_the_proxy_had_its_core() {
        assert_eq!(disturbance(&measure(900, 10, 880)), None);
    }

    #[test]
    fn a_round_does_not_count_if_others_ran_on_the_proxys_core() {
        assert!(disturbance(&measure(960, 0, 880)).unwrap().contains("others took 8 %"));
        assert!(disturbance(&measure(900, 30, 890)).unwrap().contains("3 % of the proxy's core were stolen"));
    }

    #[test]
    fn a_round_does_not_count_if_the_load_was_late() {
        let late = |us| Measure { lateness_us: Some(us), ..measure(900, 0, 900) };
        assert_eq!(disturbance(&late(100.0)), None);
        assert!(disturbance(&late(900.0)).unwrap().contains("the load was 900 us late"));
    }
}
