//! The inputs and effects of one step of a session.

use super::super::effect::{AuthorityAsk, CallAnswer, Effect, Effects, PlayerFacts, SessionEvent};
use super::super::grant::Grant;
use super::super::policy::Policy;
use crate::time::MonotonicTime;

/// The context of a session from one input to its effects.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) now: MonotonicTime,
    pub(super) policy: &'a Policy,
    effects: Effects,
}

impl<'a> Step<'a> {
    pub(super) fn new(now: MonotonicTime, policy: &'a Policy) -> Self {
        Self { now, policy, effects: Effects::default() }
    }

    /// Sets the answer to the delivered call.
    pub(super) fn answer(&mut self, answer: CallAnswer) {
        self.effects.answer = Some(answer);
    }

    pub(super) fn ask(&mut self, ask: AuthorityAsk) {
        self.effects.push(Effect::Ask(ask));
    }

    pub(super) fn note(&mut self, event: SessionEvent) {
        self.effects.push(Effect::Note(event));
    }

    pub(super) fn wake(&mut self) {
        self.effects.push(Effect::Wake);
    }

    pub(super) fn forget(&mut self) {
        self.effects.push(Effect::Forget);
    }

    /// Gives a grant back by a call of its own, because no session has it any more.
    pub(super) fn give_back(&mut self, grant: Grant, told: PlayerFacts) {
        self.ask(AuthorityAsk::giving_back(grant, told));
    }

    pub(super) fn into_effects(self) -> Effects {
        self.effects
    }
}
