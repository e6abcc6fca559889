// SPDX-License-Identifier: GPL-3.0-only
//! Typed access to the settings of a config; what is not of the type becomes a fault.

use std::ops::RangeInclusive;

use xen_sys::Kib;

use super::fault::Mark;
use super::merge::Setting;
use super::source::{Source, Span, Spanned};
use super::syntax::Value;
use super::table::{Only, nearest_of};
use super::text::Text;
use super::word;
use crate::code::Code;

pub(super) struct Reader<'a> {
    pub(super) settings: &'a [Setting],
    pub(super) sources: &'a [Source<'a>],
    pub(super) faults: &'a mut Vec<Mark>,
}

impl<'a> Reader<'a> {
    pub(super) fn fault(&mut self, span: Span, code: Code, message: impl Into<String>) {
        self.faults.push(Mark::new(span, code, message));
    }

    pub(super) fn setting(&self, key: &str) -> Option<&'a Setting> {
        self.settings.iter().find(|setting| setting.key.value == key)
    }

    /// A key's value, if it is one.
    pub(super) fn find(&self, key: &str) -> Option<&'a Spanned<Value>> {
        self.setting(key).map(|setting| &setting.value).filter(|value| value.value != Value::Broken)
    }

    pub(super) fn missing(&mut self, key: &str, what: &str) {
        // A misspelt key is told of already.
        let meant =
            |mark: &Mark| mark.code == Code::ConfigUnknownKey && mark.suggestion.as_deref() == Some(key);
        if self.setting(key).is_none() && !self.faults.iter().any(meant) {
            let message = format!("`{key}` is missing: {what}");
            self.fault(Span::default(), Code::ConfigMissing, message);
        }
    }

    /// A string, or a number as it is written.
    pub(super) fn text(&mut self, key: &str) -> Option<(&'a Text, Span)> {
        let Spanned { value, span } = self.find(key)?;
        match value {
            Value::Text(text) | Value::Number(_, text) => Some((text, *span)),
            _ => {
                self.fault(*span, Code::ConfigValue, format!("`{key}` takes a string in quotes"));
                None
            }
        }
    }

    pub(super) fn string(&mut self, key: &str) -> Option<(&'a str, Span)> {
        self.text(key).map(|(text, span)| (text.as_str(), span))
    }

    /// One of `allowed`; what is none of them is told to be `refusal`.
    pub(super) fn one_of(
        &mut self,
        key: &str,
        allowed: &[&'static str],
        refusal: impl Fn(&str) -> (Code, String),
    ) -> Option<&'static str> {
        let (text, span) = self.string(key)?;
        let known = allowed.iter().find(|known| **known == text);
        if known.is_none() {
            let (code, message) = refusal(text);
            let lower = text.to_ascii_lowercase();
            let near = nearest_of(&lower, allowed.iter().copied());
            self.faults.push(Mark::new(span, code, message).suggest(near));
        }
        known.copied()
    }

    /// A number, which can also stand in quotes.
    pub(super) fn number(&mut self, key: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let Spanned { value, span } = self.find(key)?;
        let number = as_number(value).filter(|number| allowed.contains(number));
        if number.is_none() {
            let (low, high) = (allowed.start(), allowed.end());
            let message = format!("`{key}` takes a number from {low} to {high}");
            self.fault(*span, Code::ConfigValue, message);
        }
        number
    }

    /// An amount of memory: a number is MiB, a string can have a unit.
    pub(super) fn memory(&mut self, key: &str, allowed: RangeInclusive<u64>) -> Option<Kib> {
        let Spanned { value, span } = self.find(key)?;
        let kib = match value {
            Value::Number(mib, _) => mib.checked_mul(1024),
            Value::Text(text) => kib(text.as_str()),
            _ => None,
        };
        let (low, high) = (allowed.start(), allowed.end());
        let message = match kib {
            None => "takes MiB, or a string with a unit: \"512M\", \"2G\", \"524288K\"".to_owned(),
            Some(kib) if kib % 1024 != 0 => format!("takes whole MiB, which {kib} KiB are not"),
            Some(kib) if !allowed.contains(&(kib / 1024)) => format!("takes {low} to {high} MiB"),
            Some(kib) => return Some(Kib::new(kib)),
        };
        self.fault(*span, Code::ConfigValue, format!("`{key}` {message}"));
        None
    }

    /// Whether a key is set to a value that says what happens anyway.
    pub(super) fn is_only(&self, value: &Value, only: Only) -> bool {
        let word = || match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        match only {
            Only::Off => as_number(value) == Some(0),
            Only::On => as_number(value).is_some_and(|number| number != 0),
            Only::Number(want) => as_number(value) == Some(want),
            Only::Word(want) => word() == Some(want),
            Only::File(want) => word().is_some_and(|path| path.rsplit('/').next() == Some(want)),
            Only::Empty => matches!(value, Value::List(items) if items.is_empty()),
            Only::Same(key) => {
                let other = self.find(key).map_or(Some(1), |other| as_number(&other.value));
                as_number(value).is_some() && as_number(value) == other
            }
        }
    }
}

fn as_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number, _) => Some(*number),
        Value::Text(text) => word::number(text.as_str()),
        _ => None,
    }
}

/// `"512"` and `"512M"` are MiB.
fn kib(written: &str) -> Option<u64> {
    let unit = written.trim_start_matches(|c: char| c.is_ascii_digit());
    let factor = match unit.to_ascii_lowercase().as_str() {
        "k" => 1,
        "" | "m" => 1 << 10,
        "g" => 1 << 20,
        "t" => 1 << 30,
        _ => return word::number(written)?.checked_mul(1024),
    };
    written[..written.len() - unit.len()].parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_the_units_that_xl_has() {
        for (written, want) in [
            ("512", Some(512 << 10)),
            ("512M", Some(512 << 10)),
            ("2g", Some(2 << 20)),
            ("524288K", Some(524_288)),
            ("1T", Some(1 << 30)),
            ("0x40", Some(64 << 10)),
            ("", None),
            ("M", None),
            ("2GB", None),
            ("2 G", None),
            ("-1", None),
            ("18446744073709551615T", None),
        ] {
            assert_eq!(kib(written), want, "{written}");
        }
    }
}
