//! The contract's types, as `arbitrator/wit` publishes them.
//!
//! Invariant: every field here stands in the WIT under the same name and in the same order; a judge learns nothing else.

use crate::abi::PLAN_KEYS_MAX;
use crate::cells::Effects;

/// Everything a judge may know beside state and proposal. All of it stands in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The place that the record will take in its shard.
    pub sequence: u64,
    /// The leader's epoch.
    pub epoch: u64,
    /// Time of the block, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The same on every node, different for every sequence.
    pub seed: u64,
    /// Who proposes.
    pub proposer: u64,
    /// What is proposed: [`Context::PUT`] or [`Context::DELETE`].
    pub kind: u32,
    /// Bits; [`Context::OPERATOR`].
    pub attrs: u32,
}

impl Context {
    /// `kind` of a proposal that writes a value.
    pub const PUT: u32 = 1;
    /// `kind` of a proposal that removes a key.
    pub const DELETE: u32 = 2;
    /// Bit of `attrs`: the proposer is an operator.
    pub const OPERATOR: u32 = 1;

    /// Whether an operator proposes.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        self.attrs & Self::OPERATOR != 0
    }
}

/// The first word of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Takes effect, together with the effects.
    Accept = 0,
    /// Stands in the log without effect.
    Refuse = 1,
    /// Cannot be decided as things are: submit it again later.
    Defer = 2,
}

/// A verdict with its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// Why it was refused, below 2^31; 0 otherwise.
    pub code: u32,
}

impl Decision {
    /// It takes effect.
    pub const ACCEPT: Decision = Decision { verdict: Verdict::Accept, code: 0 };
    /// It is to be submitted again later.
    pub const DEFER: Decision = Decision { verdict: Verdict::Defer, code: 0 };

    /// It is refused for this reason, a number of the judge's own below 2^31.
    #[must_use]
    pub const fn refuse(code: u32) -> Decision {
        Decision { verdict: Verdict::Refuse, code }
    }
}

/// Which cells a judge is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReadSet {
    /// None: the proposal says it all.
    None = 0,
    /// The cell of who proposes.
    CellOfProposer = 1,
    /// The cell of the account: the key up to and with the first `/` behind the judge's prefix.
    CellOfKeyPrefix = 2,
    /// Those that [`Plan::plan`] names.
    Explicit = 3,
}

/// What a judge says of itself, once, at admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its name, ASCII, up to 64 bytes.
    pub name: &'static str,
    /// Its version.
    pub version: (u16, u16, u16),
    /// The cells it wants to see.
    pub reads: ReadSet,
    /// Most bytes of state.
    pub max_state: u32,
    /// Most bytes of one proposal (of all together, for a batch).
    pub max_proposal: u32,
    /// Most bytes of effects (of all outcomes together, for a batch).
    pub max_effects: u32,
    /// Fuel for one decision.
    pub fuel: u64,
}

impl Manifest {
    /// A judge that sees the proposal alone, and changes nothing else.
    #[must_use]
    pub const fn named(name: &'static str, version: (u16, u16, u16)) -> Manifest {
        Manifest {
            name,
            version,
            reads: ReadSet::None,
            max_state: 0,
            max_proposal: 1024,
            max_effects: 0,
            fuel: 10_000,
        }
    }
}

/// A judge of single proposals.
pub trait Arbitrator {
    /// What it says of itself.
    const MANIFEST: Manifest;

    /// Decides. `state` holds cells ([`crate::CellReader`]), `proposal` one write ([`crate::Write::only`]).
    fn decide(context: &Context, state: &[u8], proposal: &[u8], effects: &mut Effects<'_>) -> Decision;
}

/// A judge that names the cells it wants to see ([`ReadSet::Explicit`]).
pub trait Plan {
    /// Names keys, each a part of the proposal or fixed.
    fn plan<'a>(proposal: &'a [u8], keys: &mut Keys<'a>);
}

/// The keys of a plan.
#[derive(Debug, Default)]
pub struct Keys<'a> {
    keys: [&'a [u8]; PLAN_KEYS_MAX],
    count: usize,
}

impl<'a> Keys<'a> {
    /// Adds a key; `false` when there is no room for it.
    pub fn push(&mut self, key: &'a [u8]) -> bool {
        match self.keys.get_mut(self.count) {
            Some(place) => {
                *place = key;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// The keys in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        self.keys.get(..self.count).unwrap_or(&[])
    }
}
