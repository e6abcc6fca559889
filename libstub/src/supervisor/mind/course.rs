// SPDX-License-Identifier: GPL-3.0-only
//! The course of a pair that ended: its last words, the decision, the act, and what becomes of that.

use std::time::{Duration, Instant};

use super::{Mind, WORDS};
use crate::config::Name;
use crate::lifecycle::{Owed, seconds_of_boot};
use crate::supervisor::acts::{Act, Outcome, pause};
use crate::supervisor::end::{Decision, decide};
use crate::supervisor::look::Brief;
use crate::supervisor::pairs::Phase;
use crate::supervisor::store::Ask;
use crate::supervisor::{End, Happening, asks};

impl Mind {
    pub(super) fn ended(&mut self, name: &Name, end: End) {
        let Some(pair) = self.pairs.get_mut(name) else { return };
        let ids = pair.brief.guest.domid.zip(pair.brief.stubdom.domid);
        match (&end, ids) {
            (End::StubdomDied { reason: Some(_), .. }, Some((guest, stubdom))) => {
                pair.phase = Phase::Words { end, until: Instant::now() + WORDS };
                self.waiting.insert(name.clone());
                self.jobs.store.push_back(Ask::Words { name: name.clone(), guest, stubdom });
            }
            _ => self.decide(name, end),
        }
    }

    pub(super) fn heard(&mut self, name: &Name, words: Option<String>) {
        let phase = self.pairs.get(name).map(|pair| &pair.phase);
        if let Some(Phase::Words { end: End::StubdomDied { reason, .. }, .. }) = phase {
            let end = End::StubdomDied { reason: *reason, words };
            self.decide(name, end);
        }
    }

    fn decide(&mut self, name: &Name, end: End) {
        let Some(pair) = self.pairs.get_mut(name) else { return };
        pair.question.take().iter().for_each(asks::Cancel::cancel);
        let (Brief { again, policy, restarts, .. }, limit) = (&pair.brief, self.options.restarts);
        let (failures, now) = (pair.failures, seconds_of_boot());
        let mut decision = decide(&end, *again, policy, restarts, now, &limit);
        let after = if failures > 0 { pause(failures) } else { Duration::ZERO };
        if matches!(decision, Decision::Again(_)) && usize::try_from(failures).is_ok_and(|n| n >= limit.count)
        {
            decision = Decision::GiveUp;
        }
        // Of a try that failed it was told why.
        if failures == 0 {
            self.tell(name, Happening::Ended(end.clone()));
        }
        let due = |act, after| Phase::Due { act, at: Instant::now() + after };
        let (happening, phase) = match decision {
            Decision::Remove => (Happening::Removing, due(Act::Remove, after)),
            Decision::Again(pause) => {
                let after = pause.max(after);
                (Happening::Restarting { after }, due(Act::Again, after))
            }
            Decision::GiveUp => {
                let (count, within) = (limit.count, limit.within);
                (Happening::GivenUp { count, within }, due(Act::Remove, Duration::ZERO))
            }
            Decision::Keep => (Happening::Kept, Phase::Kept(without_words(end))),
        };
        self.tell(name, happening);
        self.enter(name, phase);
    }

    fn enter(&mut self, name: &Name, phase: Phase) {
        let waits = matches!(phase, Phase::Due { .. } | Phase::Words { .. });
        if let Some(pair) = self.pairs.get_mut(name) {
            pair.phase = phase;
        }
        if waits {
            self.waiting.insert(name.clone())
        } else {
            self.waiting.remove(name)
        };
    }

    pub(super) fn begin(&mut self, name: &Name, act: Act) {
        let Some(making) = self.pairs.get(name).map(|pair| pair.brief.making()) else { return };
        self.enter(name, Phase::Acting(act));
        if let Err(why) = self.acts.begin(act, name, making) {
            self.failed(name, act, why, Vec::new());
        }
    }

    /// Takes the acts that have ended.
    pub(in crate::supervisor) fn acted(&mut self) {
        for (name, outcome) in self.acts.ended() {
            let Some(pair) = self.pairs.get_mut(&name) else { continue };
            let Phase::Acting(act) = pair.phase else { continue };
            match outcome {
                Outcome::Removed => {
                    self.tell(&name, Happening::Removed);
                    self.remove(&name);
                }
                Outcome::Created(created) => {
                    (pair.failures, pair.silence) = (0, None);
                    self.tell(&name, Happening::Restarted(created));
                    self.suspect(name);
                }
                Outcome::Failed { why, owed } => self.failed(&name, act, why, owed),
                Outcome::Busy | Outcome::Cancelled | Outcome::Overtaken => self.suspect(name),
            }
        }
    }

    fn failed(&mut self, name: &Name, act: Act, why: String, owed: Vec<Owed>) {
        let Some(pair) = self.pairs.get_mut(name) else { return };
        pair.failures = pair.failures.saturating_add(1);
        let retry = pause(pair.failures);
        self.tell(name, Happening::Failed { why, owed, retry });
        match act {
            Act::Remove => self.enter(name, Phase::Due { act, at: Instant::now() + retry }),
            // Whether it is tried again is decided anew, from what its record says by now.
            Act::Again => self.suspect(name.clone()),
        }
    }
}

fn without_words(end: End) -> End {
    match end {
        End::StubdomDied { reason, .. } => End::StubdomDied { reason, words: None },
        end => end,
    }
}
