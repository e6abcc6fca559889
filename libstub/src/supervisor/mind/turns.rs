// SPDX-License-Identifier: GPL-3.0-only
//! Whose QEMU is asked next, and what its answer means.

use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

use super::Mind;
use crate::host::Answer;
use crate::supervisor::asks::{self, Asked, Question};
use crate::supervisor::inbox::Changed;
use crate::supervisor::look::Brief;
use crate::supervisor::pairs::Phase;
use crate::supervisor::{End, Happening};

/// How long a QEMU may take that is known to be silent: it keeps no thread for long.
const ONCE_MORE: Duration = Duration::from_secs(2);

impl Mind {
    /// Asks the next QEMU in turn, so that each is asked once in the time that is set.
    pub(super) fn ask(&mut self, now: Instant) {
        if now < self.next_ask || self.questions >= asks::THREADS || self.pairs.is_empty() {
            return;
        }
        let turns = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
        self.next_ask = now + self.options.ask_every / turns;
        let after = self.last_asked.take().map_or(Unbounded, Excluded);
        let next = self.pairs.range_mut((after, Unbounded)).next().map(|(name, _)| name.clone());
        let next = next.or_else(|| self.pairs.keys().next().cloned());
        if let Some((name, pair)) = next.and_then(|name| self.pairs.get_mut(&name).map(|pair| (name, pair))) {
            let limit = match pair.phase {
                Phase::Well if !pair.brief.ending => Some(self.options.ask_limit),
                Phase::Kept(End::QemuSilent { .. }) => Some(self.options.ask_limit.min(ONCE_MORE)),
                _ => None,
            };
            let Brief { guest, stubdom, .. } = &pair.brief;
            let question = limit.filter(|_| pair.question.is_none());
            if let Some(question) = question.and_then(|limit| Question::new(&name, guest, stubdom, limit)) {
                pair.question = Some(question.cancel.clone());
                self.questions += 1;
                self.jobs.ask.push(question);
            }
            self.last_asked = Some(name);
        }
    }

    pub(in crate::supervisor) fn asked(&mut self, asked: Asked) {
        self.questions = self.questions.saturating_sub(1);
        let Asked { name, making, answer } = asked;
        let Some(pair) = self.pairs.get_mut(&name).filter(|pair| pair.brief.making() == making) else {
            return;
        };
        pair.question = None;
        match answer {
            Ok(Answer::Alive) if pair.silence.take().is_some() => {
                self.tell(&name, Happening::AnswersAgain);
                self.look_at(Changed::default());
            }
            Ok(Answer::Silent(why)) if pair.phase == Phase::Well => {
                pair.silence = Some(why);
                self.suspect(name);
            }
            // Whoever else talks to it gets its answers; where nothing is offered nothing is known.
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, %name, "QEMU cannot be asked"),
        }
    }
}
