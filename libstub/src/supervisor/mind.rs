// SPDX-License-Identifier: GPL-3.0-only
//! What a supervisor knows, and what it does next: told what was seen, it says what is to be asked and done.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

use xen_sys::DomId;

use super::acts::{Act, Acts, Outcome, in_words, pause};
use super::asks::{self, Asked, Question};
use super::end::{Decision, decide};
use super::inbox::Changed;
use super::look::{Brief, Sight};
use super::pairs::{Domains, Pairs, Phase, Watched};
use super::store::{Ask, Told};
use super::{End, Happening, Jobs, Report, SupervisorOptions};
use crate::config::Name;
use crate::host::Answer;
use crate::journal::Supervision;
use crate::lifecycle::{Owed, seconds_of_boot};

/// While something is going on it is looked this often, whatever is told.
const SOON: Duration = Duration::from_secs(1);
/// All records are read this often: a supervisor that was killed gave its pairs back without a word.
const ALL: Duration = Duration::from_secs(60);
/// How long the last words of a stubdomain may take.
const WORDS: Duration = Duration::from_secs(2);
/// How long it is waited before a lost connection to xenstored is made anew.
const RECONNECT: Duration = Duration::from_secs(10);
/// How long a QEMU may take that is known to be silent: it keeps no thread for long.
const ONCE_MORE: Duration = Duration::from_secs(2);

pub(super) struct Mind {
    options: SupervisorOptions,
    supervision: Supervision,
    acts: Acts,
    pairs: Pairs,
    /// Those in the phase of this name.
    suspects: BTreeSet<Name>,
    /// Unfinished ones that somebody else works on, and may die at.
    strangers: BTreeSet<Name>,
    /// Those whose time is to come: their words, or their act.
    waiting: BTreeSet<Name>,
    reports: VecDeque<Report>,
    jobs: Jobs,
    /// What the next look, which is wanted at once, is to read.
    wanted: Option<Changed>,
    looking: bool,
    next_look: Instant,
    next_all: Instant,
    draining: bool,
    /// There was another event while the last ones were taken.
    drain_again: bool,
    next_watch: Option<Instant>,
    last_asked: Option<Name>,
    next_ask: Instant,
    questions: usize,
    /// What was told already, and is not to be told again and again.
    troubles: BTreeSet<String>,
    stopping: bool,
}

impl Mind {
    pub(super) fn new(options: SupervisorOptions, supervision: Supervision, acts: Acts) -> Self {
        let now = Instant::now();
        let mut mind = Self {
            next_ask: now + options.ask_every,
            options,
            supervision,
            acts,
            pairs: Pairs::new(),
            suspects: BTreeSet::new(),
            strangers: BTreeSet::new(),
            waiting: BTreeSet::new(),
            reports: VecDeque::new(),
            jobs: Jobs { store: VecDeque::from([Ask::Watch]), ..Jobs::default() },
            wanted: None,
            looking: false,
            next_look: now,
            next_all: now + ALL,
            draining: false,
            drain_again: false,
            next_watch: None,
            last_asked: None,
            questions: 0,
            troubles: BTreeSet::new(),
            stopping: false,
        };
        mind.changed(Changed { all: true, ..Changed::default() });
        mind
    }

    pub(super) fn report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(super) fn jobs(&mut self) -> Jobs {
        mem::take(&mut self.jobs)
    }

    pub(super) fn pairs(&self) -> usize {
        self.pairs.len()
    }

    pub(super) fn stop(&mut self) {
        if !mem::replace(&mut self.stopping, true) {
            self.acts.stop();
            self.pairs.values().flat_map(|pair| &pair.question).for_each(asks::Cancel::cancel);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopping && self.acts.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let mut next = vec![self.acts.next_deadline()];
        if !self.reports.is_empty() {
            next.push(Some(Instant::now()));
        }
        if !self.stopping {
            next.extend([self.next_watch, (!self.looking).then_some(self.next_look)]);
            next.push((!self.pairs.is_empty() && self.questions < asks::THREADS).then_some(self.next_ask));
            next.extend(self.waiting.iter().map(|name| match self.pairs.get(name)?.phase {
                Phase::Words { until, .. } => Some(until),
                // Room for it comes with the end of another, which wakes the loop by itself.
                Phase::Due { act, at } => self.acts.has_room_for(act).then_some(at),
                _ => None,
            }));
        }
        next.into_iter().flatten().min()
    }

    /// Records may have changed.
    pub(super) fn changed(&mut self, mut changed: Changed) {
        if let Some(only) = &self.options.only {
            let mine = changed.all || changed.names.contains(only);
            changed = Changed { names: mine.then(|| only.clone()).into_iter().collect(), all: false };
        }
        if changed != Changed::default() {
            self.look_at(changed);
        }
    }

    fn look_at(&mut self, changed: Changed) {
        self.wanted.get_or_insert_default().merge(changed);
        self.next_look = Instant::now();
    }

    /// The watch of deaths has fired.
    pub(super) fn deaths(&mut self) {
        if mem::replace(&mut self.draining, true) {
            self.drain_again = true;
        } else {
            self.jobs.store.push_back(Ask::Drain);
        }
    }

    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::Watching(_) => {
                self.draining = false;
                self.deaths();
            }
            Told::Drained => {
                self.draining = false;
                if mem::take(&mut self.drain_again) {
                    self.deaths();
                }
                // Only now: what comes from here on is an event of its own.
                self.look_at(Changed::default());
            }
            Told::Words { name, words } => self.heard(&name, words),
            Told::Lost(error) => {
                (self.draining, self.drain_again) = (false, false);
                self.next_watch = Some(Instant::now() + RECONNECT);
                let seconds = self.options.look_every.as_secs();
                self.trouble(format!("{}; deaths are seen within {seconds} s without it", in_words(&error)));
            }
        }
    }

    pub(super) fn seen(&mut self, sight: Sight) {
        self.looking = false;
        for error in sight.unreadable {
            self.trouble(error);
        }
        self.records(sight.records, sight.all);
        match &sight.domains {
            Ok(domains) => self.judge(&Domains::new(domains)),
            Err(error) => {
                self.trouble(in_words(error));
                // What was read is known; what is missing is asked for again.
                self.wanted.get_or_insert_default().all = self.options.only.is_none();
            }
        }
        let names = [&self.suspects, &self.strangers, &self.waiting];
        let busy = !self.acts.is_empty() || names.iter().any(|names| !names.is_empty());
        let failed = sight.domains.is_err();
        let pause = if busy || failed { SOON.min(self.options.look_every) } else { self.options.look_every };
        if failed || self.wanted.is_none() {
            self.next_look = Instant::now() + pause;
        }
    }

    fn records(&mut self, records: Vec<(Name, Option<Brief>)>, all: bool) {
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

    fn remove(&mut self, name: &Name) {
        if let Some(cancel) = self.pairs.remove(name).and_then(|pair| pair.question) {
            cancel.cancel();
        }
        self.suspects.remove(name);
        self.waiting.remove(name);
        if self.options.only.is_none() {
            self.supervision.give_back(name);
        }
    }

    fn judge(&mut self, domains: &Domains<'_>) {
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
    fn suspect(&mut self, name: Name) {
        if let Some(pair) = self.pairs.get_mut(&name) {
            pair.phase = Phase::Suspect;
            self.waiting.remove(&name);
            self.look_at(Changed { names: BTreeSet::from([name.clone()]), all: false });
            self.suspects.insert(name);
        }
    }

    fn ended(&mut self, name: &Name, end: End) {
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

    fn heard(&mut self, name: &Name, words: Option<String>) {
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

    /// Does what is to be done by now.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        if self.next_watch.is_some_and(|at| at <= now) {
            self.next_watch = None;
            self.jobs.store.push_back(Ask::Watch);
        }
        for name in self.waiting.clone() {
            match self.pairs.get(&name).map(|pair| &pair.phase) {
                Some(Phase::Words { until, .. }) if *until <= now => self.heard(&name, None),
                Some(Phase::Due { act, at }) if *at <= now && self.acts.has_room_for(*act) => {
                    let act = *act;
                    self.begin(&name, act);
                }
                _ => {}
            }
        }
        self.ask(now);
        if !self.looking && self.next_look <= now {
            let mut changed = self.wanted.take().unwrap_or_default();
            changed.names.extend(self.suspects.iter().chain(&self.strangers).cloned());
            if self.next_all <= now {
                self.next_all = now + ALL;
                self.troubles.clear();
                match &self.options.only {
                    Some(only) => drop(changed.names.insert(only.clone())),
                    None => changed.all = true,
                }
            }
            self.looking = true;
            self.jobs.look = Some(changed);
        }
    }

    fn begin(&mut self, name: &Name, act: Act) {
        let Some(making) = self.pairs.get(name).map(|pair| pair.brief.making()) else { return };
        self.enter(name, Phase::Acting(act));
        if let Err(why) = self.acts.begin(act, name, making) {
            self.failed(name, act, why, Vec::new());
        }
    }

    /// Takes the acts that have ended.
    pub(super) fn acted(&mut self) {
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

    /// Asks the next QEMU in turn, so that each is asked once in the time that is set.
    fn ask(&mut self, now: Instant) {
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
                Phase::Well => Some(self.options.ask_limit),
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

    pub(super) fn asked(&mut self, asked: Asked) {
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

    fn trouble(&mut self, why: String) {
        if self.troubles.insert(why.clone()) {
            self.push(Report { pair: None, guest: None, stubdom: None, what: Happening::Trouble(why) });
        }
    }

    fn tell(&mut self, name: &Name, what: Happening) {
        let ids = self.pairs.get(name).map(|pair| (pair.brief.guest.domid, pair.brief.stubdom.domid));
        let (guest, stubdom) = match &what {
            Happening::Restarted(pair) => (Some(pair.guest), Some(pair.stubdom)),
            _ => ids.unwrap_or_default(),
        };
        self.push(Report { pair: Some(name.clone()), guest, stubdom, what });
    }

    fn push(&mut self, report: Report) {
        let (pair, guest) = (report.pair.as_ref().map(Name::as_str), report.guest.map(DomId::get));
        let stubdom = report.stubdom.map(DomId::get);
        if report.what.is_warning() {
            tracing::warn!(pair, guest, stubdom, "{}", report.what);
        } else {
            tracing::info!(pair, guest, stubdom, "{}", report.what);
        }
        self.reports.push_back(report);
    }
}

fn without_words(end: End) -> End {
    match end {
        End::StubdomDied { reason, .. } => End::StubdomDied { reason, words: None },
        end => end,
    }
}
