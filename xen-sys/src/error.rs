// SPDX-License-Identifier: GPL-3.0-only
//! What can go wrong in a call into C.

use std::io;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A C function failed.
    #[error("{call} failed{}", said(detail))]
    Call {
        /// The C function.
        call: &'static str,
        /// Its errno.
        source: io::Error,
        /// What the library logged about it as an error.
        detail: Option<String>,
    },
    /// A step of the domain builder failed.
    #[error("domain builder failed in {step}{}", said(detail))]
    Build {
        /// The C function, or the structure that it left behind wrong.
        step: &'static str,
        /// The errno, which the builder does not always set.
        source: io::Error,
        /// What the builder logged about it as an error.
        detail: Option<String>,
    },
    /// This program was built for another release.
    #[error("{component} is {have}, this program is built for {want}")]
    Version {
        /// What has the wrong version.
        component: String,
        /// Its version.
        have: String,
        /// The version wanted.
        want: String,
    },
    /// An argument that C cannot be given.
    #[error("invalid argument: {what}")]
    InvalidArgument {
        /// What is wrong with which argument.
        what: &'static str,
    },
}

impl Error {
    /// The errno of the failed call, if it set one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { source, .. } | Self::Build { source, .. } => source.raw_os_error(),
            Self::Version { .. } | Self::InvalidArgument { .. } => None,
        }
    }

    /// The same failure as a step of the domain builder.
    pub(crate) fn into_build(self) -> Self {
        match self {
            Self::Call { call, source, detail } => Self::Build { step: call, source, detail },
            other => other,
        }
    }
}

fn said(detail: &Option<String>) -> String {
    detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}
