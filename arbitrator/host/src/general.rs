//! The general tier: a fresh instance for every decision, for judges that cannot be sealed.
//!
//! Invariant: an instance is asked once and thrown away, so nothing can leak; its memory comes from a pool that was
//! mapped at boot. A decision takes some microseconds and allocates, so whoever deploys a component chooses this tier.

// `Lower` and `Lift` are unsafe traits, and their derives implement them; no line of this file is unsafe.
#![allow(unsafe_code)]

use io_oi_arbitrator_sdk::{Context, ReadSet};
use io_oi_record::hash::Domain;
use io_oi_record::{ArbitratorCode, Hash};
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker, Lower};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

use crate::component;
use crate::engine::{Engine, fault_of};
use crate::limits::{
    GENERAL_COMPONENT_BYTES_CEILING, GENERAL_COMPONENT_BYTES_MAX, GENERAL_CORE_INSTANCES_MAX,
    GENERAL_FUEL_MAX, GENERAL_MEMORY_BYTES_MAX, GENERAL_PARTS_MAX, GENERAL_SEATED_FUEL_MAX,
    GENERAL_STATE_BYTES_MAX,
};
use crate::manifest::{Manifest, name_of, reads_of};
use crate::refusal::Refusal;
use crate::ruling::{Answer, Fault, FaultCounts, Ruling};
use crate::sealed::check_effects;

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct Words {
    sequence: u64,
    epoch: u64,
    #[component(name = "time-ns")]
    time_ns: u64,
    seed: u64,
    proposer: u64,
    kind: u32,
    attrs: u32,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // Lifted from what a guest says.
enum Said {
    #[component(name = "accept")]
    Accept,
    #[component(name = "refuse")]
    Refuse,
    #[component(name = "defer")]
    Defer,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Outcome {
    verdict: Said,
    code: u32,
    effects: Vec<u8>,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // Lifted from what a guest says.
enum Reads {
    #[component(name = "none")]
    None,
    #[component(name = "cell-of-proposer")]
    CellOfProposer,
    #[component(name = "cell-of-key-prefix")]
    CellOfKeyPrefix,
    #[component(name = "explicit")]
    Explicit,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Described {
    name: String,
    version: (u16, u16, u16),
    reads: Reads,
    #[component(name = "max-state")]
    max_state: u32,
    #[component(name = "max-proposal")]
    max_proposal: u32,
    #[component(name = "max-effects")]
    max_effects: u32,
    fuel: u64,
}

/// A judge of the general tier on one core.
pub struct GeneralJudge {
    hash: Hash,
    template: InstancePre<StoreLimits>,
    manifest: Manifest,
    effects: Vec<u8>,
    faults: FaultCounts,
}

impl std::fmt::Debug for GeneralJudge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeneralJudge").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl GeneralJudge {
    /// Admits a component to the general tier. Compiles: milliseconds for each hundred kilobytes.
    ///
    /// # Errors
    ///
    /// Says what the component would have to be like.
    pub fn admit(engine: &Engine, bytes: &[u8]) -> Result<GeneralJudge, Refusal> {
        GeneralJudge::admit_within(engine, bytes, GENERAL_COMPONENT_BYTES_MAX)
    }

    /// As [`GeneralJudge::admit`], with the operator's own bound on the component's bytes, of which never more than
    /// `GENERAL_COMPONENT_BYTES_CEILING` counts. Eighteen megabytes compile for many seconds: not on a shard's core.
    ///
    /// # Errors
    ///
    /// Says what the component would have to be like.
    pub fn admit_within(
        engine: &Engine,
        bytes: &[u8],
        component_bytes_max: usize,
    ) -> Result<GeneralJudge, Refusal> {
        let bytes_max = component_bytes_max.min(GENERAL_COMPONENT_BYTES_CEILING);
        if bytes.len() > bytes_max {
            return Err(Refusal::TooLongForAny { bytes: bytes.len(), bytes_max });
        }
        component::check_general(bytes)?;
        let compiled = Component::new(&engine.general, bytes);
        let compiled = compiled.map_err(|error| Refusal::Compile { text: error.root_cause().to_string() })?;
        let template = Linker::new(&engine.general).instantiate_pre(&compiled);
        let template = template.map_err(|error| Refusal::Imports { name: error.root_cause().to_string() })?;
        let manifest = describe(&template)?;
        let judge = GeneralJudge::new(Domain::Arbitrator.hash(bytes), template, manifest);
        if judge.is_steady() { Ok(judge) } else { Err(Refusal::Unsteady) }
    }

    fn new(hash: Hash, template: InstancePre<StoreLimits>, manifest: Manifest) -> GeneralJudge {
        let effects = Vec::with_capacity(manifest.effects_bytes_max);
        GeneralJudge { hash, template, manifest, effects, faults: FaultCounts::default() }
    }

    /// Another judge of the same component, for another core: compiled code is shared, counters are not.
    #[must_use]
    pub fn sibling(&self) -> GeneralJudge {
        GeneralJudge::new(self.hash, self.template.clone(), self.manifest.clone())
    }

    /// Whether a shard may ask it: one whose decisions end before the shard's other work has waited for too long.
    ///
    /// # Errors
    ///
    /// Says what its manifest would have to say.
    pub fn check_seatable(&self) -> Result<(), Refusal> {
        let fuel = self.manifest.fuel;
        if fuel > GENERAL_SEATED_FUEL_MAX {
            let wanted =
                "a decision of the general tier may use at most 1000000 in a shard, whose other work waits";
            return Err(Refusal::Manifest { field: "fuel", value: fuel, wanted });
        }
        Ok(())
    }

    /// The same question twice, which has to have one answer.
    fn is_steady(&self) -> bool {
        let mut judge = self.sibling();
        let mut ask = || {
            let ruling = judge.decide(&Context::default(), &[], &[]);
            (ruling.answer, ruling.effects.to_vec(), ruling.fuel)
        };
        ask() == ask()
    }

    /// The name of the component: the hash of its bytes.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// What it says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Which faults happened here.
    #[must_use]
    pub const fn faults(&self) -> &FaultCounts {
        &self.faults
    }

    /// Decides one proposal in an instance of its own.
    pub fn decide(&mut self, context: &Context, state: &[u8], proposal: &[u8]) -> Ruling<'_> {
        let limit = self.manifest.fuel;
        let fits = state.len() <= self.manifest.state_bytes_max
            && proposal.len() <= self.manifest.proposal_bytes_max;
        let (found, fuel) = if fits {
            let mut store = store(&self.template);
            let found = ask(&self.template, &mut store, limit, context, state, proposal);
            let left = store.get_fuel().expect("the engine consumes fuel").min(limit);
            (if left == 0 { Err(Fault::Fuel) } else { found }, limit - left)
        } else {
            (Err(Fault::Input), 0)
        };
        let found = found.and_then(|outcome| read(outcome, self.manifest.effects_bytes_max));
        self.effects.clear();
        let answer = match found {
            Ok((answer, effects)) => {
                self.effects.extend_from_slice(&effects);
                answer
            }
            Err(fault) => {
                self.faults.count(fault);
                Answer::Fault(fault)
            }
        };
        Ruling { answer, effects: &self.effects, fuel }
    }
}

fn store(template: &InstancePre<StoreLimits>) -> Store<StoreLimits> {
    let limits = StoreLimitsBuilder::new()
        .memory_size(GENERAL_MEMORY_BYTES_MAX)
        .memories(GENERAL_PARTS_MAX)
        .tables(GENERAL_PARTS_MAX)
        .instances(GENERAL_CORE_INSTANCES_MAX)
        .build();
    let mut store = Store::new(template.engine(), limits);
    store.limiter(|limits| limits);
    // Setting up is not the judge's thinking: what it costs depends on how the pool was used before.
    store.set_fuel(u64::MAX).expect("the engine consumes fuel");
    store
}

fn ask(
    template: &InstancePre<StoreLimits>,
    store: &mut Store<StoreLimits>,
    fuel: u64,
    context: &Context,
    state: &[u8],
    proposal: &[u8],
) -> Result<Outcome, Fault> {
    let instance = template.instantiate(&mut *store).map_err(|error| fault_of(&error))?;
    let Context { sequence, epoch, time_ns, seed, proposer, kind, attrs } = *context;
    let words = Words { sequence, epoch, time_ns, seed, proposer, kind, attrs };
    store.set_fuel(fuel).expect("the engine consumes fuel");
    let decide = instance.get_typed_func::<(Words, &[u8], &[u8]), (Outcome,)>(&mut *store, "decide");
    let decide = decide.map_err(|_| Fault::Outcome)?;
    let (outcome,) = decide.call(&mut *store, (words, state, proposal)).map_err(|error| fault_of(&error))?;
    Ok(outcome)
}

fn read(outcome: Outcome, effects_bytes_max: usize) -> Result<(Answer, Vec<u8>), Fault> {
    let answer = match (outcome.verdict, outcome.code) {
        (Said::Accept, 0) => Answer::Accept,
        (Said::Refuse, code) => Answer::Refuse(ArbitratorCode::new(code).ok_or(Fault::Outcome)?),
        (Said::Defer, 0) => Answer::Defer,
        _ => return Err(Fault::Outcome),
    };
    match outcome.effects.len() {
        0 => {}
        _ if answer != Answer::Accept => return Err(Fault::Outcome),
        bytes if bytes > effects_bytes_max => return Err(Fault::Oversize),
        _ => check_effects(&outcome.effects)?,
    }
    Ok((answer, outcome.effects))
}

fn describe(template: &InstancePre<StoreLimits>) -> Result<Manifest, Refusal> {
    let mut store = store(template);
    let instance = template.instantiate(&mut store);
    let instance = instance.map_err(|error| Refusal::Instantiate { text: error.root_cause().to_string() })?;
    store.set_fuel(GENERAL_FUEL_MAX).expect("the engine consumes fuel");
    let missing = |_| Refusal::MissingExport { name: "describe" };
    let describe = instance.get_typed_func::<(), (Described,)>(&mut store, "describe").map_err(missing)?;
    let described = describe.call(&mut store, ());
    let (described,) = described.map_err(|error| Refusal::Describe { fault: fault_of(&error) })?;
    manifest_of(described)
}

fn manifest_of(described: Described) -> Result<Manifest, Refusal> {
    let manifest = Manifest {
        name: name_of(described.name.as_bytes())?,
        version: described.version,
        reads: reads_of(described.reads as u8).expect("a lifted enum is one of its cases"),
        state_bytes_max: described.max_state as usize,
        proposal_bytes_max: described.max_proposal as usize,
        effects_bytes_max: described.max_effects as usize,
        fuel: described.fuel,
    };
    let lists = [
        ("max-state", manifest.state_bytes_max),
        ("max-proposal", manifest.proposal_bytes_max),
        ("max-effects", manifest.effects_bytes_max),
    ];
    for (field, bytes) in lists {
        if bytes > GENERAL_STATE_BYTES_MAX {
            return Err(Refusal::Manifest { field, value: bytes as u64, wanted: "1 MiB is the most" });
        }
    }
    if manifest.reads == ReadSet::Explicit {
        let wanted = "the general tier has no export `plan` that could name cells";
        return Err(Refusal::Manifest { field: "reads", value: manifest.reads as u64, wanted });
    }
    if manifest.fuel == 0 || manifest.fuel > GENERAL_FUEL_MAX {
        let wanted = "a decision of the general tier may use between 1 and 10000000";
        return Err(Refusal::Manifest { field: "fuel", value: manifest.fuel, wanted });
    }
    Ok(manifest)
}

const _: () = assert!(GENERAL_SEATED_FUEL_MAX == 1_000_000, "the refusal names the limit");
const _: () = assert!(GENERAL_FUEL_MAX == 10_000_000 && GENERAL_STATE_BYTES_MAX == 1 << 20);
