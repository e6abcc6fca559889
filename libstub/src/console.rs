// SPDX-License-Identifier: GPL-3.0-only
//! The last words of a domain: what its console ring still holds.

/// Where the parts of the ring page are (xen/io/console.h).
const OUT: usize = 1024;
const OUT_SIZE: usize = 2048;
const OUT_PROD: usize = OUT + OUT_SIZE + 12;

/// How many lines are kept.
const LINES: usize = 16;

/// The last lines that a domain wrote into its console ring, escaped; `page` is a copy of the ring's page.
///
/// xenconsoled takes bytes out by moving an index; they stay in the page until they are overwritten.
pub(crate) fn last_lines(page: &[u8]) -> Vec<String> {
    let Some(index) = written(page) else { return Vec::new() };
    let end = usize::try_from(index).unwrap_or(0);
    let Some(ring) = page.get(OUT..OUT + OUT_SIZE) else { return Vec::new() };
    // The index is the domain's: whatever it says, only the ring is read. Before the first lap the rest is zero.
    let (newer, older) = ring.split_at(end % OUT_SIZE);
    let text: Vec<u8> = older.iter().chain(newer).copied().filter(|&byte| byte != 0).collect();
    let lines: Vec<String> =
        text.split(|&byte| byte == b'\n').map(escaped).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}

/// How much a domain says it has written into its console ring: a number that means nothing but that it changed.
pub(crate) fn written(page: &[u8]) -> Option<u32> {
    let bytes = page.get(OUT_PROD..OUT_PROD + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// Writes as a domain does that nobody reads.
#[cfg(feature = "fake")]
pub(crate) fn append(page: &mut [u8], text: &[u8]) {
    let mut index = written(page).unwrap_or_default();
    for byte in text {
        let place = OUT + usize::try_from(index).unwrap_or_default() % OUT_SIZE;
        page[place] = *byte;
        index = index.wrapping_add(1);
    }
    page[OUT_PROD..OUT_PROD + 4].copy_from_slice(&index.to_ne_bytes());
}

/// Text of a domain made harmless for terminals and logs.
pub(crate) fn escaped(text: &[u8]) -> String {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut plain = String::new();
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            ' '..='~' => plain.push(c),
            '\t' => plain.push(' '),
            _ => plain.extend(c.escape_default()),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(written: &[u8]) -> Vec<u8> {
        let mut page = vec![0; 4096];
        for (index, byte) in written.iter().enumerate() {
            page[OUT + index % OUT_SIZE] = *byte;
        }
        let end = u32::try_from(written.len()).expect("short");
        page[OUT_PROD..OUT_PROD + 4].copy_from_slice(&end.to_ne_bytes());
        page
    }

    #[test]
    fn the_last_lines_come_in_order_across_the_rings_end() {
        let written: Vec<u8> = (0..400).flat_map(|n| format!("line {n}\r\n").into_bytes()).collect();
        let lines = last_lines(&page(&written));
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.last().map(String::as_str), Some("line 399"));
        assert_eq!(lines.first().map(String::as_str), Some("line 384"));
    }

    #[test]
    fn no_index_and_no_content_of_a_hostile_page_gets_through() {
        let mut hostile = page(b"\x1b[2Jred\x07");
        assert_eq!(last_lines(&hostile), ["\\u{1b}[2Jred\\u{7}"]);
        hostile[OUT_PROD..OUT_PROD + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(last_lines(&hostile).len() <= LINES);
        assert_eq!(last_lines(&[]), Vec::<String>::new());
    }
}
