//! What a judge says of itself, read from its memory and held against the limits.
//!
//! Invariant: a manifest that exists is within every limit, so nothing that is sized by it can be too large.

use io_oi_arbitrator_sdk::ReadSet;
use io_oi_arbitrator_sdk::abi::{
    MANIFEST_BYTES, MANIFEST_FUEL, MANIFEST_LIMITS, MANIFEST_READS, MANIFEST_VERSION,
};

use crate::component::World;
use crate::limits::{BATCH_FUEL_MAX, FUEL_MAX, NAME_BYTES_MAX};
use crate::memory;
use crate::refusal::Refusal;
use crate::ruling::Fault;

/// What a judge says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: (u16, u16, u16),
    /// The cells it wants to see.
    pub reads: ReadSet,
    /// Most bytes of state.
    pub state_bytes_max: usize,
    /// Most bytes of a proposal, or of all proposals of a batch.
    pub proposal_bytes_max: usize,
    /// Most bytes of effects.
    pub effects_bytes_max: usize,
    /// Fuel of one decision.
    pub fuel: u64,
}

impl Manifest {
    /// Reads the manifest that `describe` left at `at`, for a judge with so much memory.
    pub(crate) fn read(bytes: &[u8], at: u32, world: World) -> Result<Manifest, Refusal> {
        let fault = |fault| Refusal::Describe { fault };
        let pointer = || fault(Fault::Pointer);
        let head = memory::region(bytes, at, MANIFEST_BYTES as u32).ok_or_else(pointer)?;
        let (name_at, name_bytes) = memory::list(head, 0).ok_or_else(pointer)?;
        let name = memory::region(bytes, name_at, name_bytes).ok_or_else(pointer)?;
        let number = |index: usize| memory::u16_at(head, MANIFEST_VERSION + 2 * index).unwrap_or(0);
        let limit = |index: usize| memory::u32_at(head, MANIFEST_LIMITS + 4 * index).unwrap_or(0) as usize;
        let manifest = Manifest {
            name: name_of(name)?,
            version: (number(0), number(1), number(2)),
            reads: reads_of(head[MANIFEST_READS]).ok_or_else(|| fault(Fault::Outcome))?,
            state_bytes_max: limit(0),
            proposal_bytes_max: limit(1),
            effects_bytes_max: limit(2),
            fuel: memory::u64_at(head, MANIFEST_FUEL).unwrap_or(0),
        };
        manifest.check(world, bytes.len())?;
        Ok(manifest)
    }

    fn check(&self, world: World, memory_bytes: usize) -> Result<(), Refusal> {
        let fits = "state, proposal and effects together must fit its memory";
        let lists = [
            ("max-state", self.state_bytes_max),
            ("max-proposal", self.proposal_bytes_max),
            ("max-effects", self.effects_bytes_max),
        ];
        let mut sum = 0;
        for (field, bytes) in lists {
            sum += bytes;
            if sum > memory_bytes {
                return Err(Refusal::Manifest { field, value: bytes as u64, wanted: fits });
            }
        }
        let (fuel_max, wanted) = match world {
            World::Batch => (BATCH_FUEL_MAX, "a batch may use between 1 and 1000000"),
            World::Single | World::Planning => (FUEL_MAX, "a decision may use between 1 and 100000"),
        };
        if self.fuel == 0 || self.fuel > fuel_max {
            return Err(Refusal::Manifest { field: "fuel", value: self.fuel, wanted });
        }
        let is_explicit = self.reads == ReadSet::Explicit;
        if is_explicit != (world == World::Planning) {
            let wanted = "explicit goes together with the export `plan`, and with no batch";
            return Err(Refusal::Manifest { field: "reads", value: self.reads as u64, wanted });
        }
        Ok(())
    }
}

const _: () = assert!(BATCH_FUEL_MAX == 1_000_000 && FUEL_MAX == 100_000, "the refusals name the limits");

pub(crate) fn name_of(bytes: &[u8]) -> Result<String, Refusal> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX || !bytes.iter().all(is_plain) {
        return Err(Refusal::Name);
    }
    Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
}

pub(crate) const fn reads_of(number: u8) -> Option<ReadSet> {
    match number {
        0 => Some(ReadSet::None),
        1 => Some(ReadSet::CellOfProposer),
        2 => Some(ReadSet::CellOfKeyPrefix),
        3 => Some(ReadSet::Explicit),
        _ => None,
    }
}
