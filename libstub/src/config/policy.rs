// SPDX-License-Identifier: GPL-3.0-only
//! What is to become of a pair when its guest, or the QEMU in its stubdomain, ends.

use serde::{Deserialize, Serialize};

/// What is done with a pair that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is removed.
    Destroy,
    /// It is removed and created again, with its name and uuid.
    Restart,
    /// It stays as it is, to be looked at.
    Preserve,
}

impl Action {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Destroy, Self::Restart, Self::Preserve];

    /// As a config writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
        }
    }
}

/// The ways in which a pair ends by itself, for each of which a config has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndKind {
    /// The guest powered off.
    Poweroff,
    /// The guest rebooted.
    Reboot,
    /// The guest's watchdog fired.
    Watchdog,
    /// The guest crashed.
    Crash,
    /// The guest asked for a soft reset.
    SoftReset,
    /// QEMU ended or does not answer, or the stubdomain died.
    DeviceModelDeath,
}

impl EndKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Poweroff, Self::Reboot, Self::Watchdog, Self::Crash, Self::SoftReset, Self::DeviceModelDeath];

    /// The key of a config that says what to do.
    pub fn key(self) -> &'static str {
        match self {
            Self::Poweroff => "on_poweroff",
            Self::Reboot => "on_reboot",
            Self::Watchdog => "on_watchdog",
            Self::Crash => "on_crash",
            Self::SoftReset => "on_soft_reset",
            Self::DeviceModelDeath => "on_device_model_death",
        }
    }

    /// What is done if the key is not set: what xl does, but for a soft reset, which becomes a reboot.
    pub fn default_action(self) -> Action {
        match self {
            Self::Reboot | Self::SoftReset => Action::Restart,
            Self::Poweroff | Self::Watchdog | Self::Crash | Self::DeviceModelDeath => Action::Destroy,
        }
    }
}

/// What a config says of ends; what it does not say has a default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// `on_poweroff`
    pub poweroff: Option<Action>,
    /// `on_reboot`
    pub reboot: Option<Action>,
    /// `on_watchdog`
    pub watchdog: Option<Action>,
    /// `on_crash`
    pub crash: Option<Action>,
    /// `on_soft_reset`
    pub soft_reset: Option<Action>,
    /// `on_device_model_death`
    pub device_model_death: Option<Action>,
}

impl Policy {
    /// What the config says of an end, if it says anything.
    pub fn said(&self, kind: EndKind) -> Option<Action> {
        match kind {
            EndKind::Poweroff => self.poweroff,
            EndKind::Reboot => self.reboot,
            EndKind::Watchdog => self.watchdog,
            EndKind::Crash => self.crash,
            EndKind::SoftReset => self.soft_reset,
            EndKind::DeviceModelDeath => self.device_model_death,
        }
    }

    /// What is to be done.
    pub fn action(&self, kind: EndKind) -> Action {
        self.said(kind).unwrap_or(kind.default_action())
    }

    /// The keys that ask for an act, which somebody must be there to do. Defaults ask nobody.
    pub fn asks_for_acts(&self) -> Vec<&'static str> {
        let acts = |kind: &EndKind| self.said(*kind).is_some_and(|action| action != Action::Preserve);
        EndKind::ALL.into_iter().filter(acts).map(EndKind::key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_as_with_xl_and_ask_for_nobody() {
        let policy = Policy::default();
        assert_eq!(policy.asks_for_acts(), Vec::<&str>::new());
        assert_eq!(policy.action(EndKind::Poweroff), Action::Destroy);
        assert_eq!(policy.action(EndKind::Reboot), Action::Restart);
        assert_eq!(policy.action(EndKind::Crash), Action::Destroy);
        assert_eq!(policy.action(EndKind::Watchdog), Action::Destroy);
        assert_eq!(policy.action(EndKind::SoftReset), Action::Restart);
        assert_eq!(policy.action(EndKind::DeviceModelDeath), Action::Destroy);
    }

    #[test]
    fn what_is_written_counts_and_only_an_act_asks_for_somebody() {
        let policy =
            Policy { crash: Some(Action::Preserve), poweroff: Some(Action::Destroy), ..Policy::default() };
        assert_eq!(policy.action(EndKind::Crash), Action::Preserve);
        assert_eq!(policy.asks_for_acts(), ["on_poweroff"]);
    }
}
