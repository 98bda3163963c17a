//! The core under a seeded storm: players, a head-end with its own books, and a bad network between.
//!
//! `SIDEBEAT_SEED` replays one seed, `SIDEBEAT_SEEDS` and `SIDEBEAT_STEPS` say how many and how long.
//! A failure prints its seed, its step and the last moves. Nothing here reads a clock but once, for a
//! base; every other instant is that plus virtual time.

#[cfg(test)]
mod headend;
#[cfg(test)]
mod network;
#[cfg(test)]
mod player;
#[cfg(test)]
mod rng;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use super::world::{Tally, World};

    fn setting(name: &str, otherwise: u64) -> u64 {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }

    fn run(seed: u64, steps: u64) -> (u64, Tally) {
        let mut world = World::new(seed);
        (0..steps).for_each(|step| world.step(step));
        world.finish();
        (world.watch.trace, world.tally)
    }

    #[test]
    fn every_promise_holds_under_every_seed() {
        let steps = setting("SIDEBEAT_STEPS", 3_000);
        if let Ok(seed) = std::env::var("SIDEBEAT_SEED") {
            run(seed.parse().expect("a number"), steps);
            return;
        }
        let seeds = setting("SIDEBEAT_SEEDS", 256);
        let halves = std::thread::scope(|scope| {
            let half = |first| scope.spawn(move || (first..seeds).step_by(2).map(|seed| run(seed, steps).1).collect());
            [half(0), half(1)].map(|half| half.join().expect("a failed seed is told above"))
        });
        let all: Vec<Tally> = halves.into_iter().flat_map(|half: Vec<Tally>| half).collect();
        let sum = all.into_iter().fold(Tally::default(), Tally::plus);
        println!("{sum:?}");
        if seeds * steps >= 100_000 {
            sum.assert_that_all_of_it_happened();
        }
    }

    #[test]
    fn equal_seeds_give_equal_traces() {
        for seed in [1, 2, 3, 1_000_003] {
            assert_eq!(run(seed, 500), run(seed, 500), "seed {seed}");
        }
        assert_ne!(run(1, 500).0, run(2, 500).0);
    }
}
