// SPDX-License-Identifier: GPL-3.0-only
//! The gate at open: the hypervisor has to be of the release that these bindings were generated from.
//!
//! Structures and interface numbers change with every release. The hypervisor would refuse a stranger with a bare
//! EACCES; this says what is wrong.

use std::fmt;

use crate::error::{Error, Result};

/// The Xen release (`major.minor`) whose headers this was built with.
pub const BUILT_FOR: &str = env!("XEN_SYS_BUILT_FOR");

/// The version of the running hypervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As in **4**.17.
    pub major: u32,
    /// As in 4.**17**.
    pub minor: u32,
    /// What follows, for example `.7-rc`.
    pub extra: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, self.extra)
    }
}

impl Version {
    /// Takes apart what `XENVER_version` and `XENVER_extraversion` answered.
    pub(crate) fn decode(version: u32, extra: &[u8]) -> Self {
        let text = extra.split(|&byte| byte == 0).next().unwrap_or_default();
        let extra = String::from_utf8_lossy(text).into_owned();
        Self { major: version >> 16, minor: version & 0xffff, extra }
    }

    pub(crate) fn check(&self, want: &str) -> Result<()> {
        if format!("{}.{}", self.major, self.minor) == want {
            return Ok(());
        }
        Err(Error::Version {
            component: "Xen hypervisor".to_owned(),
            have: self.to_string(),
            want: want.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_minor_release_is_refused_by_name() {
        let version = Version::decode(4 << 16 | 20, b".4\0garbage");
        assert_eq!(version.to_string(), "4.20.4");
        assert!(version.check("4.20").is_ok());
        let error = version.check("4.2").expect_err("4.20 is not 4.2");
        assert_eq!(error.to_string(), "Xen hypervisor is 4.20.4, this program is built for 4.2");
    }
}
