// SPDX-License-Identifier: GPL-3.0-only
//! How far a stubdomain has come.

use std::fmt;

/// The stages of protocol 1, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The kernel runs user space; nothing of the root filesystem was needed yet.
    Booted,
    /// PID 1 runs from the root filesystem and waits for `stub/go`.
    Waiting,
    /// Released: the devices that QEMU's arguments name are made ready.
    Devices,
    /// QEMU was started.
    QemuStarted,
    /// PID 1 saw QEMU write the ready key.
    Ready,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 5] = [Self::Booted, Self::Waiting, Self::Devices, Self::QemuStarted, Self::Ready];

    /// The value of `stub/stage`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booted => "booted",
            Self::Waiting => "waiting",
            Self::Devices => "devices",
            Self::QemuStarted => "qemu-started",
            Self::Ready => "ready",
        }
    }

    /// Reads a value of `stub/stage`; whatever is not exactly a stage is `None`.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str().as_bytes() == value)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_reads_back_and_nothing_else_does() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str().as_bytes()), Some(stage));
        }
        for wrong in [&b""[..], b"Ready", b"ready ", b"ready\0", b"\xff"] {
            assert_eq!(Stage::parse(wrong), None);
        }
    }
}
