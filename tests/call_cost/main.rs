//! Tests what a license call may cost: allocations and bytes in the worker's thread, from the player's request to the
//! reply.
//!
//! A worker's edge and gateway run inside `allocation_counter::measure`, which counts its own thread alone. The license
//! server, the session service and the player run on other threads. Each figure is the difference between two runs of
//! kept connections, so it has no part in connecting, opening a session, or filling a cache.
//!
//! `tests/call_cost/places.sh` shows which lines of the code allocate.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "the helpers of tests may fail them")]

mod far_side;
mod player;
mod wire;
mod worker;

use self::player::Player;
use self::worker::{Cost, Worker};

/// Bytes of a token as head-ends issue them, and of a long one.
const TOKEN_BYTES: usize = 700;
const LONG_TOKEN_BYTES: usize = 1_400;

/// Bounds of a call through a route without an authority. They follow the code downwards: whoever makes a call cheaper
/// lowers them.
const MAX_PASSED_ALLOCATIONS: u64 = 32;
const MAX_PASSED_BYTES: u64 = 18_500;
/// Bounds of a call whose session is live at a session service. Aims: 30 and 20,000.
const MAX_MANAGED_ALLOCATIONS: u64 = 36;
const MAX_MANAGED_BYTES: u64 = 20_400;
/// Bounds of the same call with a long token.
const MAX_LONG_TOKEN_ALLOCATIONS: u64 = 36;
const MAX_LONG_TOKEN_BYTES: u64 = 21_500;

#[expect(clippy::print_stdout, reason = "the harness shows it for a test that fails, or when asked")]
fn assert_costs_at_most(what: &str, player: Player, allocations: u64, bytes: u64) {
    let cost = Worker::start().cost_of_a_call(player);
    println!("{what}: {cost:?}");
    assert!(cost.allocations <= allocations && cost.bytes <= bytes, "{what}: {cost:?} > {allocations}, {bytes}");
}

#[test]
fn a_passed_call_allocates_little() {
    let player = Player::new("/pass", TOKEN_BYTES);
    assert_costs_at_most("a passed call", player, MAX_PASSED_ALLOCATIONS, MAX_PASSED_BYTES);
}

#[test]
fn a_managed_call_allocates_little() {
    let player = Player::new("/ssm", TOKEN_BYTES);
    assert_costs_at_most("a managed call", player, MAX_MANAGED_ALLOCATIONS, MAX_MANAGED_BYTES);
}

#[test]
fn a_managed_call_with_a_long_token_allocates_little() {
    let player = Player::new("/ssm", LONG_TOKEN_BYTES);
    assert_costs_at_most("with a long token", player, MAX_LONG_TOKEN_ALLOCATIONS, MAX_LONG_TOKEN_BYTES);
}

/// A figure of nothing would pass every bound.
#[test]
fn the_worker_thread_is_the_one_that_is_counted() {
    let Cost { allocations, bytes } = Worker::start().cost_of_a_call(Player::new("/pass", TOKEN_BYTES));
    assert!(allocations >= 1 && bytes >= 8_192, "hyper alone has a read buffer for each call: {allocations}, {bytes}");
}
