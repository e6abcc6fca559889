// SPDX-License-Identifier: GPL-3.0-only
//! The parsers that `syntax` is made of: what the text is, before it is asked what it means.

use std::ops::Range;

use winnow::combinator::{alt, eof, not, opt, preceded, repeat, terminated};
use winnow::stream::LocatingSlice;
use winnow::token::{any, none_of, one_of, take_till, take_while};
use winnow::{ModalResult, Parser};

/// Nothing of xl.cfg nests deeper than two (`vnuma`); hostile text must not make the parser recurse.
const DEPTH: usize = 16;

pub(super) type Input<'a> = LocatingSlice<&'a str>;

/// What is done with the key's earlier value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Set,
    Add,
}

/// A value as it stands in the text.
#[derive(Debug)]
pub(super) enum Raw<'a> {
    Quoted { inner: &'a str, closed: bool },
    Word(&'a str),
    List { tokens: Vec<(Token<'a>, Range<usize>)>, closed: bool },
}

#[derive(Debug)]
pub(super) enum Token<'a> {
    Comma,
    Value(Raw<'a>),
}

impl Raw<'_> {
    pub(super) fn lacks_quote(&self) -> bool {
        match self {
            Self::Quoted { closed, .. } => !closed,
            Self::Word(_) => false,
            Self::List { tokens, .. } => {
                tokens.iter().any(|(token, _)| matches!(token, Token::Value(value) if value.lacks_quote()))
            }
        }
    }
}

/// Runs a parser that always succeeds.
pub(super) fn skip<'a>(input: &mut Input<'a>, mut parser: impl FnMut(&mut Input<'a>) -> ModalResult<()>) {
    let skipped = parser(input);
    debug_assert!(skipped.is_ok());
}

pub(super) fn blanks(input: &mut Input<'_>) -> ModalResult<()> {
    take_while(0.., [' ', '\t', '\r']).void().parse_next(input)
}

fn comment(input: &mut Input<'_>) -> ModalResult<()> {
    ('#', take_till(0.., '\n')).void().parse_next(input)
}

/// What may stand between two statements.
pub(super) fn between(input: &mut Input<'_>) -> ModalResult<()> {
    repeat(0.., alt((one_of([' ', '\t', '\r', '\n', ';']).void(), comment))).parse_next(input)
}

/// What may stand between the parts of a list.
fn list_blanks(input: &mut Input<'_>) -> ModalResult<()> {
    repeat(0.., alt((one_of([' ', '\t', '\r', '\n']).void(), comment))).parse_next(input)
}

pub(super) fn rest_of_line(input: &mut Input<'_>) -> ModalResult<()> {
    (take_till(0.., '\n'), opt(any)).void().parse_next(input)
}

pub(super) fn end(input: &mut Input<'_>) -> ModalResult<()> {
    alt((one_of(['\n', ';']).void(), comment, eof.void())).parse_next(input)
}

/// xl's keys have lower case only; others are read to be told what they should be.
pub(super) fn name<'a>(input: &mut Input<'a>) -> ModalResult<&'a str> {
    let first = one_of(|c: char| c.is_ascii_alphabetic() || c == '_');
    let later = take_while(0.., |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    (first, later).take().parse_next(input)
}

pub(super) fn op(input: &mut Input<'_>) -> ModalResult<Op> {
    alt(("+=".value(Op::Add), '='.value(Op::Set))).parse_next(input)
}

/// How an assignment begins.
pub(super) fn head(input: &mut Input<'_>) -> ModalResult<()> {
    (blanks, name, blanks, op).void().parse_next(input)
}

pub(super) fn raw<'a>(input: &mut Input<'a>) -> ModalResult<Raw<'a>> {
    alt((quoted('"'), quoted('\''), |input: &mut Input<'a>| list(input, 0), bare.map(Raw::Word)))
        .parse_next(input)
}

fn bare<'a>(input: &mut Input<'a>) -> ModalResult<&'a str> {
    let part = none_of([' ', '\t', '\r', '\n', ',', ';', '#', '[', ']', '"', '\'', '=']);
    repeat::<_, _, (), _, _>(1.., part).take().parse_next(input)
}

fn quoted<'a>(quote: char) -> impl FnMut(&mut Input<'a>) -> ModalResult<Raw<'a>> {
    move |input| {
        let escaped = ('\\', none_of('\n')).void();
        let plain = none_of([quote, '\\', '\n']).void();
        let inner = repeat::<_, _, (), _, _>(0.., alt((escaped, plain))).take();
        let (inner, closed) = preceded(quote, (inner, opt(quote))).parse_next(input)?;
        if closed.is_none() {
            skip(input, |input| take_till(0.., '\n').void().parse_next(input));
        }
        Ok(Raw::Quoted { inner, closed: closed.is_some() })
    }
}

fn list<'a>(input: &mut Input<'a>, depth: usize) -> ModalResult<Raw<'a>> {
    '['.verify(|_: &char| depth < DEPTH).parse_next(input)?;
    let mut tokens = Vec::new();
    loop {
        skip(input, list_blanks);
        if opt(']').parse_next(input)?.is_some() {
            return Ok(Raw::List { tokens, closed: true });
        }
        // A word with `=` behind it is the next statement.
        let word = terminated(bare, not((blanks, op))).map(Raw::Word);
        let inner = |input: &mut Input<'a>| list(input, depth + 1);
        let value = alt((quoted('"'), quoted('\''), inner, word)).map(Token::Value);
        let token = alt((','.map(|_| Token::Comma), value)).with_span();
        let Some((token, bytes)) = opt(token).parse_next(input)? else {
            return Ok(Raw::List { tokens, closed: false });
        };
        let open = matches!(token, Token::Value(Raw::List { closed: false, .. }));
        tokens.push((token, bytes));
        if open {
            return Ok(Raw::List { tokens, closed: false });
        }
    }
}
