//! The sealed tier: one instance that is asked again and again, and put back after every decision.
//!
//! Invariant: when a decision ends, memory and every mutable global hold what they held before the first one, whatever
//! the guest did and however it ended. A decision allocates nothing and asks the kernel for nothing.

use io_oi_arbitrator_sdk::Context;
use io_oi_arbitrator_sdk::abi::{
    BATCH_MAX, LIST_BYTES, OUTCOME_BYTES, OUTCOME_CODE, OUTCOME_EFFECTS, PLAN_KEYS_MAX,
};
use io_oi_record::{ArbitratorCode, Effects, ShapeError};
use wasmtime::{Global, Memory, Module, Store, TypedFunc, Val};

use crate::component::{REALLOC, World};
use crate::engine::fault_of;
use crate::limits::{CELL_KEY_BYTES_MAX, DESCRIBE_FUEL};
use crate::manifest::Manifest;
use crate::memory;
use crate::refusal::Refusal;
use crate::ruling::{Answer, BatchRuling, Fault, FaultCounts, Ruling};
use crate::seal::global_name;

/// `decide` and `decide-batch` to the core module: the context, then two lists as pointer and length.
type Decide = TypedFunc<(u64, u64, u64, u64, u64, u32, u32, u32, u32, u32, u32), u32>;
type Plan = TypedFunc<(u32, u32), u32>;
type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// Regions handed to a guest begin at multiples of this.
const ALIGN: u32 = 8;

/// A sealed module in a memory of its own.
pub(crate) struct Instance {
    store: Store<()>,
    memory: Memory,
    describe: TypedFunc<(), u32>,
    realloc: Realloc,
    decide: Decide,
    plan: Option<Plan>,
    world: World,
    globals: Box<[(Global, Val)]>,
    snapshot: Box<[u8]>,
}

impl Instance {
    pub(crate) fn new(module: &Module, world: World, globals: usize) -> Result<Instance, Refusal> {
        let mut store = Store::new(module.engine(), ());
        refuel(&mut store, u64::MAX);
        let instance = wasmtime::Instance::new(&mut store, module, &[])
            .map_err(|error| Refusal::Instantiate { text: error.root_cause().to_string() })?;
        let memory =
            instance.get_memory(&mut store, "memory").ok_or(Refusal::MissingExport { name: "memory" })?;
        let mut exports = Exports { store: &mut store, instance };
        let describe = exports.function("describe")?;
        let realloc = exports.function(REALLOC)?;
        let decide = exports.function(if world == World::Batch { "decide-batch" } else { "decide" })?;
        let plan = if world == World::Planning { Some(exports.function("plan")?) } else { None };
        let globals = (0..globals).map(|number| exports.global(number)).collect();
        let snapshot = memory.data(&store).into();
        Ok(Instance { store, memory, describe, realloc, decide, plan, world, globals, snapshot })
    }

    pub(crate) fn describe(&mut self, world: World) -> Result<Manifest, Refusal> {
        refuel(&mut self.store, DESCRIBE_FUEL);
        let at = self.describe.call(&mut self.store, ()).map_err(|error| fault_of(&error));
        let at = at.map_err(|fault| Refusal::Describe { fault })?;
        Manifest::read(self.memory.data(&self.store), at, world)
    }

    /// Puts everything back.
    #[inline]
    fn restore(&mut self) {
        self.memory.data_mut(&mut self.store).copy_from_slice(&self.snapshot);
        for (global, value) in &self.globals {
            global.set(&mut self.store, *value).expect("a global takes back the value that it had");
        }
    }

    /// Takes a region of the guest's memory for arguments.
    #[inline]
    fn take(&mut self, bytes: usize) -> Result<u32, Fault> {
        if bytes == 0 {
            return Ok(ALIGN);
        }
        let taken = self.realloc.call(&mut self.store, (0, 0, ALIGN, bytes as u32));
        let at = taken.map_err(|error| fault_of(&error))?;
        if at % ALIGN != 0 { Err(Fault::Pointer) } else { Ok(at) }
    }

    /// Writes the parts behind one another, each at a multiple of [`ALIGN`], into a region of their own.
    #[inline]
    fn place(&mut self, state: &[u8], proposal: &[u8]) -> Result<(u32, u32), Fault> {
        let behind = aligned(state.len());
        let at = self.take(behind + proposal.len())?;
        let region = memory::region_mut(self.memory.data_mut(&mut self.store), at, behind + proposal.len());
        let region = region.ok_or(Fault::Pointer)?;
        region[..state.len()].copy_from_slice(state);
        region[behind..].copy_from_slice(proposal);
        Ok((at, at + behind as u32))
    }

    #[inline]
    fn ask(&mut self, context: &Context, state: (u32, usize), second: (u32, usize)) -> Result<u32, Fault> {
        let Context { sequence, epoch, time_ns, seed, proposer, kind, attrs } = *context;
        let (state, state_bytes) = (state.0, state.1 as u32);
        let (second, count) = (second.0, second.1 as u32);
        let words =
            (sequence, epoch, time_ns, seed, proposer, kind, attrs, state, state_bytes, second, count);
        self.decide.call(&mut self.store, words).map_err(|error| fault_of(&error))
    }

    fn fuel_left(&self) -> u64 {
        self.store.get_fuel().expect("the engine consumes fuel")
    }
}

/// A judge on one core.
pub struct Judge {
    instance: Instance,
    manifest: Manifest,
    effects: Box<[u8]>,
    answers: Vec<(Answer, usize)>,
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    faults: FaultCounts,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl Judge {
    pub(crate) fn new(instance: Instance, manifest: Manifest) -> Judge {
        Judge {
            instance,
            effects: vec![0; manifest.effects_bytes_max].into(),
            manifest,
            answers: Vec::with_capacity(BATCH_MAX),
            keys: Vec::with_capacity(PLAN_KEYS_MAX * CELL_KEY_BYTES_MAX),
            key_ends: Vec::with_capacity(PLAN_KEYS_MAX),
            faults: FaultCounts::default(),
        }
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

    /// Decides one proposal.
    #[inline]
    pub fn decide(&mut self, context: &Context, state: &[u8], proposal: &[u8]) -> Ruling<'_> {
        if let Err(fault) = self.admit(state.len(), proposal.len()) {
            return self.faulty(fault, 0);
        }
        refuel(&mut self.instance.store, self.manifest.fuel);
        let found = self.run(context, state, proposal);
        let left = self.instance.fuel_left();
        self.instance.restore();
        let fuel = self.manifest.fuel - left;
        match found {
            _ if left == 0 => self.faulty(Fault::Fuel, fuel),
            Err(fault) => self.faulty(fault, fuel),
            Ok((answer, bytes)) => Ruling { answer, effects: &self.effects[..bytes], fuel },
        }
    }

    fn run(&mut self, context: &Context, state: &[u8], proposal: &[u8]) -> Result<(Answer, usize), Fault> {
        let (at, behind) = self.instance.place(state, proposal)?;
        let outcome = self.instance.ask(context, (at, state.len()), (behind, proposal.len()))?;
        let bytes = self.instance.memory.data(&self.instance.store);
        let head = memory::region(bytes, outcome, OUTCOME_BYTES as u32).ok_or(Fault::Pointer)?;
        read_outcome(bytes, head, &mut self.effects)
    }

    /// The keys that it wants to see before it decides this proposal; none unless its manifest reads `explicit`.
    ///
    /// # Errors
    ///
    /// The fault that the proposal is to be refused for.
    pub fn plan<'a>(
        &'a mut self,
        proposal: &[u8],
    ) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, Fault> {
        let planned = self.admit(0, proposal.len()).and_then(|()| self.run_plan(proposal));
        if let Err(fault) = planned {
            self.faults.count(fault);
            return Err(fault);
        }
        let (keys, mut begin) = (self.keys.as_slice(), 0);
        Ok(self.key_ends.iter().map(move |end| {
            let key = &keys[begin..*end];
            begin = *end;
            key
        }))
    }

    fn run_plan(&mut self, proposal: &[u8]) -> Result<(), Fault> {
        self.keys.clear();
        self.key_ends.clear();
        let Some(plan) = self.instance.plan.clone() else { return Ok(()) };
        refuel(&mut self.instance.store, self.manifest.fuel);
        let found = self.ask_plan(&plan, proposal);
        let left = self.instance.fuel_left();
        self.instance.restore();
        if left == 0 { Err(Fault::Fuel) } else { found }
    }

    fn ask_plan(&mut self, plan: &Plan, proposal: &[u8]) -> Result<(), Fault> {
        let (at, behind) = self.instance.place(&[], proposal)?;
        debug_assert_eq!(at, behind, "an empty state takes no room");
        let answer = plan.call(&mut self.instance.store, (behind, proposal.len() as u32));
        let answer = answer.map_err(|error| fault_of(&error))?;
        let bytes = self.instance.memory.data(&self.instance.store);
        let head = memory::region(bytes, answer, LIST_BYTES as u32).ok_or(Fault::Pointer)?;
        let (lists, count) = memory::list(head, 0).ok_or(Fault::Pointer)?;
        if count as usize > PLAN_KEYS_MAX {
            return Err(Fault::Oversize);
        }
        let lists = memory::region(bytes, lists, count * LIST_BYTES as u32).ok_or(Fault::Pointer)?;
        for index in 0..count as usize {
            let (key, length) = memory::list(lists, index * LIST_BYTES).ok_or(Fault::Pointer)?;
            let key = memory::region(bytes, key, length).ok_or(Fault::Pointer)?;
            if key.is_empty() || key.len() > CELL_KEY_BYTES_MAX {
                return Err(Fault::Outcome);
            }
            self.keys.extend_from_slice(key);
            self.key_ends.push(self.keys.len());
        }
        Ok(())
    }

    /// Decides many proposals at once. A fault is the answer to all of them.
    ///
    /// # Panics
    ///
    /// For more than `BATCH_MAX` proposals: the caller cuts batches.
    pub fn decide_batch(&mut self, context: &Context, state: &[u8], proposals: &[&[u8]]) -> BatchRuling<'_> {
        assert!(proposals.len() <= BATCH_MAX, "a batch is cut before it is judged");
        self.answers.clear();
        let bytes = proposals.iter().map(|proposal| proposal.len()).sum();
        let mut fuel = 0;
        let found = self.admit(state.len(), bytes).and_then(|()| {
            refuel(&mut self.instance.store, self.manifest.fuel);
            let found = self.run_batch(context, state, proposals);
            let left = self.instance.fuel_left();
            self.instance.restore();
            fuel = self.manifest.fuel - left;
            if left == 0 { Err(Fault::Fuel) } else { found }
        });
        let end = match found {
            Ok(end) => end,
            Err(fault) => {
                self.faults.count(fault);
                self.answers.clear();
                self.answers.extend(proposals.iter().map(|_| (Answer::Fault(fault), 0)));
                0
            }
        };
        BatchRuling { answers: &self.answers, effects: &self.effects[..end], fuel }
    }

    fn run_batch(&mut self, context: &Context, state: &[u8], proposals: &[&[u8]]) -> Result<usize, Fault> {
        let (lists_at, state_at) = self.place_batch(state, proposals)?;
        let outcomes = self.instance.ask(context, (state_at, state.len()), (lists_at, proposals.len()))?;
        let bytes = self.instance.memory.data(&self.instance.store);
        let head = memory::region(bytes, outcomes, LIST_BYTES as u32).ok_or(Fault::Pointer)?;
        let (at, count) = memory::list(head, 0).ok_or(Fault::Pointer)?;
        if count as usize != proposals.len() {
            return Err(Fault::Outcome);
        }
        let heads = memory::region(bytes, at, count * OUTCOME_BYTES as u32).ok_or(Fault::Pointer)?;
        let mut end = 0;
        for head in heads.chunks_exact(OUTCOME_BYTES) {
            let (answer, more) = read_outcome(bytes, head, &mut self.effects[end..])?;
            end += more;
            self.answers.push((answer, end));
        }
        Ok(end)
    }

    /// Heads of lists, state and proposals in one region; answers where heads and state stand.
    fn place_batch(&mut self, state: &[u8], proposals: &[&[u8]]) -> Result<(u32, u32), Fault> {
        let heads_bytes = proposals.len() * LIST_BYTES;
        let behind = heads_bytes + aligned(state.len());
        let bytes = behind + proposals.iter().map(|proposal| proposal.len()).sum::<usize>();
        let at = self.instance.take(bytes)?;
        let memory = self.instance.memory.data_mut(&mut self.instance.store);
        let region = memory::region_mut(memory, at, bytes).ok_or(Fault::Pointer)?;
        region[heads_bytes..heads_bytes + state.len()].copy_from_slice(state);
        let mut end = behind;
        for (index, proposal) in proposals.iter().enumerate() {
            let head = [at + end as u32, proposal.len() as u32];
            let place = &mut region[index * LIST_BYTES..][..LIST_BYTES];
            place[..4].copy_from_slice(&head[0].to_le_bytes());
            place[4..].copy_from_slice(&head[1].to_le_bytes());
            region[end..end + proposal.len()].copy_from_slice(proposal);
            end += proposal.len();
        }
        Ok((at, at + heads_bytes as u32))
    }

    #[inline]
    fn admit(&self, state: usize, proposal: usize) -> Result<(), Fault> {
        let fits = state <= self.manifest.state_bytes_max && proposal <= self.manifest.proposal_bytes_max;
        if fits { Ok(()) } else { Err(Fault::Input) }
    }

    #[cold]
    fn faulty(&mut self, fault: Fault, fuel: u64) -> Ruling<'_> {
        self.faults.count(fault);
        Ruling { answer: Answer::Fault(fault), effects: &[], fuel }
    }

    /// Everything that can be seen of one answer, whatever world this judge has.
    pub(crate) fn fingerprint(
        &mut self,
        context: &Context,
        proposal: &[u8],
    ) -> (Vec<(Answer, Vec<u8>)>, u64) {
        if self.instance.world == World::Batch {
            let ruling = self.decide_batch(context, &[], &[proposal]);
            return (
                ruling.iter().map(|(answer, effects)| (answer, effects.to_vec())).collect(),
                ruling.fuel,
            );
        }
        let ruling = self.decide(context, &[], proposal);
        (vec![(ruling.answer, ruling.effects.to_vec())], ruling.fuel)
    }
}

/// Reads an outcome and copies its effects to the front of `out`; answers how many bytes they have.
#[inline]
fn read_outcome(memory: &[u8], head: &[u8], out: &mut [u8]) -> Result<(Answer, usize), Fault> {
    let code = memory::u32_at(head, OUTCOME_CODE).ok_or(Fault::Pointer)?;
    let (at, length) = memory::list(head, OUTCOME_EFFECTS).ok_or(Fault::Pointer)?;
    let answer = match (head[0], code) {
        (0, 0) => Answer::Accept,
        (1, code) => Answer::Refuse(ArbitratorCode::new(code).ok_or(Fault::Outcome)?),
        (2, 0) => Answer::Defer,
        _ => return Err(Fault::Outcome),
    };
    if length == 0 {
        return Ok((answer, 0));
    }
    if answer != Answer::Accept {
        return Err(Fault::Outcome);
    }
    let effects = memory::region(memory, at, length).ok_or(Fault::Pointer)?;
    let out = out.get_mut(..effects.len()).ok_or(Fault::Oversize)?;
    check_effects(effects)?;
    out.copy_from_slice(effects);
    Ok((answer, effects.len()))
}

/// Effects must be what a record can carry.
#[inline]
pub(crate) fn check_effects(effects: &[u8]) -> Result<(), Fault> {
    match Effects::check(effects) {
        Ok(_) => Ok(()),
        Err(ShapeError::EffectsTooLong { .. } | ShapeError::EffectsTooMany) => Err(Fault::Oversize),
        Err(_) => Err(Fault::Outcome),
    }
}

struct Exports<'a> {
    store: &'a mut Store<()>,
    instance: wasmtime::Instance,
}

impl Exports<'_> {
    fn function<P, R>(&mut self, name: &'static str) -> Result<TypedFunc<P, R>, Refusal>
    where
        P: wasmtime::WasmParams,
        R: wasmtime::WasmResults,
    {
        let function =
            self.instance.get_func(&mut *self.store, name).ok_or(Refusal::MissingExport { name })?;
        let typed = function.typed(&*self.store);
        typed.map_err(|_| Refusal::WrongType {
            name,
            found: function.ty(&*self.store).to_string(),
            wanted: "that of the canonical ABI".to_owned(),
        })
    }

    fn global(&mut self, number: usize) -> (Global, Val) {
        let global = self.instance.get_global(&mut *self.store, &global_name(number));
        let global = global.expect("sealing exports every mutable global");
        let value = global.get(&mut *self.store);
        (global, value)
    }
}

#[inline]
fn refuel(store: &mut Store<()>, fuel: u64) {
    store.set_fuel(fuel).expect("the engine consumes fuel");
}

const fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN as usize)
}
