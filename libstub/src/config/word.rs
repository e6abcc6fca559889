// SPDX-License-Identifier: GPL-3.0-only
//! What stands in a config without quotes: a number, or a fault.

use super::fault::Mark;
use super::source::Span;
use crate::code::Code;

/// A number as C writes it: decimal, hexadecimal with `0x`, octal with `0`; as large as xl takes.
pub(super) fn number(written: &str) -> Option<u64> {
    let (digits, radix) = match written.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&written[2..], 16),
        [b'0', _, ..] => (&written[1..], 8),
        _ => (written, 10),
    };
    let signed = digits.starts_with('+');
    let number = u64::from_str_radix(digits, radix).ok().filter(|_| !signed)?;
    i64::try_from(number).is_ok().then_some(number)
}

/// What is wrong with a word that is no number.
pub(super) fn refusal(written: &str, span: Span) -> Mark {
    let fault =
        |message: &str, near: Option<String>| Mark::new(span, Code::ConfigSyntax, message).suggest(near);
    let simple = written.chars().all(|c| c.is_ascii_alphanumeric() || "._-+:/".contains(c));
    let in_quotes = simple.then(|| format!("\"{written}\""));
    match written.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => {
            return fault("a config has no truth values, but 1 and 0", Some("1".to_owned()));
        }
        "false" | "no" | "off" => {
            return fault("a config has no truth values, but 1 and 0", Some("0".to_owned()));
        }
        "none" => return fault("a config has no `None`: leave the key out", None),
        _ => {}
    }
    let digits = written.trim_start_matches(|c: char| c.is_ascii_digit());
    match written.chars().next() {
        Some('-') if number(&written[1..]).is_some() => {
            fault("a negative number stands in quotes", in_quotes)
        }
        Some('0'..='9') if digits.is_empty() => fault("this number is too large, or not octal", None),
        Some('0'..='9') if matches!(digits, "k" | "K" | "m" | "M" | "g" | "G" | "t" | "T") => {
            fault("a number with a unit stands in quotes", in_quotes)
        }
        Some('0'..='9') => fault("this is no number, and a string stands in quotes", in_quotes),
        _ if written.contains(['(', ')', '{', '}', '%', '+']) => {
            fault("this looks like Python, which a config is not", None)
        }
        _ => fault("a string stands in quotes", in_quotes),
    }
}

/// Whether a line that begins so was written for xend, whose configs were programs.
pub(super) fn is_python(word: &str) -> bool {
    matches!(word, "import" | "from" | "def" | "if" | "else" | "elif" | "for" | "while" | "print" | "return")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_in_c() {
        for (written, want) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("0x40", Some(64)),
            ("010", Some(8)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("9223372036854775808", None),
            ("08", None),
            ("0x", None),
            ("0x+4", None),
            ("+4", None),
            ("-4", None),
            ("4M", None),
            ("", None),
        ] {
            assert_eq!(number(written), want, "{written}");
        }
    }

    #[test]
    fn a_word_is_told_what_it_should_have_been() {
        for (written, near) in [
            ("True", Some("1")),
            ("off", Some("0")),
            ("512M", Some("\"512M\"")),
            ("-3600", Some("\"-3600\"")),
            ("hvm", Some("\"hvm\"")),
            ("int(5)", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(refusal(written, Span::default()).suggestion.as_deref(), near, "{written}");
        }
    }
}
