// SPDX-License-Identifier: GPL-3.0-only
//! Random numbers to begin with, from the toolstack.
//!
//! A domain without devices has no source of them. Its kernel would make its own out of the jitter of its timer when
//! QEMU first asks, and spend CPU time on it at each start.

use proto::keys::{SEED, name};

use crate::report::Reporter;
use crate::{InitError, console, sys};

/// Gives the kernel what the toolstack wrote, if it did. A kernel that takes none serves the guest all the same.
pub fn take(reporter: &Reporter) -> Result<(), InitError> {
    let Some(text) = reporter.read_optional(&reporter.key(name::SEED)?)? else { return Ok(()) };
    match bytes(&text).map(|seed| sys::add_entropy(&seed)) {
        Some(Ok(())) => {}
        Some(Err(error)) => console::say(&format!("the kernel takes no seed: {error}")),
        None => console::say("the toolstack's seed is not 64 to 128 hexadecimal digits"),
    }
    Ok(())
}

/// What the digits mean, if they are as many as they should be.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end().as_bytes();
    let pairs = text.chunks(2).map(|pair| {
        let digit = |index: usize| char::from(*pair.get(index)?).to_digit(16);
        u8::try_from(digit(0)? * 16 + digit(1)?).ok()
    });
    pairs.collect::<Option<Vec<u8>>>().filter(|seed| SEED.contains(&seed.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_digits_are_a_seed_and_nothing_else_is() {
        let text = |count: usize| "00fF1".to_owned() + &"a".repeat(2 * count - 5);
        for count in [32, 48, 64] {
            let seed = bytes(&text(count)).unwrap();
            assert_eq!((&seed[..4], seed.len()), (&[0, 255, 0x1a, 0xaa][..], count));
        }
        for wrong in [&text(31), &text(65), &text(48)[1..], &text(48).replace("fF", "+f"), ""] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
