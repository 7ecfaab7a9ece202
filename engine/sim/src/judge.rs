//! The arbitrator of the invented world: a judge written against the same kit as every other, run natively.
//!
//! Invariant: it is a function of what it is told, so every node comes to the same answers; what it should say is worked out
//! a second time, from the truth, by the checker of verdicts.

use io_oi_arbitrator_sdk::Effects as Writes;
use io_oi_arbitrator_sdk::{Arbitrator, CellReader, Context, Decision, Manifest, ReadSet};
use io_oi_record::governance::{ArbitratorChoice, Change};
use io_oi_record::hash::Domain;
use io_oi_record::{
    ArbitratorCode, ComponentPart, Durability, Effects, Hash, JudgeVersions, Operation, Precondition,
    Proposal, Sequence, SessionSequence, Verdict,
};
use io_oi_shard::Seating;
use io_oi_shard::hearing::{Arbiter, Case, Cells, Found, Hearing, Part, Said};

use crate::hot::Hot;

/// The code that the judge refuses with.
pub(crate) const CODE: u32 = 7;

/// The parts of its component: these words stand for code that no simulator runs.
const PARTS: [&[u8]; 2] = [b"counts what a node's clients ", b"were allowed to write"];

/// By which versions every node of this world judges.
pub(crate) const VERSIONS: JudgeVersions = JudgeVersions { seal: 1, costs: 1, engine: [1, 0, 0] };

/// What an operator does to have it judge every key.
pub(crate) fn deployment() -> impl Iterator<Item = Change> {
    let parts = PARTS.iter().map(|part| Change::StorePart(ComponentPart::of(component(), part)));
    parts.chain([seat(component())])
}

/// The judge of every key; the zero hash for nobody.
pub(crate) fn seat(arbitrator: Hash) -> Change {
    let versions = if arbitrator.is_zero() { JudgeVersions::default() } else { VERSIONS };
    Change::SetArbitrator(ArbitratorChoice { prefix: Vec::new(), arbitrator, is_shadow: false, versions })
}

/// Its component's name.
pub(crate) fn component() -> Hash {
    Domain::Arbitrator.hash(&PARTS.concat())
}

/// The bytes that travel with a change.
pub(crate) fn payload_of(change: &Change) -> Vec<u8> {
    match change {
        Change::StorePart(named) => {
            let is_it = |part: &&&[u8]| ComponentPart::of(component(), part) == *named;
            PARTS.iter().find(is_it).expect("the operator stores one component").to_vec()
        }
        Change::Write(_) => {
            let mut writes = (0..OPERATOR_WRITES).map(operators_write);
            writes.find(|(known, _)| known == change).expect("the operator writes these alone").1
        }
        _ => Vec::new(),
    }
}

/// How many different writes the operator makes.
pub(crate) const OPERATOR_WRITES: u64 = 9;

/// A write of the operator: puts, removals, and some that want the key to be absent. No client writes these keys.
pub(crate) fn operators_write(number: u64) -> (Change, Vec<u8>) {
    let (key, value) = (format!("operator/{}", number % 2), number.to_le_bytes());
    let is_delete = number % 4 == 2;
    let write = Proposal {
        session_sequence: SessionSequence(number + 1),
        operation: if is_delete { Operation::Delete } else { Operation::Put },
        precondition: if number % 3 == 1 { Precondition::Absent } else { Precondition::None },
        durability: Durability::DiskQuorum,
        key: key.as_bytes(),
        value: if is_delete { &[] } else { &value },
    };
    Change::write(&write).expect("it is short")
}

/// Counts in a node's cell what its clients were allowed to write; refuses one proposal in eight, and puts another off, by
/// the seed of its place.
struct Ledger;

impl Arbitrator for Ledger {
    const MANIFEST: Manifest = Manifest {
        reads: ReadSet::CellOfProposer,
        max_state: 64,
        max_effects: 64,
        ..Manifest::named("ledger", (1, 0, 0))
    };

    fn decide(context: &Context, state: &[u8], _proposal: &[u8], effects: &mut Writes<'_>) -> Decision {
        match context.seed % 8 {
            0 => Decision::refuse(CODE),
            1 => Decision::DEFER,
            _ => {
                let cell = CellReader::new(state).next().expect("the cell of the proposer is always there");
                let count = cell.value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_le_bytes);
                assert!(effects.put(cell.key, &(count + 1).to_le_bytes()), "there is room for one cell");
                Decision::ACCEPT
            }
        }
    }
}

/// A judge that runs natively, with room for what it writes.
struct Native {
    effects: Vec<u8>,
}

impl Arbiter for Native {
    fn reads(&self) -> ReadSet {
        Ledger::MANIFEST.reads
    }

    fn state_bytes_max(&self) -> usize {
        Ledger::MANIFEST.max_state as usize
    }

    fn plan(&mut self, _proposal: &[u8], _visit: &mut dyn FnMut(&[u8])) -> bool {
        true // It does not read `explicit`.
    }

    fn decide<'a>(&'a mut self, context: &Context, state: &[u8], proposal: &[u8]) -> Said<'a> {
        self.effects.resize(Ledger::MANIFEST.max_effects as usize, 0);
        let mut effects = Writes::new(&mut self.effects);
        let decision = Ledger::decide(context, state, proposal, &mut effects);
        let length = effects.as_slice().len();
        match decision {
            Decision::ACCEPT => Effects::check(&self.effects[..length]).map_or(Said::Fault, Said::Accept),
            Decision::DEFER => Said::Defer,
            Decision { code, .. } => ArbitratorCode::new(code).map_or(Said::Fault, Said::Refuse),
        }
    }
}

/// The judges of one process.
pub(crate) struct Judges {
    native: Native,
    hearing: Hearing,
}

impl Judges {
    pub(crate) fn new() -> Self {
        let state_bytes_max = Ledger::MANIFEST.max_state as usize;
        Self { native: Native { effects: Vec::new() }, hearing: Hearing::new(state_bytes_max) }
    }

    /// Decides a proposal whose precondition holds.
    pub(crate) fn judge(
        &mut self,
        case: &Case<'_>,
        seating: Seating<'_>,
        hot: &Hot,
    ) -> (Verdict, Effects<'_>) {
        if seating.of(case.proposal.key).judge.is_none() {
            return (Verdict::Accept, Effects::NONE);
        }
        self.hearing.hear(&mut self.native, Part::Judge, seating, case, &mut Shown { hot })
    }
}

/// What a process shows, as its judges see it.
struct Shown<'a> {
    hot: &'a Hot,
}

impl Cells for Shown<'_> {
    fn owns(&self, _key: &[u8]) -> bool {
        true
    }

    fn read(&mut self, key: &[u8], out: &mut [u8]) -> Found {
        let newest =
            self.hot.newest(key).and_then(|version| Some((version.sequence, version.value.as_ref()?)));
        let Some((sequence, value)) = newest else { return Found::Absent };
        let Some(out) = out.get_mut(..value.len()) else { return Found::TooLong };
        out.copy_from_slice(value);
        Found::Value { bytes: value.len(), sequence: Sequence(sequence) }
    }
}
