// SPDX-License-Identifier: GPL-3.0-only
//! Which pairs are looked after, and which of them seem to have ended.

use std::collections::BTreeSet;
use std::mem;

use super::Mind;
use crate::config::Name;
use crate::supervisor::Happening;
use crate::supervisor::asks;
use crate::supervisor::inbox::Changed;
use crate::supervisor::look::Brief;
use crate::supervisor::pairs::{Domains, Phase, Watched};

impl Mind {
    pub(super) fn records(&mut self, records: Vec<(Name, Option<Brief>)>, all: bool) {
        if all {
            let there: BTreeSet<&Name> = records.iter().map(|(name, _)| name).collect();
            let gone: Vec<Name> = self.pairs.keys().filter(|name| !there.contains(name)).cloned().collect();
            gone.iter().for_each(|name| self.forget(name));
        }
        for (name, brief) in records {
            match brief.filter(|brief| brief.current) {
                None => self.forget(&name),
                Some(brief) => self.record(name, brief),
            }
        }
    }

    fn record(&mut self, name: Name, brief: Brief) {
        match self.pairs.get_mut(&name) {
            Some(pair) if pair.brief.making() == brief.making() || matches!(pair.phase, Phase::Acting(_)) => {
                if brief.ending {
                    // Who ends it waits for every page of it to be let go.
                    pair.question.iter().for_each(asks::Cancel::cancel);
                }
                if pair.brief.making() != brief.making() {
                    // What another QEMU did not say.
                    pair.silence = None;
                }
                pair.brief = brief;
                return;
            }
            Some(_) => self.forget(&name),
            None => {}
        }
        let finished = brief.complete && !brief.ending;
        if !finished && brief.claimed {
            self.strangers.insert(name);
            return;
        }
        self.strangers.remove(&name);
        if !self.supervision.take(&name).unwrap_or(false) {
            return;
        }
        self.pairs.insert(name.clone(), Watched::new(brief));
        if finished {
            self.tell(&name, Happening::Supervised);
        }
    }

    /// A pair is not there any more, and not by an act of ours.
    fn forget(&mut self, name: &Name) {
        self.strangers.remove(name);
        if self.pairs.get(name).is_some_and(|pair| !matches!(pair.phase, Phase::Acting(_))) {
            self.tell(name, Happening::Forgotten);
            self.remove(name);
        }
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if let Some(cancel) = self.pairs.remove(name).and_then(|pair| pair.question) {
            cancel.cancel();
        }
        self.suspects.remove(name);
        self.waiting.remove(name);
        if self.options.only.is_none() {
            self.supervision.give_back(name);
        }
    }

    pub(super) fn judge(&mut self, domains: &Domains<'_>) {
        let suspects = mem::take(&mut self.suspects);
        for name in suspects {
            let Some(pair) = self.pairs.get_mut(&name) else { continue };
            if pair.brief.claimed {
                // Somebody works on it: its record will tell how that ended.
                self.suspects.insert(name);
                continue;
            }
            match pair.judge(domains) {
                None => pair.phase = Phase::Well,
                Some(end) => self.ended(&name, end),
            }
        }
        let odd = self.pairs.iter().filter(|(_, pair)| pair.is_odd(domains));
        let odd: Vec<Name> = odd.map(|(name, _)| name.clone()).collect();
        odd.into_iter().for_each(|name| self.suspect(name));
    }

    /// Has the record of a pair read before anything is decided: whoever ends a pair says so there first.
    pub(super) fn suspect(&mut self, name: Name) {
        if let Some(pair) = self.pairs.get_mut(&name) {
            pair.question.iter().for_each(asks::Cancel::cancel);
            pair.phase = Phase::Suspect;
            self.waiting.remove(&name);
            self.look_at(Changed { names: BTreeSet::from([name.clone()]), all: false });
            self.suspects.insert(name);
        }
    }
}
