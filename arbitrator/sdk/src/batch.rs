//! Judges of many proposals at once: an auction sees the whole book before it decides one order.
//!
//! Invariant: there is one outcome for each proposal, in the same order, or the decision as a whole is a fault.

use crate::abi::BATCH_MAX;
use crate::cells::Effects;
use crate::contract::{Context, Decision, Manifest};

/// A judge of many proposals at once.
pub trait BatchArbitrator {
    /// What it says of itself; its limits are those of the whole batch.
    const MANIFEST: Manifest;

    /// Decides: pushes one outcome for each proposal, in the same order.
    fn decide_batch(context: &Context, state: &[u8], batch: &Batch<'_>, outcomes: &mut Outcomes<'_>);
}

/// The proposals of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    proposals: &'a [&'a [u8]],
}

impl<'a> Batch<'a> {
    /// These proposals, the first [`BATCH_MAX`] of them.
    #[must_use]
    pub fn new(proposals: &'a [&'a [u8]]) -> Self {
        Batch { proposals: proposals.get(..BATCH_MAX).unwrap_or(proposals) }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.proposals.len()
    }

    /// The proposals in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.proposals.iter().copied()
    }
}

/// The outcomes of one batch.
#[derive(Debug)]
pub struct Outcomes<'a> {
    effects: Effects<'a>,
    decided: [(Decision, usize); BATCH_MAX],
    count: usize,
}

impl<'a> Outcomes<'a> {
    /// Writes effects into `bytes` from its front.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Outcomes { effects: Effects::new(bytes), decided: [(Decision::ACCEPT, 0); BATCH_MAX], count: 0 }
    }

    /// Where the effects of the next outcome are written, before it is pushed.
    pub const fn effects(&mut self) -> &mut Effects<'a> {
        &mut self.effects
    }

    /// Adds the outcome of the next proposal, with the effects written since the last one.
    pub fn push(&mut self, decision: Decision) {
        if let Some(place) = self.decided.get_mut(self.count) {
            *place = (decision, self.effects.as_slice().len());
            self.count += 1;
        }
    }

    /// How many were pushed.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Every outcome with its effects, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Decision, &[u8])> {
        let all = self.effects.as_slice();
        let mut begin = 0;
        self.decided.iter().take(self.count).map(move |(decision, end)| {
            let effects = all.get(begin..*end).unwrap_or(&[]);
            begin = *end;
            (*decision, effects)
        })
    }
}
