// SPDX-License-Identifier: GPL-3.0-only
//! Ids and units as types of their own, and every conversion between them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the plain number.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The plain number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number!(
    /// The id of a domain.
    DomId(u16),
    "{}"
);
number!(
    /// An event channel's number inside one domain.
    EvtchnPort(u32),
    "{}"
);
number!(
    /// An index into one domain's grant table.
    GrantRef(u32),
    "{}"
);
number!(
    /// A guest frame number; for a PV domain, where the API says so, a machine frame number.
    Gfn(u64),
    "{:#x}"
);
number!(
    /// An amount of memory in KiB.
    Kib(u64),
    "{} KiB"
);

impl DomId {
    /// The control domain.
    pub const DOM0: Self = Self(0);

    /// libxenctrl and libxenstore take domain ids as 32-bit numbers.
    pub(crate) const fn wide(self) -> u32 {
        self.0 as u32
    }

    /// Takes back what C returned as a 32-bit number.
    pub(crate) fn narrow(number: u32) -> Option<Self> {
        u16::try_from(number).ok().map(Self)
    }
}

impl Kib {
    /// `mib` MiB, or the largest amount there is.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1024))
    }

    /// The amount in KiB.
    pub const fn kib(self) -> u64 {
        self.0
    }

    /// The amount in bytes, or the largest number there is.
    pub const fn bytes(self) -> u64 {
        self.0.saturating_mul(1024)
    }

    /// The number of whole 4 KiB pages.
    pub const fn pages(self) -> u64 {
        self.0 / 4
    }

    /// The amount in MiB when it is a whole number of them.
    pub const fn whole_mib(self) -> Option<u64> {
        if self.0.is_multiple_of(1024) { Some(self.0 / 1024) } else { None }
    }

    /// The sum, or the largest amount there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_convert_and_saturate() {
        assert_eq!(Kib::from_mib(3).kib(), 3072);
        assert_eq!(Kib::from_mib(3).bytes(), 3 << 20);
        assert_eq!(Kib::from_mib(3).pages(), 768);
        assert_eq!(Kib::new(u64::MAX).bytes(), u64::MAX);
        assert_eq!(Kib::new(2048).whole_mib(), Some(2));
        assert_eq!(Kib::new(2049).whole_mib(), None);
    }

    #[test]
    fn numbers_show_as_people_write_them() {
        assert_eq!(DomId::new(7).to_string(), "7");
        assert_eq!(Gfn::new(0xfeffc).to_string(), "0xfeffc");
    }
}
