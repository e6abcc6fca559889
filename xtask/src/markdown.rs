// SPDX-License-Identifier: GPL-3.0-only
//! A page of documentation in pieces: its code blocks, links, pieces of code and comments, with their lines.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A piece of a page, and the line where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A fenced block: the words behind the fence, and the text
    Block { info: String, text: String },
    /// Where a link or a picture leads to
    Link(String),
    /// `code` in a line
    Code(String),
    /// A comment of HTML, which readers do not see
    Comment(String),
}

/// The pieces of a page, in order.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut block: Option<Piece> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let line = 1 + text[..range.start].matches('\n').count();
        let mut found = |kind| pieces.push(Piece { line, kind });
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                block =
                    Some(Piece { line, kind: Kind::Block { info: info.to_string(), text: String::new() } });
            }
            Event::End(TagEnd::CodeBlock) => pieces.extend(block.take()),
            Event::Text(more) => {
                if let Some(Piece { kind: Kind::Block { text, .. }, .. }) = &mut block {
                    text.push_str(&more);
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                found(Kind::Link(dest_url.to_string()))
            }
            Event::Code(code) => found(Kind::Code(code.to_string())),
            Event::Html(html) | Event::InlineHtml(html) => {
                let inside = html.trim().strip_prefix("<!--").and_then(|html| html.strip_suffix("-->"));
                if let Some(comment) = inside {
                    found(Kind::Comment(comment.trim().to_owned()));
                }
            }
            _ => {}
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_apart_in_order_with_lines() {
        let page = "# A\n\nSee [b](b.md) and `c/d`.\n\n<!-- dom0: true -->\n\n```xl file=/root/a.cfg\nname = \"a\"\n\nx\n```\n\n    indented\n";
        let expected = [
            (3, Kind::Link("b.md".to_owned())),
            (3, Kind::Code("c/d".to_owned())),
            (5, Kind::Comment("dom0: true".to_owned())),
            (
                7,
                Kind::Block {
                    info: "xl file=/root/a.cfg".to_owned(),
                    text: "name = \"a\"\n\nx\n".to_owned(),
                },
            ),
        ];
        assert_eq!(pieces(page), expected.map(|(line, kind)| Piece { line, kind }));
    }
}
