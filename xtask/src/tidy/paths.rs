// SPDX-License-Identifier: GPL-3.0-only
//! Xenstore's paths are written in one place for each side: elsewhere no string literal holds one.
//!
//! Tests are free to: a test that names a path says what is on the wire, and would prove nothing if it took the path
//! from the code it tests.

use std::path::Path;
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{Fault, text};

/// Where paths are written: what both sides agree on, and what the toolstack writes.
const HOMES: [&str; 2] = ["stub-image/proto/src/keys.rs", "libstub/src/xenbus"];

/// Crates of tests, and the rule itself.
const EXEMPT: [&str; 3] = ["tests", "xen-sys/tests", "xtask/src/tidy/paths.rs"];

/// Pieces that only paths of xenstore have. Places in sysfs and /dev have other words beside `backend` and `vm`.
const PIECES: [&str; 15] = [
    "/local/domain",
    "@releaseDomain",
    "@introduceDomain",
    "device-model/",
    "backend/vbd",
    "device/vbd",
    "backend/vif",
    "device/vif",
    "backend/console",
    "device/console",
    "stub/stage",
    "stub/failed",
    "stub/protocol",
    "stub/go",
    "stub/qemu-exit",
];

/// What a whole literal begins with.
const BEGINNINGS: [&str; 3] = ["/vm/", "/tool/", "/libxl/"];

pub(super) fn faults(file: &str, source: &str) -> Vec<Fault> {
    if HOMES.iter().chain(&EXEMPT).any(|place| Path::new(file).starts_with(place)) {
        return Vec::new();
    }
    let code: String = text::code(source).flat_map(|line| [line, "\n"]).collect();
    let Ok(tokens) = TokenStream::from_str(&code) else {
        return vec![format!("{file}: the code before its tests is not whole: tests come last in a file")];
    };
    let mut faults = Vec::new();
    literals(tokens, &mut |line, literal| {
        let inside = literal.trim_start_matches(['b', 'c', 'r', '#', '"']);
        if PIECES.iter().any(|piece| literal.contains(piece))
            || BEGINNINGS.iter().any(|b| inside.starts_with(b))
        {
            faults.push(format!(
                "{file}:{line}: a path of xenstore, {literal}: it belongs into {}",
                HOMES.join(" or ")
            ));
        }
    });
    faults
}

/// Calls `found` with each string literal outside attributes (which hold the comments of documentation).
fn literals(tokens: TokenStream, found: &mut impl FnMut(usize, &str)) {
    let mut attribute = false;
    for token in tokens {
        match token {
            TokenTree::Punct(mark) => attribute = mark.as_char() == '#' || attribute && mark.as_char() == '!',
            TokenTree::Group(group) => {
                if !(attribute && group.delimiter() == Delimiter::Bracket) {
                    literals(group.stream(), found);
                }
                attribute = false;
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.contains('"') {
                    found(literal.span().start().line, &text);
                }
                attribute = false;
            }
            TokenTree::Ident(_) => attribute = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_path_is_found_with_its_line() {
        for literal in ["\"/local/domain/{domid}/name\"", "b\"@releaseDomain\"", "r#\"/vm/{uuid}\"#"] {
            let found = faults("libstub/src/a.rs", &format!("fn f() {{\n    g({literal});\n}}\n"));
            assert_eq!(found.len(), 1, "{literal}");
            assert!(found[0].starts_with("libstub/src/a.rs:2: "), "{found:?}");
        }
        assert_eq!(faults("stubctl/src/a.rs", "const A: &str = concat!(\"x\", \"stub/stage\");").len(), 1);
    }

    #[test]
    fn its_own_places_and_tests_may_have_paths() {
        let code = "const HOME: &str = \"/local/domain/0\";\n";
        for file in ["stub-image/proto/src/keys.rs", "libstub/src/xenbus/vbd.rs", "tests/dom0/order.rs"] {
            assert_eq!(faults(file, code), Vec::<Fault>::new());
        }
        assert_eq!(
            faults("libstub/src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{code}}}")),
            Vec::<Fault>::new()
        );
    }

    #[test]
    fn comments_and_other_file_systems_are_no_paths_of_xenstore() {
        let code = "//! Below `/local/domain`.\n/// At \"/vm/x\".\nfn f() { /* @releaseDomain */ \
                    g(\"/sys/bus/xen-backend/drivers/vbd\", \"/run/vm/a\", '\"') }\n";
        assert_eq!(faults("libstub/src/a.rs", code), Vec::<Fault>::new());
    }
}
