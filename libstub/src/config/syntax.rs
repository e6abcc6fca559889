// SPDX-License-Identifier: GPL-3.0-only
//! The grammar of xl.cfg: assignments of strings, numbers and lists, one to a line or separated by `;`.

use std::ops::Range;

use winnow::ascii::{digit1, hex_digit1};
use winnow::combinator::{alt, cut_err, delimited, opt, preceded, repeat, separated, terminated};
use winnow::error::{ContextError, StrContext, StrContextValue};
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, none_of, one_of, take_till, take_while};
use winnow::{ModalParser, ModalResult, Parser};

use super::fault::Mark;

type Input<'a> = LocatingSlice<&'a str>;

/// Something and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// What a key can be set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    List(Vec<Spanned<Value>>),
}

/// `key = value`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) key: Spanned<String>,
    pub(super) value: Spanned<Value>,
}

/// Every assignment of a file, and every line that is none.
pub(super) fn parse(text: &str) -> (Vec<Assignment>, Vec<Mark>) {
    let mut input = Input::new(text);
    let (mut assignments, mut faults) = (Vec::new(), Vec::new());
    loop {
        between(&mut input);
        if input.is_empty() {
            return (assignments, faults);
        }
        let start = input.checkpoint();
        match terminated(assignment, end).parse_next(&mut input) {
            Ok(assignment) => assignments.push(assignment),
            Err(error) => {
                let at = input.current_token_start();
                let error = error.into_inner().unwrap_or_default();
                faults.push(Mark::new(&(at..at + 1), expected(&error)));
                // A fault past a line's end belongs to a list: the file is read on behind it.
                if at <= input.current_token_start() {
                    skip_line(&mut input);
                }
                debug_assert!(input.checkpoint() != start);
            }
        }
    }
}

fn expected(error: &ContextError) -> String {
    error
        .context()
        .find_map(|context| match context {
            StrContext::Expected(StrContextValue::Description(what)) => Some(format!("expected {what}")),
            _ => None,
        })
        .unwrap_or_else(|| "this is not `key = value`".to_owned())
}

fn skip_line(input: &mut Input<'_>) {
    let skipped: ModalResult<()> = (take_till(0.., '\n'), opt(any)).void().parse_next(input);
    debug_assert!(skipped.is_ok());
}

fn comment<'a>(input: &mut Input<'a>) -> ModalResult<&'a str> {
    preceded('#', take_till(0.., '\n')).parse_next(input)
}

/// What may stand between two statements.
fn between(input: &mut Input<'_>) {
    let blank = alt((one_of([' ', '\t', '\r', '\n', ';']).void(), comment.void()));
    let skipped: ModalResult<()> = repeat(0.., blank).parse_next(input);
    debug_assert!(skipped.is_ok());
}

fn blanks(input: &mut Input<'_>) -> ModalResult<()> {
    take_while(0.., [' ', '\t', '\r']).void().parse_next(input)
}

/// What may stand between the parts of a list: lists go over lines.
fn list_blanks(input: &mut Input<'_>) -> ModalResult<()> {
    let blank = alt((one_of([' ', '\t', '\r', '\n']).void(), comment.void()));
    repeat(0.., blank).parse_next(input)
}

fn end(input: &mut Input<'_>) -> ModalResult<()> {
    let stop = alt((one_of(['\n', ';']).void(), comment.void(), winnow::combinator::eof.void()));
    preceded(blanks, cut_err(stop))
        .context(StrContext::Expected(StrContextValue::Description("the end of the line")))
        .parse_next(input)
}

fn assignment(input: &mut Input<'_>) -> ModalResult<Assignment> {
    let first = one_of(|c: char| c.is_ascii_alphabetic() || c == '_');
    let name = (first, take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_')).take();
    let (key, span) = name.map(str::to_owned).with_span().parse_next(input)?;
    let equals = delimited(blanks, '=', blanks)
        .context(StrContext::Expected(StrContextValue::Description("`=` after the key")));
    let value = preceded(cut_err(equals), cut_err(value)).parse_next(input)?;
    Ok(Assignment { key: Spanned { value: key, span }, value })
}

fn value(input: &mut Input<'_>) -> ModalResult<Spanned<Value>> {
    alt((text.map(Value::Text), number.map(Value::Number), list.map(Value::List)))
        .with_span()
        .map(|(value, span)| Spanned { value, span })
        .context(StrContext::Expected(StrContextValue::Description(
            "a value: a string in quotes, a number, or a list in [ ]",
        )))
        .parse_next(input)
}

fn number(input: &mut Input<'_>) -> ModalResult<u64> {
    let hex =
        preceded(alt(("0x", "0X")), cut_err(hex_digit1)).try_map(|digits| u64::from_str_radix(digits, 16));
    let decimal = digit1.try_map(|digits: &str| match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => digits.parse(),
    });
    alt((hex, decimal)).parse_next(input)
}

fn text(input: &mut Input<'_>) -> ModalResult<String> {
    alt((quoted('"'), quoted('\''))).parse_next(input)
}

fn quoted<'a>(quote: char) -> impl FnMut(&mut Input<'a>) -> ModalResult<String> {
    move |input| {
        let escaped = preceded('\\', cut_err(escape));
        let plain = none_of([quote, '\\', '\n']);
        let closing = quote.context(StrContext::Expected(StrContextValue::Description(
            "the closing quote on the same line",
        )));
        delimited(quote, repeat(0.., alt((escaped, plain))), cut_err(closing)).parse_next(input)
    }
}

fn escape(input: &mut Input<'_>) -> ModalResult<char> {
    any.verify_map(|c| match c {
        'n' => Some('\n'),
        't' => Some('\t'),
        '\\' | '"' | '\'' => Some(c),
        _ => None,
    })
    .context(StrContext::Expected(StrContextValue::Description("one of \\n \\t \\\\ \\\" \\'")))
    .parse_next(input)
}

/// Two levels are all that xl.cfg knows (`vnuma`), and keep hostile text from recursing.
fn list(input: &mut Input<'_>) -> ModalResult<Vec<Spanned<Value>>> {
    list_of(alt((text.map(Value::Text), number.map(Value::Number), flat_list.map(Value::List))))
        .parse_next(input)
}

fn flat_list(input: &mut Input<'_>) -> ModalResult<Vec<Spanned<Value>>> {
    list_of(alt((text.map(Value::Text), number.map(Value::Number)))).parse_next(input)
}

fn list_of<'a>(
    item: impl ModalParser<Input<'a>, Value, ContextError>,
) -> impl ModalParser<Input<'a>, Vec<Spanned<Value>>, ContextError> {
    let item = item.with_span().map(|(value, span)| Spanned { value, span });
    let items = separated(0.., item, (list_blanks, ',', list_blanks));
    let closing = (list_blanks, opt((',', list_blanks)), ']')
        .context(StrContext::Expected(StrContextValue::Description("`,` or `]` in the list")));
    delimited(('[', list_blanks), items, cut_err(closing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, Value)> {
        let (assignments, faults) = parse(text);
        assert_eq!(faults, vec![]);
        assignments.into_iter().map(|a| (a.key.value, a.value.value)).collect()
    }

    fn words(value: &Value) -> Vec<String> {
        match value {
            Value::Text(text) => vec![text.clone()],
            Value::Number(number) => vec![number.to_string()],
            Value::List(list) => list.iter().flat_map(|item| words(&item.value)).collect(),
        }
    }

    #[test]
    fn strings_numbers_lists_and_comments_are_read() {
        let text = "# a guest\nname = \"a'b\" # why\n memory=0x40;vcpus = 2\ndisk = [ 'x,y', # one\n  \"z\",\n]\nempty=[]\n";
        let got: Vec<(String, Vec<String>)> = values(text).into_iter().map(|(k, v)| (k, words(&v))).collect();
        let want = [
            ("name", vec!["a'b"]),
            ("memory", vec!["64"]),
            ("vcpus", vec!["2"]),
            ("disk", vec!["x,y", "z"]),
            ("empty", vec![]),
        ];
        let want: Vec<(String, Vec<String>)> = want
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn every_bad_line_is_reported_and_the_good_ones_are_kept() {
        let (assignments, faults) = parse("name = \"x\nmemory = 64\nnonsense\nvcpus 2\ndisk = [ 'a' 'b' ]\n");
        let keys: Vec<&str> = assignments.iter().map(|a| a.key.value.as_str()).collect();
        assert_eq!(keys, ["memory"]);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].message.contains("closing quote"), "{faults:?}");
        assert!(faults[3].message.contains("`,` or `]`"), "{faults:?}");
    }

    #[test]
    fn no_text_makes_the_parser_panic_or_spin() {
        for text in [
            "",
            "=",
            "[",
            "a=[",
            "a=[[",
            "a='\\",
            "a=0x",
            "a=99999999999999999999999",
            "\0",
            "a=\u{e9}",
            "é = 1",
        ] {
            let _ = parse(text);
        }
    }
}
