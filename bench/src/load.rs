//! The same load for every subject, in turns: A B A B, so that a noisy minute falls on both.
//!
//! Invariant: a put counts when its acknowledgement came, and the values read back afterwards are the ones put last.

use std::io;
use std::time::{Duration, Instant};

use io_oi_bench::{Answers, scrambled};

/// Told for every answer: which put, and whether it was accepted.
pub(crate) type Answered<'a> = dyn FnMut(u64, bool) + 'a;

/// Something that puts values durably.
pub(crate) trait Subject {
    /// As in the table.
    fn name(&self) -> &'static str;

    /// Begins one put; false when there is no room now.
    fn put(&mut self, ticket: u64, key: &[u8], value: &[u8]) -> io::Result<bool>;

    /// Sends what was begun.
    fn send(&mut self) -> io::Result<()>;

    /// Waits a little for answers, and hands them out.
    fn collect(&mut self, answered: &mut Answered<'_>) -> io::Result<()>;

    /// What stands under a key now.
    fn read_back(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;
}

/// What one subject did at one point of the sweep, over all turns.
#[derive(Default)]
pub(crate) struct Row {
    /// Nanoseconds of every put, turn by turn.
    turns: Vec<Vec<u64>>,
    rates: Vec<f64>,
    /// Refused puts, and values that were not the ones put last.
    pub(crate) errors: u64,
    pub(crate) answers: Answers,
}

/// One turn: a closed loop with at most `in_flight` puts open.
pub(crate) struct Turn {
    pub(crate) in_flight: usize,
    pub(crate) count: u64,
    pub(crate) length: Duration,
    pub(crate) payload_bytes: usize,
}

impl Row {
    /// One turn's worth of load.
    pub(crate) fn turn(&mut self, subject: &mut dyn Subject, turn: &Turn, seed: u64) -> io::Result<()> {
        let mut samples = Vec::new();
        let mut open: Vec<Option<Instant>> = vec![None; turn.in_flight];
        let mut last: Vec<Option<u64>> = vec![None; KEYS as usize];
        let mut free: Vec<usize> = (0..turn.in_flight).rev().collect();
        let (began, mut sent, mut value) = (Instant::now(), 0, vec![0; turn.payload_bytes]);
        loop {
            let is_over = sent >= turn.count || began.elapsed() >= turn.length;
            if is_over && free.len() == turn.in_flight {
                break;
            }
            while !is_over
                && sent < turn.count
                && let Some(slot) = free.last().copied()
            {
                let number = scrambled(seed ^ sent) % KEYS;
                fill(&mut value, seed, sent);
                if !subject.put(slot as u64, &key_of(number), &value)? {
                    break;
                }
                open[slot] = Some(Instant::now());
                last[number as usize] = Some(sent);
                free.pop();
                sent += 1;
            }
            subject.send()?;
            let errors = &mut self.errors;
            subject.collect(&mut |ticket, is_accepted| {
                let slot = ticket as usize;
                let began = open[slot].take().expect("an answer belongs to an open put");
                samples.push(began.elapsed().as_nanos() as u64);
                *errors += u64::from(!is_accepted);
                free.push(slot);
            })?;
        }
        self.rates.push(samples.len() as f64 / began.elapsed().as_secs_f64());
        self.turns.push(samples);
        // With many in flight two puts of one key may be decided in either order.
        if turn.in_flight == 1 {
            self.check(subject, &last, seed, turn.payload_bytes)?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        subject: &mut dyn Subject,
        last: &[Option<u64>],
        seed: u64,
        bytes: usize,
    ) -> io::Result<()> {
        let mut wanted = vec![0; bytes];
        for (number, put) in
            last.iter().enumerate().filter_map(|(number, put)| Some((number, (*put)?))).take(CHECKED)
        {
            fill(&mut wanted, seed, put);
            let found = subject.read_back(&key_of(number as u64))?;
            self.errors += u64::from(found.as_deref() != Some(&wanted[..]));
            self.answers
                .add(found.map_or(0, |found| u64::from_le_bytes(found[..8].try_into().unwrap_or([0; 8]))));
        }
        Ok(())
    }

    /// Puts acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.turns.iter().map(Vec::len).sum()
    }

    /// The median of the turns' quantiles, and the lowest and highest of them.
    pub(crate) fn quantile_ns(&self, quantile: f64) -> Spread {
        Spread::of(self.turns.iter().filter(|turn| !turn.is_empty()).map(|turn| {
            let mut sorted = turn.clone();
            sorted.sort_unstable();
            sorted[((sorted.len() - 1) as f64 * quantile).round() as usize] as f64
        }))
    }

    /// Puts per second.
    pub(crate) fn per_second(&self) -> Spread {
        Spread::of(self.rates.iter().copied())
    }
}

/// A median with its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Over some figures; zero over none.
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.last()) {
            (Some(min), Some(max)) => Self { median: sorted[sorted.len() / 2], min: *min, max: *max },
            _ => Self::default(),
        }
    }
}

fn key_of(number: u64) -> [u8; 16] {
    let mut key = *b"rival/..........";
    for (index, digit) in key[6..].iter_mut().rev().enumerate() {
        *digit = b'0' + (number / 10_u64.pow(index as u32) % 10) as u8;
    }
    key
}

/// Bytes that no disk or codec can squeeze, different for every put.
fn fill(value: &mut [u8], seed: u64, put: u64) {
    for (index, chunk) in value.chunks_mut(8).enumerate() {
        let word = scrambled(seed.rotate_left(32) ^ put.rotate_left(8) ^ index as u64).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Keys that are rewritten in no guessable turn.
const KEYS: u64 = 10_000;
/// Values read back after a turn.
const CHECKED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, VecDeque};

    /// Answers in order, a few at a time; may forget a value.
    struct Pretend {
        values: HashMap<Vec<u8>, Vec<u8>>,
        open: VecDeque<u64>,
        most_open: usize,
        forgets: bool,
    }

    impl Subject for Pretend {
        fn name(&self) -> &'static str {
            "pretend"
        }

        fn put(&mut self, ticket: u64, key: &[u8], value: &[u8]) -> io::Result<bool> {
            self.values.insert(key.to_vec(), value.to_vec());
            self.open.push_back(ticket);
            self.most_open = self.most_open.max(self.open.len());
            Ok(true)
        }

        fn send(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn collect(&mut self, answered: &mut Answered<'_>) -> io::Result<()> {
            self.open.drain(..self.open.len().min(3)).for_each(|ticket| answered(ticket, true));
            Ok(())
        }

        fn read_back(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            Ok(self.values.get(key).filter(|_| !self.forgets).cloned())
        }
    }

    fn pretend(forgets: bool) -> Pretend {
        Pretend { values: HashMap::new(), open: VecDeque::new(), most_open: 0, forgets }
    }

    fn turn(in_flight: usize) -> Turn {
        Turn { in_flight, count: 500, length: Duration::from_secs(60), payload_bytes: 20 }
    }

    #[test]
    fn never_more_than_wanted_are_open_and_all_are_answered() {
        let (mut row, mut subject) = (Row::default(), pretend(false));
        row.turn(&mut subject, &turn(8), 1).unwrap();
        assert_eq!((row.count(), subject.most_open, row.errors), (500, 8, 0));
    }

    #[test]
    fn a_forgotten_value_is_an_error() {
        let mut row = Row::default();
        row.turn(&mut pretend(false), &turn(1), 1).unwrap();
        assert_eq!(row.errors, 0);
        row.turn(&mut pretend(true), &turn(1), 1).unwrap();
        assert!(row.errors > 0);
    }

    #[test]
    fn a_spread_names_the_median_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0].into_iter()), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }

    #[test]
    fn keys_differ_and_are_text() {
        assert_eq!(&key_of(42), b"rival/0000000042");
    }
}
