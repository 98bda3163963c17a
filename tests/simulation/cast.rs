//! Chooses the parts of a storm: the head-end, the players, and the policy of the proxy.

use std::time::Duration;

use sidebeat::config::{EndingRules, Enforcement, OnUnreachable, OutageBudget};
use sidebeat::session::Policy;

use super::headend::HeadEnd;
use super::player::Player;
use super::rng::Rng;

/// Two of an account.
pub(crate) const DEVICES: usize = 4;
const PLAYERS: usize = 6;

pub(crate) struct Cast {
    /// Room for every device of an account at once: then no limit may be reached without a fault.
    pub(crate) ample: bool,
    pub(crate) head: HeadEnd,
    pub(crate) players: Vec<Player>,
    pub(crate) policy: Policy,
}

impl Cast {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let places = rng.pick(&[1, 1, 1, 2]);
        let modes = [Enforcement::Auto, Enforcement::Auto, Enforcement::Heartbeat, Enforcement::Renewal];
        let policy = Policy {
            end_memory: Duration::from_secs(20),
            endings: EndingRules { longest: Duration::from_secs(200), ..EndingRules::default() },
            enforcement: rng.pick(&modes),
            fraction: rng.pick(&[0.8, 1.0]),
            kill_memory: Duration::from_secs(120),
            on_unreachable: OnUnreachable { new: allowed(rng), running: allowed(rng) },
            renews: rng.chance(700),
            sessions_per_device: places,
            ..Policy::default()
        };
        let ample = rng.chance(700);
        let interval = Duration::from_secs(rng.pick(&[5, 30, 30, 60]));
        let head = HeadEnd::new(rng, interval, policy.grace, if ample { (places + 2) * 2 } else { places });
        let players = (0..PLAYERS).map(|number| Player::new(rng, number, number % DEVICES)).collect();
        Self { ample, head, players, policy }
    }
}

fn allowed(rng: &mut Rng) -> OutageBudget {
    let mut pick = || Duration::from_secs(rng.pick(&[0, 0, 5, 60, 600]));
    OutageBudget { live: pick(), vod: pick() }
}
