//! How often judges refused with which code of their own.
//!
//! Invariant: a table of fixed size that is written in place; a code that finds no row is counted with the others, so the
//! counts always add up.

use io_oi_record::ArbitratorCode;

/// A count for each of the first codes that were met, and one for all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    rows: [(u32, u64); CODES_MAX],
    used: usize,
    others: u64,
}

impl Refusals {
    /// Counts one.
    pub(super) fn count(&mut self, code: ArbitratorCode) {
        let code = code.get();
        if let Some((_, count)) = self.rows[..self.used].iter_mut().find(|(known, _)| *known == code) {
            *count += 1;
        } else if let Some(row) = self.rows.get_mut(self.used) {
            *row = (code, 1);
            self.used += 1;
        } else {
            self.others += 1;
        }
    }

    /// Codes with their counts, in the order in which they were met first.
    pub(super) fn rows(&self) -> &[(u32, u64)] {
        &self.rows[..self.used]
    }

    /// What codes without a row of their own count together.
    pub(super) const fn others(&self) -> u64 {
        self.others
    }
}

/// Codes that are counted one by one: a judge is an account's rules, not an encyclopedia.
pub(super) const CODES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted_whatever_its_code() {
        let mut refusals = Refusals::default();
        for round in 0..3 {
            for code in 0..20 {
                refusals.count(ArbitratorCode::new(code * 7).expect("a small code"));
                if round == 2 {
                    refusals.count(ArbitratorCode::new(ArbitratorCode::MAX).expect("the largest code"));
                }
            }
        }
        let rows = refusals.rows();
        assert_eq!((rows.len(), rows[0], rows[15]), (CODES_MAX, (0, 3), (105, 3)));
        assert_eq!(refusals.others(), 3 * 4 + 20);
        let counted: u64 = rows.iter().map(|(_, count)| count).sum();
        assert_eq!(counted + refusals.others(), 3 * 20 + 20);
    }
}
