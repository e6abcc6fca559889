// SPDX-License-Identifier: GPL-3.0-only
//! The grammar of xl.cfg, as libxlu's lexer and parser have it: `key = value` or `key += value`, one to a line or
//! separated by `;`, of strings, numbers and lists.
//!
//! Only lists go over lines, and there is no other continuation. Beyond libxlu, a carriage return before a line's
//! end and a comment without one are let pass. What can be read behind a fault is read.

use std::ops::Range;

use winnow::Parser;
use winnow::combinator::{peek, preceded};
use winnow::stream::Location;

use super::fault::Mark;
pub(super) use super::grammar::Op;
use super::grammar::{Input, Raw, Token, between, blanks, end, head, name, op, raw, rest_of_line, skip};
use super::source::{Span, Spanned};
use super::text::Text;
use super::word;
use crate::code::Code;

/// What a key can be set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Text),
    /// A number, and how it is written: xl takes it for a string where it wants one.
    Number(u64, Text),
    List(Vec<Spanned<Value>>),
    /// It was a fault already.
    Broken,
}

/// `key = value`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) key: Spanned<String>,
    pub(super) op: Op,
    pub(super) value: Spanned<Value>,
}

/// Every assignment of a file; what is none of them becomes a fault.
pub(super) fn parse(text: &str, source: usize, faults: &mut Vec<Mark>) -> Vec<Assignment> {
    let mut statements = Statements { text, input: Input::new(text), source, faults, first: 0 };
    let mut assignments = Vec::new();
    loop {
        skip(&mut statements.input, between);
        if statements.input.is_empty() {
            return assignments;
        }
        assignments.extend(statements.next());
    }
}

/// `KEY=VALUE` of a command line, where what is no value of xl.cfg is a string.
pub(super) fn parse_override(text: &str, source: usize, faults: &mut Vec<Mark>) -> Option<Assignment> {
    let mut input = Input::new(text);
    let head = preceded(blanks, (name.with_span(), preceded(blanks, op))).parse_next(&mut input);
    let Ok(((key, span), op)) = head else {
        let all = Span { source, start: 0, end: text.len() };
        faults.push(Mark::new(all, Code::ConfigSyntax, "`--set` takes KEY=VALUE"));
        return None;
    };
    let key = Spanned { value: key.to_owned(), span: Span { source, start: span.start, end: span.end } };
    skip(&mut input, blanks);
    let rest = input.trim_end();
    let start = input.current_token_start();
    let whole = Span { source, start, end: start + rest.len() };
    let meant = match rest.chars().next() {
        Some('"' | '\'' | '[') => {
            let text = &text[..whole.end];
            let mut statements = Statements { text, input: Input::new(text), source, faults, first: 0 };
            let assignment = statements.next();
            if !statements.input.is_empty() {
                statements.unexpected("`--set` takes one KEY=VALUE");
            }
            return assignment;
        }
        _ => word::number(rest).map(|number| Value::Number(number, Text::plain(rest, source, start))),
    };
    let value = meant.unwrap_or_else(|| Value::Text(Text::plain(rest, source, start)));
    Some(Assignment { key, op, value: Spanned { value, span: whole } })
}

struct Statements<'a, 'f> {
    text: &'a str,
    input: Input<'a>,
    source: usize,
    faults: &'f mut Vec<Mark>,
    /// The first fault of this statement.
    first: usize,
}

impl<'a> Statements<'a, '_> {
    fn next(&mut self) -> Option<Assignment> {
        self.first = self.faults.len();
        let Ok((key, span)) = preceded(blanks, name.with_span()).parse_next(&mut self.input) else {
            self.unexpected("this is not `key = value`");
            return None;
        };
        let key = Spanned { value: key.to_owned(), span: self.span(span) };
        let Ok(op) = preceded(blanks, op).parse_next(&mut self.input) else {
            if word::is_python(&key.value) {
                self.unexpected("this is Python, which a config is not");
                return None;
            }
            self.unexpected("expected `=` after the key");
            let value = Spanned { value: Value::Broken, span: key.span };
            return Some(Assignment { key, op: Op::Set, value });
        };
        skip(&mut self.input, blanks);
        let Ok((raw, span)) = raw.with_span().parse_next(&mut self.input) else {
            self.unexpected("expected a value: a string in quotes, a number, or a list in [ ]");
            let value = Spanned { value: Value::Broken, span: key.span };
            return Some(Assignment { key, op, value });
        };
        let open = matches!(raw, Raw::List { closed: false, .. });
        let value = self.value(&raw, span.clone());
        if open {
            self.open_list(&raw, span.start);
        } else if preceded(blanks, end).parse_next(&mut self.input).is_err() {
            self.behind_value();
        }
        Some(Assignment { key, op, value })
    }

    fn span(&self, bytes: Range<usize>) -> Span {
        Span { source: self.source, start: bytes.start, end: bytes.end }
    }

    fn fault(&mut self, bytes: Range<usize>, message: impl Into<String>) {
        self.faults.push(Mark::new(self.span(bytes), Code::ConfigSyntax, message));
    }

    /// A fault that may come of an earlier one on the same line, and is then not told.
    fn structural(&mut self, bytes: Range<usize>, message: &str) {
        let earlier = self.faults[self.first..].last().map(|mark| mark.span.start.min(bytes.start));
        if earlier.is_none_or(|start| self.text[start..bytes.start].contains('\n')) {
            self.fault(bytes, message);
        }
    }

    /// A fault at the next character; its line is not read on.
    fn unexpected(&mut self, message: &str) {
        let at = self.input.current_token_start();
        let length = self.input.chars().next().filter(|&c| c != '\n').map_or(0, char::len_utf8);
        self.structural(at..at + length, message);
        skip(&mut self.input, rest_of_line);
    }

    /// A fault behind a whole value.
    fn behind_value(&mut self) {
        let line = self.input.lines().next().unwrap_or_default();
        if line.trim_end() == "\\" {
            self.unexpected("a line cannot be continued; only lists go over lines");
            // What was meant to belong to it is no statement of its own.
            skip(&mut self.input, rest_of_line);
        } else {
            self.unexpected("expected the end of the line");
        }
    }

    /// Reads on behind a list that lacks its end.
    fn open_list(&mut self, list: &Raw<'_>, start: usize) {
        let at = self.input.current_token_start();
        let own_line = self.text[..at].rsplit('\n').next().is_none_or(|before| before.trim().is_empty());
        if self.input.is_empty() || (own_line && peek(head).parse_next(&mut self.input).is_ok()) {
            // The bracket may be within a string that lacks its closing quote.
            if !list.lacks_quote() {
                self.fault(start..start + 1, "this list has no `]`");
            }
            return;
        }
        let deep = self.input.starts_with('[');
        self.unexpected(if deep { "lists are nested too deep" } else { "expected `,` or `]` in the list" });
        while !self.input.is_empty() && peek(head).parse_next(&mut self.input).is_err() {
            let line = self.input.lines().next().unwrap_or_default();
            let last = line.split('#').next().is_some_and(|code| code.trim_end().ends_with(']'));
            skip(&mut self.input, rest_of_line);
            if last {
                return;
            }
        }
    }

    fn value(&mut self, raw: &Raw<'a>, bytes: Range<usize>) -> Spanned<Value> {
        let span = self.span(bytes.clone());
        let before = self.faults.len();
        let value = match raw {
            Raw::Quoted { closed: false, .. } => {
                self.structural(bytes, "this string has no closing quote on its line");
                Value::Broken
            }
            Raw::Quoted { inner, closed: true } => {
                let text = Text::quoted(inner, self.source, bytes.start + 1, self.faults);
                if self.faults.len() == before { Value::Text(text) } else { Value::Broken }
            }
            Raw::Word(written) => match word::number(written) {
                Some(number) => Value::Number(number, Text::plain(written, self.source, bytes.start)),
                None => {
                    self.faults.push(word::refusal(written, span));
                    Value::Broken
                }
            },
            Raw::List { tokens, closed } => {
                let items = self.items(tokens);
                if *closed { Value::List(items) } else { Value::Broken }
            }
        };
        Spanned { value, span }
    }

    /// The values of a list, whose commas must stand between them and may stand behind the last.
    fn items(&mut self, tokens: &[(Token<'a>, Range<usize>)]) -> Vec<Spanned<Value>> {
        let mut items = Vec::new();
        // A string that lacks its closing quote may have taken the comma with it.
        let (mut comma, mut taken, mut refused) = (true, false, false);
        for (token, bytes) in tokens {
            match token {
                Token::Comma if comma && !taken => {
                    self.structural(bytes.clone(), "expected a value before the `,`")
                }
                Token::Comma => (comma, taken) = (true, false),
                Token::Value(value) if !comma && (refused || matches!(value, Raw::Word(_))) => {
                    // Words without order are no list: what they mean is not asked.
                    self.structural(bytes.clone(), "expected `,` or `]` in the list");
                    return items;
                }
                Token::Value(raw) => {
                    if !comma {
                        self.structural(bytes.start..bytes.start + 1, "expected `,` or `]` in the list");
                    }
                    let item = self.value(raw, bytes.clone());
                    refused = matches!((raw, &item.value), (Raw::Word(_), Value::Broken));
                    items.push(item);
                    taken = matches!(raw, Raw::Quoted { closed: false, .. });
                    comma = taken;
                }
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::source::Source;
    use super::*;

    fn read(text: &str) -> (Vec<Assignment>, Vec<Mark>) {
        let mut faults = Vec::new();
        (parse(text, 0, &mut faults), faults)
    }

    /// A value as one would write it, without blanks.
    fn shown(value: &Value) -> String {
        match value {
            Value::Text(text) => format!("{:?}", text.as_str()),
            Value::Number(number, _) => number.to_string(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| shown(&item.value)).collect();
                format!("[{}]", items.join(","))
            }
            Value::Broken => "?".to_owned(),
        }
    }

    fn values(text: &str) -> Vec<String> {
        let (assignments, faults) = read(text);
        assert_eq!(faults, vec![], "{text}");
        assignments.iter().map(|a| format!("{}={}", a.key.value, shown(&a.value.value))).collect()
    }

    /// Where faults are, and what each says at its beginning.
    fn faults(text: &str) -> Vec<(usize, usize, String)> {
        let sources = [Source::new(Path::new("g"), text)];
        let located = read(text).1.into_iter().map(|mark| mark.locate(&sources));
        located.map(|fault| (fault.line, fault.column, fault.message)).collect()
    }

    #[test]
    fn strings_numbers_lists_and_comments_are_read() {
        let text = "# a guest\nname = \"a'b\" # why\n memory=0x40;vcpus = 2\ndisk = [ 'x,y', # one\n  \"z\",\n]\nempty=[]\n";
        let want = ["name=\"a'b\"", "memory=64", "vcpus=2", "disk=[\"x,y\",\"z\"]", "empty=[]"];
        assert_eq!(values(text), want);
    }

    #[test]
    fn what_libxlus_lexer_takes_is_taken() {
        assert_eq!(
            values("a='\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"'"),
            [r#"a="\u{7}\u{8}\u{c}\n\r\t\u{b}\\'\"""#]
        );
        assert_eq!(values("a = 010;;b=[[1,2],['x'],[],]"), ["a=8", "b=[[1,2],[\"x\"],[]]"]);
        assert_eq!(values("a=\"x\"\r\nb=[\r\n1,\r\n2\r\n]\r\n# end"), ["a=\"x\"", "b=[1,2]"]);
        assert_eq!(values("a=[\n#c\n\n1\n#d\n,\n2 # e\n]"), ["a=[1,2]"]);
        assert_eq!(values("a=1\na+=2\n_b.c=3"), ["a=1", "a=2", "_b.c=3"]);
        assert_eq!(values("\n\n;\n#\n"), [""; 0]);
    }

    #[test]
    fn only_lists_go_over_lines() {
        assert_eq!(faults("a =\n1\n").len(), 2);
        assert_eq!(faults("a = 'x\ny'\n")[0].1, 5);
        assert_eq!(faults("a = 1 \\\n").len(), 1);
        assert_eq!(faults("a = 'x' \\\n'y'\nb = 2\n").len(), 1);
    }

    #[test]
    fn every_fault_is_reported_and_the_rest_is_kept() {
        let text =
            "name = \"x\nmemory = 64\nnonsense\nvcpus 2\ndisk = [ 'a' 'b' ]\nboot = \\\nuuid = \"\\q\\w\"\n";
        let got: Vec<(usize, usize)> =
            faults(text).into_iter().map(|(line, column, _)| (line, column)).collect();
        assert_eq!(got, [(1, 8), (3, 9), (4, 7), (5, 14), (6, 8), (7, 9), (7, 11)]);
        let (assignments, _) = read(text);
        let memory = assignments.iter().find(|a| a.key.value == "memory").map(|a| shown(&a.value.value));
        assert_eq!(memory.as_deref(), Some("64"));
    }

    #[test]
    fn one_slip_in_a_list_is_one_fault_and_the_next_key_is_read() {
        for (text, line, column, message) in [
            ("d = [ 'a,\n'b' ]\nm = 1\n", 1, 7, "no closing quote"),
            ("d = [ 'a, 'b' ]\nm = 1\n", 1, 12, "expected `,` or `]`"),
            ("d = [ 'a',, 'b' ]\nm = 1\n", 1, 11, "expected a value"),
            ("d = [ , ]\nm = 1\n", 1, 7, "expected a value"),
            ("d = [ 'a',\n  'b'\nm = 1\n", 1, 5, "no `]`"),
            ("d = [ 'a' = 'b',\n 'c',\n]\nm = 1\n", 1, 11, "expected `,` or `]`"),
            ("d = [ 'a' ; 'b' ]\nm = 1\n", 1, 11, "expected `,` or `]`"),
            ("d = [ 'a' ] 'b'\nm = 1\n", 1, 13, "the end of the line"),
            ("d = [ hvm ]\nm = 1\n", 1, 7, "in quotes"),
            ("d = [[[[[[[[[[[[[[[[[[[[ ]\nm = 1\n", 1, 21, "too deep"),
        ] {
            let got = faults(text);
            assert_eq!(got.len(), 1, "{text}{got:?}");
            assert_eq!((got[0].0, got[0].1), (line, column), "{text}{got:?}");
            assert!(got[0].2.contains(message), "{text}{got:?}");
            assert_eq!(
                read(text).0.last().map(|last| shown(&last.value.value)).as_deref(),
                Some("1"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_or_leave_its_text(text in "([a-z_]{1,4}|[ \t\r\n;#,=+\\[\\]'\"\\\\]|[0-9x]{1,3}|\\PC){0,60}") {
            let (assignments, faults) = read(&text);
            let spans = assignments.iter().flat_map(|a| [a.key.span, a.value.span]);
            for span in spans.chain(faults.iter().map(|mark| mark.span)) {
                prop_assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{:?}", span);
            }
        }

        #[test]
        fn what_is_written_is_what_is_read(
            key in "[a-z][a-z0-9_.]{0,8}",
            words in prop::collection::vec("[ -~\t\u{e4}\u{1f600}]{0,12}", 0..5),
            number in 0..=i64::MAX as u64,
        ) {
            let quoted = |word: &String| {
                let word = word.replace('\\', "\\\\").replace('\'', "\\'").replace('\t', "\\t");
                format!("'{word}'")
            };
            let list: Vec<String> = words.iter().map(quoted).collect();
            let text = format!("{key} = [ {} ]\nn = {number:#x}\n", list.join(",\n"));
            let (assignments, faults) = read(&text);
            prop_assert_eq!(faults, vec![]);
            let items = match &assignments[0].value.value {
                Value::List(items) => items.clone(),
                other => panic!("no list: {other:?}"),
            };
            let read: Vec<&str> = items.iter().map(|item| match &item.value {
                Value::Text(text) => text.as_str(),
                other => panic!("no string: {other:?}"),
            }).collect();
            prop_assert_eq!(read, words);
            prop_assert_eq!(shown(&assignments[1].value.value), number.to_string());
        }
    }
}
