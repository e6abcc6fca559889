// SPDX-License-Identifier: GPL-3.0-only
//! A token bucket: so many bytes at once, so many a second in the long run.

use std::time::{Duration, Instant};

/// What may still be spent.
#[derive(Debug)]
pub struct Budget {
    burst: u64,
    per_second: u64,
    left: u64,
    filled: Instant,
}

impl Budget {
    /// A full bucket.
    pub fn new(burst: u64, per_second: u64, now: Instant) -> Self {
        Self { burst, per_second, left: burst, filled: now }
    }

    /// Spends `bytes` if they are there; all of them or none.
    pub fn spend(&mut self, bytes: usize, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs();
        // Whole seconds only, so that nothing is lost to rounding however often this is asked.
        self.filled += Duration::from_secs(seconds);
        self.left = self.left.saturating_add(seconds.saturating_mul(self.per_second)).min(self.burst);
        let left = u64::try_from(bytes).ok().and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spent_once_and_comes_back_at_the_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(100, 10, start);
        assert!(budget.spend(60, start) && budget.spend(40, start) && !budget.spend(1, start));
        let later = start + Duration::from_millis(1999);
        assert!(budget.spend(10, later) && !budget.spend(1, later));
        assert!(budget.spend(10, start + Duration::from_secs(2)));
        let much_later = start + Duration::from_secs(1 << 40);
        assert!(!budget.spend(101, much_later) && budget.spend(100, much_later));
    }
}
