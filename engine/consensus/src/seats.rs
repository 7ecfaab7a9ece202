//! Which arbitrator judges which record.
//!
//! Invariant: the longest prefix of a key decides, and of two choices for one prefix the one that stands last in the log
//! before the record. So an activation holds from the next record on, on every node at the same one. [P-96]

use alloc::vec::Vec;

use io_oi_record::governance::ArbitratorChoice;
use io_oi_record::roster::Seat;
use io_oi_record::{Hash, JudgeVersions, Sequence};

use crate::governance::Governance;

/// Every choice in the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seats {
    choices: Vec<(Sequence, ArbitratorChoice)>,
}

/// One component below one prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sitting<'a> {
    /// The prefix; the empty one is every key.
    pub prefix: &'a [u8],
    /// The component.
    pub component: Hash,
    /// By which versions it judges.
    pub versions: JudgeVersions,
}

/// Who decides a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seated<'a> {
    /// Who judges; `None` where everything is accepted.
    pub judge: Option<Sitting<'a>>,
    /// Who runs beside the judge, without a say.
    pub shadow: Option<Sitting<'a>>,
}

/// Who decides which key at one place of the log.
#[derive(Clone, Copy, Debug)]
pub struct Seating<'a> {
    rules: &'a Governance,
    sequence: Sequence,
}

impl<'a> Seating<'a> {
    /// As the log before `sequence` says.
    #[must_use]
    pub const fn at(rules: &'a Governance, sequence: Sequence) -> Self {
        Self { rules, sequence }
    }

    /// Who decides a record of this key.
    #[must_use]
    pub fn of(&self, key: &[u8]) -> Seated<'a> {
        self.rules.seated(self.sequence, key)
    }
}

impl Seats {
    pub(crate) fn set(&mut self, sequence: Sequence, choice: &ArbitratorChoice) {
        self.choices.push((sequence, choice.clone()));
    }

    pub(crate) fn rewind_to(&mut self, tip: Sequence) {
        self.choices.retain(|(at, _)| *at <= tip);
    }

    pub(crate) fn choices(&self) -> &[(Sequence, ArbitratorChoice)] {
        &self.choices
    }

    /// `newest` is what all choices together have made.
    pub(crate) fn of<'a>(&'a self, sequence: Sequence, key: &[u8], newest: &'a [Seat]) -> Seated<'a> {
        match self.choices.last() {
            None => Seated::default(),
            Some((last, _)) if *last < sequence => among(newest, key),
            Some(_) => self.before(sequence, key),
        }
    }

    /// As the log stood before `sequence`; asked only while a change is on its way.
    #[cold]
    fn before(&self, sequence: Sequence, key: &[u8]) -> Seated<'_> {
        let known = self.choices.partition_point(|(at, _)| *at < sequence);
        let known = &self.choices[..known];
        let longest = |of_shadows: bool| {
            let fits =
                |choice: &ArbitratorChoice| choice.is_shadow == of_shadows && key.starts_with(&choice.prefix);
            let mut best: Option<Sitting<'_>> = None;
            for (place, (_, choice)) in known.iter().enumerate().filter(|(_, (_, choice))| fits(choice)) {
                let is_last = !known[place + 1..].iter().any(|(_, later)| ends(choice, later));
                let is_longer = best.is_none_or(|best| best.prefix.len() < choice.prefix.len());
                if is_last && is_longer && !choice.arbitrator.is_zero() {
                    best = Some(sitting(&choice.prefix, choice.arbitrator, choice.versions));
                }
            }
            best
        };
        Seated { judge: longest(false), shadow: longest(true) }
    }
}

/// Whether a later choice puts an end to this one: another for the same seat, or the shadow that has become the judge.
fn ends(choice: &ArbitratorChoice, later: &ArbitratorChoice) -> bool {
    let is_same_prefix = later.prefix == choice.prefix;
    let is_promoted = choice.is_shadow && later.arbitrator == choice.arbitrator;
    is_same_prefix && (later.is_shadow == choice.is_shadow || is_promoted)
}

fn among<'a>(seats: &'a [Seat], key: &[u8]) -> Seated<'a> {
    let mut seated = Seated::default();
    let is_longer = |known: Option<Sitting<'_>>, seat: &Seat| {
        known.is_none_or(|known| known.prefix.len() < seat.prefix.len())
    };
    for seat in seats.iter().filter(|seat| key.starts_with(&seat.prefix)) {
        if !seat.arbitrator.is_zero() && is_longer(seated.judge, seat) {
            seated.judge = Some(sitting(&seat.prefix, seat.arbitrator, seat.versions));
        }
        if !seat.shadow.is_zero() && is_longer(seated.shadow, seat) {
            seated.shadow = Some(sitting(&seat.prefix, seat.shadow, seat.shadow_versions));
        }
    }
    seated
}

fn sitting(prefix: &[u8], component: Hash, versions: JudgeVersions) -> Sitting<'_> {
    Sitting { prefix, component, versions }
}
