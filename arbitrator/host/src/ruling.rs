//! What comes out of a decision.
//!
//! Invariant: a ruling is a value: whatever a guest does, there is one. The kind of a fault is for counters and logs
//! alone and never becomes replicated state, since an engine may come to name it differently.

use core::fmt;

use io_oi_record::ArbitratorCode;

/// What a judge said, or that it failed to say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The proposal takes effect, together with the effects.
    Accept,
    /// It stands in the log without effect, for this reason.
    Refuse(ArbitratorCode),
    /// It cannot be decided as things are.
    Defer,
    /// The judge failed: refused as `fault`.
    Fault(Fault),
}

/// How a judge failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It stopped itself, divided by zero, left its memory, or the like.
    Trap,
    /// It thought for too long.
    Fuel,
    /// It handed out a region that is not its memory, or took none for its arguments.
    Pointer,
    /// Its effects are longer, or more, than it may have.
    Oversize,
    /// Its outcome is none: no such verdict, a code above 2^31, effects without an accept, or effects that are no writes.
    Outcome,
    /// State or proposal are longer than its manifest allows, so it was not asked.
    Input,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 6] =
        [Fault::Trap, Fault::Fuel, Fault::Pointer, Fault::Oversize, Fault::Outcome, Fault::Input];

    /// As in counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Trap => "trap",
            Fault::Fuel => "fuel",
            Fault::Pointer => "pointer",
            Fault::Oversize => "oversize",
            Fault::Outcome => "outcome",
            Fault::Input => "input",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The outcome of one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// What was said.
    pub answer: Answer,
    /// Checked cell writes; empty unless accepted.
    pub effects: &'a [u8],
    /// What it used of its fuel; all of it when it ran out.
    pub fuel: u64,
}

/// The outcome of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRuling<'a> {
    /// One answer for each proposal, in their order, with where its effects end in `effects`.
    pub answers: &'a [(Answer, usize)],
    /// The effects of all outcomes behind one another.
    pub effects: &'a [u8],
    /// What the batch used of its fuel.
    pub fuel: u64,
}

impl<'a> BatchRuling<'a> {
    /// Every answer with its effects.
    pub fn iter(&self) -> impl Iterator<Item = (Answer, &'a [u8])> {
        let (answers, effects) = (self.answers, self.effects);
        let mut begin = 0;
        answers.iter().map(move |(answer, end)| {
            let part = effects.get(begin..*end).expect("ends of effects rise");
            begin = *end;
            (*answer, part)
        })
    }
}

/// How often each kind of fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl FaultCounts {
    /// Counts one.
    pub const fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often this one happened.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }
}
