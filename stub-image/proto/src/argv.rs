// SPDX-License-Identifier: GPL-3.0-only
//! QEMU's arguments, one xenstore node each: `001`, `002`, … without argv\[0\], which is the image's business.

use crate::MAX_VALUE;

/// A QEMU argument that cannot be given to a stubdomain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgvError {
    /// Longer than [`MAX_VALUE`] bytes.
    TooLong {
        /// Its place in the list, from 1.
        index: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// It holds a NUL, or a line feed that line-based images would split at.
    Unprintable {
        /// Its place in the list, from 1.
        index: usize,
    },
    /// More than 999 arguments.
    TooMany,
}

impl std::fmt::Display for ArgvError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { index, len } => {
                write!(f, "QEMU argument {index} has {len} bytes, more than xenstore's {MAX_VALUE}")
            }
            Self::Unprintable { index } => write!(f, "QEMU argument {index} holds a NUL or a line feed"),
            Self::TooMany => write!(f, "more than 999 QEMU arguments"),
        }
    }
}

impl std::error::Error for ArgvError {}

/// The nodes below `dm-argv` for these arguments.
pub fn encode(args: &[String]) -> Result<Vec<(String, &str)>, ArgvError> {
    if args.len() > 999 {
        return Err(ArgvError::TooMany);
    }
    args.iter()
        .zip(1..)
        .map(|(arg, index)| {
            if arg.len() > MAX_VALUE {
                return Err(ArgvError::TooLong { index, len: arg.len() });
            }
            if arg.contains(['\0', '\n']) {
                return Err(ArgvError::Unprintable { index });
            }
            Ok((format!("{index:03}"), arg.as_str()))
        })
        .collect()
}

/// The node names of a `dm-argv` directory in the order of the arguments; names that are no numbers are dropped.
pub fn order<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut numbered: Vec<(u16, &str)> =
        names.into_iter().filter_map(|name| Some((name.parse().ok()?, name))).collect();
    numbered.sort_unstable();
    numbered.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_order_past_nine() {
        let args: Vec<String> = (1..=12).map(|n| format!("-a{n}")).collect();
        let nodes = encode(&args).expect("valid");
        let mut names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
        names.reverse();
        assert_eq!(order(names), nodes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn what_xenstore_or_an_image_would_spoil_is_refused() {
        assert_eq!(encode(&["x".repeat(2049)]), Err(ArgvError::TooLong { index: 1, len: 2049 }));
        assert_eq!(encode(&["a".into(), "b\nc".into()]), Err(ArgvError::Unprintable { index: 2 }));
        assert_eq!(encode(&vec![String::new(); 1000]), Err(ArgvError::TooMany));
    }
}
