// SPDX-License-Identifier: GPL-3.0-only
//! What a key is set to after all: the last assignment counts, `+=` adds, and overrides replace.

use super::fault::Mark;
use super::source::{Source, Spanned};
use super::syntax::{Assignment, Op, Value};
use crate::code::Code;

/// The last value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: Spanned<String>,
    pub(super) value: Spanned<Value>,
}

/// The settings that a file's assignments and the overrides behind them leave.
pub(super) fn merge(
    assignments: Vec<Assignment>,
    sources: &[Source<'_>],
    faults: &mut Vec<Mark>,
) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for Assignment { key, op, value } in assignments {
        if op == Op::Add && matches!(value.value, Value::Number(..)) {
            faults.push(Mark::new(
                value.span,
                Code::ConfigValue,
                "`+=` adds to strings and lists, not to numbers",
            ));
        }
        let Some(earlier) = settings.iter_mut().find(|earlier| earlier.key.value == key.value) else {
            settings.push(Setting { key, value });
            continue;
        };
        match op {
            Op::Add => add(earlier, value, faults),
            Op::Set => {
                // An override is there to replace what the file says.
                if (earlier.key.span.source == 0) == (key.span.source == 0) {
                    let line = sources.get(earlier.key.span.source).map(|file| file.line(earlier.key.span));
                    let place = match line {
                        Some(line) if key.span.source == 0 => format!("line {line}"),
                        _ => "the earlier --set".to_owned(),
                    };
                    let message =
                        format!("`{}` is set again: the value of {place} does not count", key.value);
                    faults.push(Mark::warning(key.span, Code::ConfigDuplicate, message));
                }
                *earlier = Setting { key, value };
            }
        }
    }
    settings
}

fn add(earlier: &mut Setting, more: Spanned<Value>, faults: &mut Vec<Mark>) {
    match (&mut earlier.value.value, more.value) {
        (Value::Text(text), Value::Text(more)) => text.append(more),
        (Value::List(list), Value::List(more)) => list.extend(more),
        (Value::Broken, _) => {}
        (value, Value::Broken | Value::Number(..)) => *value = Value::Broken,
        (value, _) => {
            let message =
                format!("`{}` cannot be both list and string: `+=` adds like to like", earlier.key.value);
            faults.push(Mark::new(more.span, Code::ConfigValue, message));
            *value = Value::Broken;
        }
    }
}
