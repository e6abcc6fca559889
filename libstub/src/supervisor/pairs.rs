// SPDX-License-Identifier: GPL-3.0-only
//! The pairs that are looked after, and in which phase each is. Pure: it is given what was seen.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use xen_sys::{DomId, DomainInfo};

use super::End;
use super::acts::Act;
use super::asks::Cancel;
use super::look::Brief;
use crate::config::Name;
use crate::journal::{DomainMark, is_unstarted};
use crate::lifecycle::Life;

/// A pair that is looked after.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) brief: Brief,
    pub(super) phase: Phase,
    /// The question that its QEMU is asked now.
    pub(super) question: Option<Cancel>,
    /// What came instead of an answer to the last one.
    pub(super) silence: Option<String>,
    /// How many acts on it failed in a row.
    pub(super) failures: u32,
}

/// What is being done about a pair.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing: it runs.
    Well,
    /// Something is odd: its record is read again before anything is decided.
    Suspect,
    /// It ended so, and the last words of its stubdomain are waited for.
    Words { end: End, until: Instant },
    /// This act begins when its time has come and there is room for it.
    Due { act: Act, at: Instant },
    /// This act is under way.
    Acting(Act),
    /// It ended so, and is left as it is.
    Kept(End),
}

impl Watched {
    pub(super) fn new(brief: Brief) -> Self {
        Self { brief, phase: Phase::Well, question: None, silence: None, failures: 0 }
    }

    /// Its end, if it has ended.
    pub(super) fn judge(&self, domains: &Domains<'_>) -> Option<End> {
        let brief = &self.brief;
        let unstarted = || domains.of(&brief.guest).is_some_and(is_unstarted);
        if brief.ending || !brief.complete || (brief.again && unstarted()) {
            return Some(End::Unfinished);
        }
        let life = |mark: &DomainMark| Life::of(domains.of(mark), mark);
        let silent = || Some(End::QemuSilent { why: self.silence.clone()? });
        End::of(life(&brief.guest), life(&brief.stubdom)).or_else(silent)
    }

    /// Whether its phase no longer fits what is seen.
    pub(super) fn is_odd(&self, domains: &Domains<'_>) -> bool {
        match &self.phase {
            Phase::Well => self.judge(domains).is_some(),
            Phase::Kept(end) => self.judge(domains).as_ref() != Some(end),
            _ => false,
        }
    }
}

/// All domains by their ids.
pub(super) struct Domains<'a>(HashMap<DomId, &'a DomainInfo>);

impl<'a> Domains<'a> {
    pub(super) fn new(all: &'a [DomainInfo]) -> Self {
        Self(all.iter().map(|info| (info.domid, info)).collect())
    }

    /// Whoever has the id of a mark, which may be another domain.
    fn of(&self, mark: &DomainMark) -> Option<&'a DomainInfo> {
        self.0.get(&mark.domid?).copied()
    }
}

/// All of them, by name.
pub(super) type Pairs = BTreeMap<Name, Watched>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;
    use xen_sys::{DomainKind, ShutdownReason};

    use super::*;
    use crate::config::Policy;

    fn watched() -> Watched {
        let mark = |number: u16| DomainMark {
            uuid: Uuid::from_u128(number.into()),
            domid: Some(DomId::new(number)),
        };
        Watched::new(Brief {
            name: Name::new("g").expect("a name"),
            guest: mark(1),
            stubdom: mark(2),
            policy: Policy::default(),
            restarts: Vec::new(),
            complete: true,
            ending: false,
            again: false,
            claimed: false,
            current: true,
        })
    }

    fn domain(domid: u16, uuid: u128) -> DomainInfo {
        DomainInfo {
            domid: DomId::new(domid),
            uuid: Uuid::from_u128(uuid),
            kind: DomainKind::Hvm,
            dying: false,
            paused: false,
            blocked: false,
            running: true,
            shutdown: None,
            pages: 0,
            max_pages: 0,
            cpu_time: Duration::from_secs(1),
            vcpus: 1,
        }
    }

    fn judged(pair: &Watched, all: &[DomainInfo]) -> Option<End> {
        pair.judge(&Domains::new(all))
    }

    #[test]
    fn a_pair_whose_two_domains_live_is_well_even_when_paused() {
        let paused = DomainInfo { paused: true, ..domain(1, 1) };
        assert_eq!(judged(&watched(), &[paused, domain(2, 2)]), None);
    }

    #[test]
    fn another_domain_under_the_id_is_not_taken_for_the_pairs() {
        let gone = Some(End::GuestDestroyed);
        assert_eq!(judged(&watched(), &[domain(1, 9), domain(2, 2)]), gone);
        let dead = DomainInfo { shutdown: Some(ShutdownReason::Crash), ..domain(1, 9) };
        assert_eq!(judged(&watched(), &[dead, domain(2, 2)]), gone, "not its crash");
        let lost = Some(End::StubdomDied { reason: None, words: None });
        assert_eq!(judged(&watched(), &[domain(1, 1), domain(2, 9)]), lost);
    }

    #[test]
    fn silence_is_an_end_of_who_lives() {
        let pair = Watched { silence: Some("no".to_owned()), ..watched() };
        let silent = Some(End::QemuSilent { why: "no".to_owned() });
        assert_eq!(judged(&pair, &[domain(1, 1), domain(2, 2)]), silent);
        let off = DomainInfo { shutdown: Some(ShutdownReason::Poweroff), ..domain(1, 1) };
        let guest = Some(End::Guest(ShutdownReason::Poweroff));
        assert_eq!(judged(&pair, &[off, domain(2, 2)]), guest);
    }

    #[test]
    fn what_was_begun_and_not_ended_is_unfinished_whatever_lives() {
        let all = [domain(1, 1), domain(2, 2)];
        for change in [|brief: &mut Brief| brief.complete = false, |brief: &mut Brief| brief.ending = true] {
            let mut pair = watched();
            change(&mut pair.brief);
            assert_eq!(judged(&pair, &all), Some(End::Unfinished));
        }
        let unstarted = DomainInfo { paused: true, cpu_time: Duration::ZERO, ..domain(1, 1) };
        let mut pair = watched();
        assert_eq!(judged(&pair, &[unstarted.clone(), domain(2, 2)]), None, "somebody may want it paused");
        pair.brief.again = true;
        assert_eq!(judged(&pair, &[unstarted, domain(2, 2)]), Some(End::Unfinished));
        assert_eq!(judged(&pair, &all), None, "it was restarted, and runs");
    }

    #[test]
    fn a_pair_that_is_kept_is_odd_only_when_its_end_changes() {
        let crash = End::Guest(ShutdownReason::Crash);
        let pair = Watched { phase: Phase::Kept(crash), ..watched() };
        let crashed = DomainInfo { shutdown: Some(ShutdownReason::Crash), ..domain(1, 1) };
        let odd = |all: &[DomainInfo]| pair.is_odd(&Domains::new(all));
        assert!(!odd(&[crashed, domain(2, 2)]));
        assert!(odd(&[domain(1, 1), domain(2, 2)]) && odd(&[domain(2, 2)]));
    }
}
