// SPDX-License-Identifier: GPL-3.0-only
//! What a supervisor knows, and what it does next: told what was seen, it says what is to be asked and done.

mod course;
mod records;
mod turns;

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use xen_sys::DomId;

use super::acts::{Acts, in_words};
use super::asks;
use super::inbox::Changed;
use super::look::Sight;
use super::pairs::{Domains, Pairs, Phase};
use super::store::{Ask, Told};
use super::{Happening, Jobs, Report, SupervisorOptions};
use crate::config::Name;
use crate::journal::Supervision;

/// While something is going on it is looked this often, whatever is told.
const SOON: Duration = Duration::from_secs(1);
/// All records are read this often: a supervisor that was killed gave its pairs back without a word.
const ALL: Duration = Duration::from_secs(60);
/// How long the last words of a stubdomain may take.
const WORDS: Duration = Duration::from_secs(2);
/// How long it is waited before a lost connection to xenstored is made anew.
const RECONNECT: Duration = Duration::from_secs(10);

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
