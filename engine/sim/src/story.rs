//! What happened, told so that a person can follow it.
//!
//! Invariant: telling changes nothing: a seed does the same whether somebody listens or not.

use std::collections::VecDeque;
use std::fmt;

/// The lines of one history; none unless somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Story {
    is_heard: bool,
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Story {
    /// A story that nobody hears.
    pub(crate) fn untold() -> Self {
        Self::default()
    }

    /// A story of which the newest lines are kept.
    pub(crate) fn told(lines_max: usize) -> Self {
        Self { is_heard: true, lines: VecDeque::new(), lines_max }
    }

    /// Whether a line would be kept.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Adds one line.
    pub(crate) fn tell(&mut self, time: u64, line: fmt::Arguments<'_>) {
        if !self.is_heard {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{} {line}", Moment(time)));
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

/// A moment of the world's time, in seconds.
pub(crate) struct Moment(pub(crate) u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// The first bytes of a hash or key: enough to tell two apart by eye.
pub(crate) struct Short<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
