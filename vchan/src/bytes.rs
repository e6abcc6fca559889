// SPDX-License-Identifier: GPL-3.0-only
//! Bytes into and out of words that somebody else writes as well.
//!
//! Words are atomic, so that a peer who writes meanwhile is no data race; each is loaded once.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

const WORD: usize = 4;

/// Copies from byte `at` on; the range must be inside.
pub(crate) fn load(words: &[AtomicU32], at: usize, to: &mut [u8]) {
    let mut at = at;
    let mut rest = to;
    while !rest.is_empty() {
        let inside = at % WORD;
        let (now, later) = rest.split_at_mut(rest.len().min(WORD - inside));
        let word = words[at / WORD].load(Relaxed).to_ne_bytes();
        now.copy_from_slice(&word[inside..inside + now.len()]);
        at += now.len();
        rest = later;
    }
}

/// Copies to byte `at` on; the range must be inside. Of a word that is written in part, the rest is kept: in the
/// part of a ring that is ours to write, nobody else writes it.
pub(crate) fn store(words: &[AtomicU32], at: usize, from: &[u8]) {
    let mut at = at;
    let mut rest = from;
    while !rest.is_empty() {
        let inside = at % WORD;
        let (now, later) = rest.split_at(rest.len().min(WORD - inside));
        let mut word =
            if now.len() == WORD { [0; WORD] } else { words[at / WORD].load(Relaxed).to_ne_bytes() };
        word[inside..inside + now.len()].copy_from_slice(now);
        words[at / WORD].store(u32::from_ne_bytes(word), Relaxed);
        at += now.len();
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_and_length_keeps_its_neighbours() {
        for at in 0..8 {
            for len in 0..=16 - at {
                let words: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(u32::MAX)).collect();
                let sent: Vec<u8> = (1..).take(len).collect();
                store(&words, at, &sent);
                let mut all = [0; 16];
                load(&words, 0, &mut all);
                assert_eq!(all[at..at + len], sent);
                assert!(all[..at].iter().chain(&all[at + len..]).all(|&byte| byte == 0xff));
                let mut got = vec![0; len];
                load(&words, at, &mut got);
                assert_eq!(got, sent);
            }
        }
    }
}
