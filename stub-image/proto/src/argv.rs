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
    /// It holds a blank, and goes into a node in which blanks are between arguments.
    Blank {
        /// Its place in the list, from 1.
        index: usize,
    },
    /// Together longer than [`MAX_VALUE`] bytes, and they go into one node.
    AllTooLong {
        /// Their length in bytes.
        len: usize,
    },
}

impl std::fmt::Display for ArgvError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { index, len } => {
                write!(f, "QEMU argument {index} has {len} bytes, more than xenstore's {MAX_VALUE}")
            }
            Self::Unprintable { index } => write!(f, "QEMU argument {index} holds a NUL or a line feed"),
            Self::TooMany => write!(f, "more than 999 QEMU arguments"),
            Self::Blank { index } => {
                write!(
                    f,
                    "QEMU argument {index} is empty or holds a blank, which image/dmargs cannot tell from others"
                )
            }
            Self::AllTooLong { len } => {
                write!(f, "QEMU's arguments have {len} bytes in one node, more than xenstore's {MAX_VALUE}")
            }
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

/// The value of `image/dmargs` for these arguments.
pub fn join(args: &[String]) -> Result<String, ArgvError> {
    let blank = |arg: &String| arg.is_empty() || arg.contains(char::is_whitespace);
    if let Some(at) = args.iter().position(blank) {
        return Err(ArgvError::Blank { index: at + 1 });
    }
    encode(args)?;
    let joined = args.join(" ");
    if joined.len() > MAX_VALUE { Err(ArgvError::AllTooLong { len: joined.len() }) } else { Ok(joined) }
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

    #[test]
    fn arguments_in_one_node_are_told_apart_by_blanks_or_refused() {
        let args = |all: &[&str]| all.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert_eq!(join(&args(&["-a", "b"])), Ok("-a b".to_owned()));
        assert_eq!(join(&args(&["-name", "a b"])), Err(ArgvError::Blank { index: 2 }));
        assert_eq!(join(&args(&["-name", ""])), Err(ArgvError::Blank { index: 2 }));
        assert_eq!(join(&args(&["a\0b"])), Err(ArgvError::Unprintable { index: 1 }));
        assert_eq!(join(&vec!["x".repeat(1024); 2]), Err(ArgvError::AllTooLong { len: 2049 }));
    }
}
