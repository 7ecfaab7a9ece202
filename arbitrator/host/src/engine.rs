//! The engine: how guests are compiled, and what each operator costs.
//!
//! Invariant: nothing that an answer or its fuel depends on is left to a default, and nothing of the machine beneath
//! shows: no threads, no vectors, no epochs, no signal handlers, NaNs in one form.

use io_oi_record::limits::SHARDS_MAX;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, Trap, VariableOperatorCost,
};

use crate::limits::{
    GENERAL_CORE_INSTANCES_MAX, GENERAL_MEMORY_BYTES_MAX, GENERAL_PARTS_MAX, SEALED_MEMORY_BYTES_MAX,
    STACK_BYTES_MAX,
};
use crate::ruling::Fault;

/// How guests are compiled. All settings give the same answers and use the same fuel; tests compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Optimised for speed: what a node runs.
    Fast,
    /// Optimised for speed and size.
    Small,
    /// Not optimised, registers allocated in one pass.
    Plain,
    /// Run by wasmtime's interpreter.
    Interpreted,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Setting; 4] = [Setting::Fast, Setting::Small, Setting::Plain, Setting::Interpreted];
}

/// What compiles guests. One for a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) sealed: wasmtime::Engine,
    pub(crate) general: wasmtime::Engine,
}

/// Twice what a scanned guest can need, so that its stack never ends before its fuel.
const WASM_STACK_BYTES: usize = 2 * STACK_BYTES_MAX;

/// The host's own stack holds it, too.
const GENERAL_STACK_BYTES: usize = 512 * 1024;
/// Instances that can exist at a time: one a core is asked, one may be about to be thrown away.
const GENERAL_INSTANCES: u32 = 2 * SHARDS_MAX as u32;
/// Memory that is put back by writing instead of asking the kernel.
const KEEP_RESIDENT_BYTES: usize = 64 * 1024;

impl Engine {
    /// The engine that a node runs.
    #[must_use]
    pub fn new() -> Engine {
        Engine::with(Setting::Fast)
    }

    /// An engine of this setting.
    ///
    /// # Panics
    ///
    /// When the settings contradict each other: they are constants of this file.
    #[must_use]
    pub fn with(setting: Setting) -> Engine {
        let engine = |mut config: Config| {
            compile_as(&mut config, setting);
            wasmtime::Engine::new(&config).expect("the settings of this file fit together")
        };
        let mut general = general_config();
        if setting != Setting::Interpreted {
            general.target(&plain_target()).expect("the machine that this runs on can be compiled for");
        }
        Engine { sealed: engine(sealed_config()), general: engine(general) }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

fn compile_as(config: &mut Config, setting: Setting) {
    match setting {
        Setting::Fast => config.cranelift_opt_level(OptLevel::Speed),
        Setting::Small => config.cranelift_opt_level(OptLevel::SpeedAndSize),
        Setting::Plain => config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass),
        Setting::Interpreted => config.target("pulley64").expect("the interpreter is built in"),
    };
}

/// This machine's architecture without what only some of its processors have. A judge of the general tier may recurse until its
/// stack ends, and how large a frame is must not depend on the processor: two nodes would see it end at different depths.
fn plain_target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn sealed_config() -> Config {
    let mut config = config();
    config
        .wasm_custom_page_sizes(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .memory_reservation(SEALED_MEMORY_BYTES_MAX as u64)
        .memory_init_cow(false);
    config
}

/// Instances out of a pool, memory put back lazily where it was touched. Memories are address space alone until they are
/// used, about nine gigabytes of it: a component has one, as a rule.
fn general_config() -> Config {
    let (parts, cores) = (GENERAL_PARTS_MAX as u32, GENERAL_CORE_INSTANCES_MAX as u32);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(GENERAL_INSTANCES)
        .total_core_instances(GENERAL_INSTANCES * cores)
        .total_memories(GENERAL_INSTANCES + parts)
        .total_tables(GENERAL_INSTANCES * parts)
        .max_core_instances_per_component(cores)
        .max_memories_per_component(parts)
        .max_tables_per_component(parts)
        .max_memory_size(GENERAL_MEMORY_BYTES_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = config();
    config
        .max_wasm_stack(GENERAL_STACK_BYTES)
        .memory_reservation(GENERAL_MEMORY_BYTES_MAX as u64)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What both tiers have in common.
fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .operator_cost(operator_cost())
        .epoch_interruption(false)
        .cranelift_nan_canonicalization(true)
        .wasm_simd(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .signals_based_traps(false)
        .memory_reservation_for_growth(0)
        .memory_guard_size(0)
        .memory_may_move(false);
    config
}

/// What operators cost, in units of the time of an addition: by default all cost one, and a unit could take 18 ns.
fn operator_cost() -> OperatorCost {
    OperatorCost {
        I32DivS: 16,
        I32DivU: 16,
        I32RemS: 16,
        I32RemU: 16,
        I64DivS: 28,
        I64DivU: 28,
        I64RemS: 28,
        I64RemU: 28,
        Call: 8,
        CallIndirect: 16,
        BrTable: 4,
        MemoryCopy: 80,
        MemoryFill: 80,
        variable: VariableOperatorCost {
            memory_copy_per_byte: 1,
            memory_fill_per_byte: 1,
            ..VariableOperatorCost::new()
        },
        ..OperatorCost::new()
    }
}

/// What the engine's error means for a decision.
#[cold]
pub(crate) fn fault_of(error: &wasmtime::Error) -> Fault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Fault::Fuel,
        _ => Fault::Trap,
    }
}
