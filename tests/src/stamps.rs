// SPDX-License-Identifier: GPL-3.0-only
//! Moments by Xen's own clock, as it stamps its console, and by this process's.

use std::time::{Duration, Instant};

use crate::guest::{xen_console, xl};
use crate::wait_for;

/// What Xen writes when it is asked for its grants.
const MARK: &str = "key 'g' pressed";

/// The two clocks, side by side.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    here: Instant,
    xen: Duration,
}

impl Clocks {
    /// Compares them: Xen stamps a mark that this process asks for; the quickest of some tries counts.
    ///
    /// # Panics
    /// When Xen does not stamp it.
    pub fn compare() -> Self {
        let tries = (0..5).map(|_| {
            let before = Instant::now();
            assert!(xl().args(["debug-keys", "g"]).status().expect("xl").success());
            let after = Instant::now();
            let xen = wait_for("Xen's mark", || last(&xen_console(), MARK));
            (after - before, Self { here: before + (after - before) / 2, xen })
        });
        let (_, clocks) = tries.min_by_key(|(took, _)| *took).expect("a try");
        clocks
    }

    /// How long after `start` Xen's console got its last line with this text.
    pub fn since(&self, start: Instant, text: &str) -> Option<Duration> {
        let at = last(&xen_console(), text)?;
        (self.here + at).checked_duration_since(start + self.xen)
    }
}

/// The stamp of the last line with this text.
pub fn last(console: &str, text: &str) -> Option<Duration> {
    stamp(console.lines().rfind(|line| line.contains(text))?)
}

/// The time in `(XEN) [  123.456789] …`.
pub fn stamp(line: &str) -> Option<Duration> {
    let seconds: f64 = line.split_once('[')?.1.split_once(']')?.0.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_first_number_in_brackets() {
        let console = "(XEN) [   12.250000] one\n(XEN) [   13.5] two [3]\n(XEN) three\n";
        assert_eq!(last(console, "one"), Some(Duration::from_millis(12_250)));
        assert_eq!(last(console, "two"), Some(Duration::from_millis(13_500)));
        assert_eq!((last(console, "three"), last(console, "four")), (None, None));
    }
}
