//! Measures the core: one step, one beat round, one re-arm of a full wheel.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sidebeat::clock::{Clock, MonotonicTime};
use sidebeat::secret::{Fingerprint, Secret};
use sidebeat::session::{
    AskKind, CallKind, Device, Effect, Grant, Input, OpenAbility, PlaybackStart, PlayerCall, Policy, Session, Ticket,
    Verdict, Wheel, step,
};

const INTERVAL: Duration = Duration::from_secs(30);

fn grant() -> Verdict {
    Verdict::Granted(Grant { interval: INTERVAL, lifetime: None, token: Secret::new("a session token") })
}

fn live(now: MonotonicTime, policy: &Policy) -> Session {
    let mut session = Session::new(now, 7, policy);
    let asked = step(&mut session, now, Input::Start, policy).list;
    let ticket = asked.iter().find_map(|effect| match effect {
        Effect::Ask(ask) => Some(ask.ticket),
        Effect::Displace(_) | Effect::Forget | Effect::Note(_) | Effect::Wake => None,
    });
    let opened = Input::Answered(ticket.unwrap_or(Ticket::OrphanedGrant), AskKind::Open, Ok(grant()));
    step(&mut session, now, opened, policy);
    session
}

fn steps(c: &mut Criterion) {
    let (now, policy) = (MonotonicTime::from(Clock.now()), Policy::default());
    let mut session = live(now, &policy);
    c.bench_function("step: a license call on a live session", |b| {
        b.iter(|| step(black_box(&mut session), now, Input::Call(CallKind::License), &policy).answer);
    });
    c.bench_function("step: a tick that comes early", |b| {
        b.iter(|| step(black_box(&mut session), now, Input::Tick, &policy).list.len());
    });

    let mut at = now;
    c.bench_function("step: a beat round, tick and answer", |b| {
        b.iter(|| {
            at = session.deadline().unwrap_or(at);
            let asked = step(&mut session, at, Input::Tick, &policy).list;
            let Some(Effect::Ask(ask)) = asked.last() else { return };
            let alive = Verdict::Alive {
                interval: None,
                lifetime: None,
                schedule: None,
                token: ask.grant.clone().map(|g| g.token),
            };
            // A sign of life, or the longest time without one would end it.
            step(&mut session, at, Input::Call(CallKind::Certificate), &policy);
            step(&mut session, at, Input::Answered(ask.ticket, AskKind::Beat, Ok(alive)), &policy);
        });
    });
    assert!(session.is_active(), "it must not have ended while it was measured");
}

fn devices(c: &mut Criterion) {
    let (now, policy) = (MonotonicTime::from(Clock.now()), Policy::default());
    let mut device = Device::default();
    let (token, key_session) = (Some(Fingerprint::new(1)), Some(Fingerprint::new(2)));
    let call = PlayerCall {
        content: None,
        content_token: token,
        key_session,
        kind: CallKind::License,
        opens: OpenAbility::Yes,
        token,
    };
    let start =
        || Some(PlaybackStart { account: None, caller: None, entry: (), id: sidebeat::ids::SessionId(1), seed: 7 });
    let mut out = Vec::new();
    device.call(now, &call, &policy, start, &mut out);
    let opens: Vec<_> = out
        .drain(..)
        .filter_map(|(id, effect)| match effect {
            Effect::Ask(ask) => Some((id, ask.ticket)),
            Effect::Displace(_) | Effect::Forget | Effect::Note(_) | Effect::Wake => None,
        })
        .collect();
    for (id, ticket) in opens {
        device.deliver(id, now, Input::Answered(ticket, AskKind::Open, Ok(grant())), &policy, &mut out);
    }
    c.bench_function("device: a license call finds its session", |b| {
        b.iter(|| device.call(now, black_box(&call), &policy, start, &mut out).0);
    });
}

fn wheels(c: &mut Criterion) {
    const ENTRIES: u64 = 1_000_000;
    let base = MonotonicTime::from(Clock.now());
    let mut wheel = Wheel::new(base);
    // Spread over one interval, as a million sessions are.
    for entry in 0..ENTRIES {
        wheel.insert(base + INTERVAL.mul_f64(entry as f64 / ENTRIES as f64), entry);
    }
    let mut now = base;
    let mut taken: Vec<u64> = Vec::new();
    c.bench_function("wheel: an entry comes up and is armed again, of 1 M", |b| {
        b.iter(|| {
            while taken.is_empty() {
                now += Wheel::<u64>::WHEEL_TICK_TIME;
                taken = wheel.advance(now).map(|(_, entries)| entries).unwrap_or_default();
            }
            let Some(entry) = taken.pop() else { return };
            wheel.insert(now + INTERVAL, entry);
        });
    });
    c.bench_function("wheel: when to wake, of 1 M", |b| b.iter(|| black_box(&wheel).next_due()));
    c.bench_function("wheel: when to wake, with one far entry", |b| {
        b.iter_batched_ref(
            || {
                let mut wheel = Wheel::new(base);
                wheel.insert(base + INTERVAL, 0u64);
                wheel
            },
            |wheel| wheel.next_due(),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, steps, devices, wheels);
criterion_main!(benches);
