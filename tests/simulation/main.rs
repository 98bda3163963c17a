//! Runs worlds under a seeded storm: the real shell (`shell`), the core alone (`world`), and the real shell with the
//! embedded authority (`household`). The first two share players, the head-end with its books, and the watch over the
//! promises.
//!
//! `SIMULATION_SEED` replays one seed and shows every move; `SIMULATION_SEEDS` and `SIMULATION_STEPS` set number and
//! length. A failure prints how to replay it, its step and the last moves. A longer run, with a fast profile that
//! checks the core's invariants: `SIMULATION_SEEDS=4096 SIMULATION_STEPS=20000 cargo test --profile checked --test
//! simulation`. The clock is read once, for a base; every other instant is that plus virtual time.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod cast;
#[cfg(test)]
mod far;
#[cfg(test)]
mod headend;
#[cfg(test)]
mod household;
#[cfg(test)]
mod network;
#[cfg(test)]
mod player;
#[cfg(test)]
mod rng;
#[cfg(test)]
mod segment;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod sums;
#[cfg(test)]
mod viewer;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod witness;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use super::household;
    use super::shell;
    use super::sums::Sums;
    use super::world::{Tally, World};

    fn setting(name: &str, otherwise: u64) -> u64 {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }

    fn steps() -> u64 {
        setting("SIMULATION_STEPS", 3_000)
    }

    /// Runs every seed of a storm, or the one to replay, on two threads. `None` if only one was replayed.
    fn storm<T: Send>(run: impl Fn(u64) -> T + Copy + Send, plus: impl Fn(T, T) -> T) -> Option<T> {
        if let Ok(seed) = std::env::var("SIMULATION_SEED") {
            run(seed.parse().expect("a number"));
            return None;
        }
        let seeds = setting("SIMULATION_SEEDS", 256);
        let halves = std::thread::scope(|scope| {
            let half = |first| scope.spawn(move || (first..seeds).step_by(2).map(run).collect::<Vec<_>>());
            [half(0), half(1)].map(|half| half.join().expect("a failed seed is told above"))
        });
        halves.into_iter().flatten().reduce(plus).filter(|_| seeds * steps() >= 100_000)
    }

    fn run_core(seed: u64, steps: u64) -> (u64, Tally) {
        let mut world = World::new(seed, steps);
        (0..steps).for_each(|step| world.step(step));
        world.finish();
        (world.watch.trace, world.tally)
    }

    /// The traces of several seeds have one sum, whichever thread was first: equal behaviour gives an equal one.
    fn plus<T>(seen: impl Fn(T, T) -> T) -> impl Fn((u64, T), (u64, T)) -> (u64, T) {
        move |(trace, one), (other_trace, other)| (trace.wrapping_add(other_trace), seen(one, other))
    }

    #[test]
    fn every_promise_of_the_core_holds_under_every_seed() {
        let sum = storm(|seed| run_core(seed, steps()), plus(Tally::plus));
        println!("core: {sum:?}");
        sum.iter().for_each(|(_, sum)| sum.assert_that_all_of_it_happened());
    }

    #[test]
    fn every_promise_holds_under_every_seed() {
        let sum = storm(|seed| shell::run(seed, steps()), plus(Sums::plus));
        println!("shell: {sum:?}");
        sum.iter().for_each(|(_, sum)| sum.assert_that_all_of_it_happened(&shell::HAPPENINGS));
    }

    #[test]
    fn ledger_and_sessions_agree_wherever_the_process_crashes() {
        // Its days are short: a tenth of the steps crashes often enough.
        let sum = storm(|seed| household::run(seed, steps() / 10, false), Sums::plus);
        println!("household: {sum:?}");
        sum.iter().for_each(|sum| sum.assert_that_these_happened(&household::HAPPENINGS));
    }

    #[test]
    fn a_device_takes_one_place_under_every_seed() {
        let sum = storm(|seed| household::run(seed, steps() / 10, true), Sums::plus);
        println!("device: {sum:?}");
        sum.iter().for_each(|sum| sum.assert_that_these_happened(&household::PICTURE_HAPPENINGS));
    }

    #[test]
    fn a_failure_tells_its_seed_and_its_steps() {
        assert_eq!(World::new(17, 20_000).watch.replay(), "SIMULATION_SEED=17 SIMULATION_STEPS=20000");
    }

    #[test]
    fn equal_seeds_give_equal_traces() {
        for seed in [1, 2, 3, 1_000_003] {
            assert_eq!(run_core(seed, 500), run_core(seed, 500), "seed {seed}");
            assert_eq!(shell::run(seed, 500), shell::run(seed, 500), "seed {seed}");
        }
        assert_ne!(run_core(1, 500).0, run_core(2, 500).0);
        assert_ne!(shell::run(1, 500).0, shell::run(2, 500).0);
    }
}
