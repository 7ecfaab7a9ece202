//! How an arbitrator is heard: what it is told, and what becomes of what it says.
//!
//! Invariant: everything that it is told is a function of the log before the record, and its answer becomes a verdict in one
//! way only; so the leader, the followers, a simulator and whoever replays a log offline hear the same. An arbitrator reads
//! and writes only keys that it judges itself, on this shard: what another judge guards is not to be had through it. [P-96]

use alloc::boxed::Box;
use alloc::vec;

use io_oi_arbitrator_sdk::{Cell, CellWriter, Context, ReadSet, Write};
use io_oi_consensus::{Seating, Sitting};
use io_oi_record::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use io_oi_record::{
    ArbitratorCode, ClusterId, Effects, Epoch, Nanos, Operation, Proposal, Record, RefusalCode, Sequence,
    SessionId, ShardId, Verdict,
};

/// Bytes in front of the key of a write and of a cell, at most.
const HEAD_BYTES_MAX: usize = 16;

/// One proposal at its place in the order.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The place that the record will take.
    pub sequence: Sequence,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The time of the block that the record goes into.
    pub time: Nanos,
    /// As [`seed_of`] makes it.
    pub seed: u64,
    /// Who proposes.
    pub session: SessionId,
    /// What is proposed.
    pub proposal: Proposal<'a>,
    /// Whether an operator has signed for it.
    pub is_operator: bool,
}

/// A number that is the same on every node and different for every record: from the place in the log alone.
#[must_use]
pub fn seed_of(cluster: ClusterId, shard: ShardId, epoch: Epoch, sequence: Sequence) -> u64 {
    let first = cluster.0.first_chunk::<8>().expect("a cluster's name has 32 bytes");
    let words = [u64::from_le_bytes(*first), shard.get().into(), epoch.get(), sequence.get()];
    words.into_iter().fold(0, |seed, word| mixed(seed ^ word))
}

/// The finalizer of splitmix64: every bit of the word moves every bit of the answer.
const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

impl Case<'_> {
    /// What the contract tells beside state and proposal. The proposer is the node whose client proposes: the only one that
    /// the log names for longer than a session.
    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            sequence: self.sequence.get(),
            epoch: self.epoch.get(),
            time_ns: self.time.get(),
            seed: self.seed,
            proposer: self.session.node.0,
            kind: if self.proposal.operation == Operation::Delete { Context::DELETE } else { Context::PUT },
            attrs: if self.is_operator { Context::OPERATOR } else { 0 },
        }
    }
}

/// What stands under the keys of a shard, through the record before.
pub trait Cells {
    /// Whether the key belongs to this shard.
    fn owns(&self, key: &[u8]) -> bool;

    /// Copies the newest value to the front of `out`.
    fn read(&mut self, key: &[u8], out: &mut [u8]) -> Found;
}

/// What was found under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The key does not exist.
    Absent,
    /// It has this many bytes, and was written at that sequence.
    Value {
        /// Their number; they stand in front.
        bytes: usize,
        /// Where it was written.
        sequence: Sequence,
    },
    /// It is longer than what there was room for.
    TooLong,
}

/// What a judge says, checked by whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The proposal takes effect, together with these writes.
    Accept(Effects<'a>),
    /// It has no effect, for this reason.
    Refuse(ArbitratorCode),
    /// It cannot be decided as things are.
    Defer,
    /// The judge failed.
    Fault,
}

/// An arbitrator that can be asked, sealed or native.
pub trait Arbiter {
    /// Which cells it wants to see.
    fn reads(&self) -> ReadSet;

    /// Most bytes of them, encoded.
    fn state_bytes_max(&self) -> usize;

    /// Hands every key that it wants to see to `visit`; `false` when it failed. Asked only if it reads `explicit`.
    fn plan(&mut self, proposal: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool;

    /// Decides.
    fn decide<'a>(&'a mut self, context: &Context, state: &[u8], proposal: &[u8]) -> Said<'a>;
}

/// Whose turn it is: the judge's, or that of the one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What it says is the verdict.
    Judge,
    /// What it says is compared.
    Shadow,
}

/// Why an arbitrator is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unheard {
    /// It wants a key that is not its own.
    Elsewhere,
    /// It fails on this proposal before it says anything.
    Fault,
}

/// The room in which arbitrators are heard; made once, reused for every record.
#[derive(Debug)]
pub struct Hearing {
    proposal: Box<[u8]>,
    proposal_bytes: usize,
    state: Box<[u8]>,
    state_bytes: usize,
    value: Box<[u8]>,
}

impl Hearing {
    /// Room for proposals of any size, and for states up to `state_bytes_max`.
    #[must_use]
    pub fn new(state_bytes_max: usize) -> Hearing {
        Hearing {
            proposal: vec![0; HEAD_BYTES_MAX + KEY_BYTES_MAX + VALUE_BYTES_MAX].into(),
            proposal_bytes: 0,
            state: vec![0; state_bytes_max].into(),
            state_bytes: 0,
            value: vec![0; state_bytes_max.min(VALUE_BYTES_MAX)].into(),
        }
    }

    /// Hears one arbitrator over one proposal whose precondition holds. Allocates nothing.
    pub fn hear<'a>(
        &mut self,
        arbiter: &'a mut impl Arbiter,
        part: Part,
        seating: Seating<'_>,
        case: &Case<'_>,
        cells: &mut impl Cells,
    ) -> (Verdict, Effects<'a>) {
        let own = Own { part, seating, sitting: sitting_of(part, seating, case.proposal.key) };
        if let Err(unheard) = self.prepare(arbiter, own, case, cells) {
            let code = match unheard {
                Unheard::Elsewhere => RefusalCode::ArbitratorElsewhere,
                Unheard::Fault => RefusalCode::ArbitratorFault,
            };
            return (Verdict::Refuse(code), Effects::NONE);
        }
        let (state, proposal) = (&self.state[..self.state_bytes], &self.proposal[..self.proposal_bytes]);
        let refused = match arbiter.decide(&case.context(), state, proposal) {
            Said::Accept(effects) => match check_effects(effects, own, case, cells) {
                Ok(verdict) => return (verdict, effects),
                Err(code) => code,
            },
            Said::Refuse(code) => RefusalCode::Arbitrator(code),
            Said::Defer => RefusalCode::ArbitratorDeferred,
            Said::Fault => RefusalCode::ArbitratorFault,
        };
        (Verdict::Refuse(refused), Effects::NONE)
    }

    /// Proposal and state, as they will be handed over.
    fn prepare(
        &mut self,
        arbiter: &mut impl Arbiter,
        own: Own<'_>,
        case: &Case<'_>,
        cells: &mut impl Cells,
    ) -> Result<(), Unheard> {
        let Proposal { operation, key, value, .. } = case.proposal;
        let write = Write { key, value, is_delete: operation == Operation::Delete };
        self.proposal_bytes = write.encode(&mut self.proposal).ok_or(Unheard::Fault)?;
        self.state_bytes = 0;
        let state_bytes_max = arbiter.state_bytes_max().min(self.state.len());
        let prefix = own.sitting.map_or(&[][..], |sitting| sitting.prefix);
        match arbiter.reads() {
            ReadSet::None => Ok(()),
            ReadSet::CellOfProposer => {
                let mut room = [0; KEY_BYTES_MAX];
                let cell = cell_of_proposer(prefix, case.session.node.0, &mut room);
                self.add_cell(cell, own, state_bytes_max, cells)
            }
            ReadSet::CellOfKeyPrefix => {
                self.add_cell(cell_of_key_prefix(prefix, key), own, state_bytes_max, cells)
            }
            ReadSet::Explicit => {
                let mut added = Ok(());
                let (proposal, bytes) = (core::mem::take(&mut self.proposal), self.proposal_bytes);
                let is_planned = arbiter.plan(&proposal[..bytes], &mut |cell| {
                    if added.is_ok() {
                        added = self.add_cell(cell, own, state_bytes_max, cells);
                    }
                });
                self.proposal = proposal;
                if is_planned { added } else { Err(Unheard::Fault) }
            }
        }
    }

    fn add_cell(
        &mut self,
        key: &[u8],
        own: Own<'_>,
        state_bytes_max: usize,
        cells: &mut impl Cells,
    ) -> Result<(), Unheard> {
        if !own.holds(key) || !cells.owns(key) {
            return Err(Unheard::Elsewhere);
        }
        let (value, sequence) = match cells.read(key, &mut self.value) {
            Found::Absent => (None, 0),
            Found::Value { bytes, sequence } => (Some(&self.value[..bytes]), sequence.get()),
            Found::TooLong => return Err(Unheard::Fault),
        };
        let mut writer = CellWriter::new(&mut self.state[self.state_bytes..state_bytes_max]);
        if !writer.push(&Cell { key, value, sequence }) {
            return Err(Unheard::Fault);
        }
        self.state_bytes += writer.as_slice().len();
        Ok(())
    }
}

/// Which keys an arbitrator may read and write.
#[derive(Clone, Copy)]
struct Own<'a> {
    part: Part,
    seating: Seating<'a>,
    sitting: Option<Sitting<'a>>,
}

impl Own<'_> {
    fn holds(&self, key: &[u8]) -> bool {
        let sitting = sitting_of(self.part, self.seating, key);
        sitting.map(|sitting| sitting.prefix) == self.sitting.map(|sitting| sitting.prefix)
    }
}

fn sitting_of<'a>(part: Part, seating: Seating<'a>, key: &[u8]) -> Option<Sitting<'a>> {
    let seated = seating.of(key);
    match part {
        Part::Judge => seated.judge,
        Part::Shadow => seated.shadow,
    }
}

/// What a judge may have written together with the proposal.
fn check_effects(
    effects: Effects<'_>,
    own: Own<'_>,
    case: &Case<'_>,
    cells: &impl Cells,
) -> Result<Verdict, RefusalCode> {
    if effects.is_empty() {
        return Ok(Verdict::Accept);
    }
    if !effects.iter().all(|effect| own.holds(effect.key) && cells.owns(effect.key)) {
        return Err(RefusalCode::ArbitratorElsewhere);
    }
    let verdict = Verdict::AcceptWithWrites;
    let record = Record::of(case.sequence, case.session, &case.proposal, verdict).with_effects(effects);
    record.check().map(|()| verdict).map_err(|_| RefusalCode::ArbitratorFault)
}

/// The cell of the account: the key up to and with the first `/` behind the prefix, or the whole key where there is none.
#[must_use]
pub fn cell_of_key_prefix<'k>(prefix: &[u8], key: &'k [u8]) -> &'k [u8] {
    let behind = &key[prefix.len().min(key.len())..];
    let end = behind.iter().position(|byte| *byte == b'/').map(|at| key.len() - behind.len() + at + 1);
    &key[..end.unwrap_or(key.len())]
}

/// The cell of who proposes: the prefix, then the proposer in 16 hexadecimal digits.
#[must_use]
pub fn cell_of_proposer<'r>(prefix: &[u8], proposer: u64, room: &'r mut [u8; KEY_BYTES_MAX]) -> &'r [u8] {
    let length = prefix.len() + 16;
    room[..prefix.len()].copy_from_slice(prefix);
    for (digit, place) in room[prefix.len()..length].iter_mut().enumerate() {
        let nibble = (proposer >> (60 - 4 * digit)) & 15;
        *place = b"0123456789abcdef"[nibble as usize];
    }
    &room[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_what_stands_before_the_next_slash() {
        assert_eq!(cell_of_key_prefix(b"ord/", b"ord/acct7/o1"), b"ord/acct7/");
        assert_eq!(cell_of_key_prefix(b"ord/", b"ord/acct7/"), b"ord/acct7/");
        assert_eq!(cell_of_key_prefix(b"ord/", b"ord/acct7"), b"ord/acct7");
        assert_eq!(cell_of_key_prefix(b"", b"a/b"), b"a/");
    }

    #[test]
    fn a_proposer_has_a_cell_below_the_prefix() {
        let mut room = [0; KEY_BYTES_MAX];
        assert_eq!(cell_of_proposer(b"q/", 0xAB, &mut room), b"q/00000000000000ab");
    }

    #[test]
    fn every_place_has_its_own_seed_and_every_node_the_same() {
        let seed = |shard, epoch, sequence| {
            seed_of(ClusterId([7; 32]), ShardId(shard), Epoch(epoch), Sequence(sequence))
        };
        assert_eq!(seed(0, 1, 1), seed(0, 1, 1));
        let seeds = [seed(0, 1, 1), seed(0, 1, 2), seed(0, 2, 1), seed(1, 1, 1)];
        for (at, one) in seeds.iter().enumerate() {
            assert!(!seeds[..at].contains(one));
        }
    }
}
