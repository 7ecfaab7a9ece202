//! Every limit of a judge, with the relations between them and to the record room checked by the compiler.
//!
//! Invariant: what a judge may say always fits what the log can hold.

use io_oi_arbitrator_sdk::abi::BATCH_MAX;
use io_oi_record::limits::{KEY_BYTES_MAX, PREFIX_BYTES_MAX, VALUE_BYTES_MAX};

/// Longest component that is looked at for the sealed tier. The standard guests take about 2 KiB.
pub const SEALED_COMPONENT_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a sealed guest's memory: beyond the first-level cache the restore costs four times more.
pub const SEALED_MEMORY_BYTES_MAX: usize = 16 * 1024;
/// Most functions of a sealed guest.
pub const FUNCTIONS_MAX: usize = 1024;
/// Most operators of one function: fuel is looked at on entry and in loops, so a function is the step of its clock.
pub const OPERATORS_MAX: usize = 16 * 1024;
/// Most locals of one function, parameters included.
pub const LOCALS_MAX: usize = 256;
/// Most mutable globals: each is put back after every decision.
pub const GLOBALS_MAX: usize = 8;
/// Most entries of the table of functions.
pub const TABLE_ENTRIES_MAX: u64 = 1024;
/// Deepest stack of the machine that any chain of calls of a sealed guest can need.
pub const STACK_BYTES_MAX: usize = 64 * 1024;

/// Longest name in a manifest.
pub const NAME_BYTES_MAX: usize = 64;
/// Most fuel of one decision.
pub const FUEL_MAX: u64 = 100_000;
/// Most fuel of one batch.
pub const BATCH_FUEL_MAX: u64 = 1_000_000;
/// Fuel of `describe`, which says constants.
pub const DESCRIBE_FUEL: u64 = 10_000;

/// Longest component of the general tier, unless the operator who deploys it allows more: every node compiles it and
/// every log carries it, and no judge that was written for this contract needs so much.
pub const GENERAL_COMPONENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most that an operator can allow: a whole language runtime (Python's interpreter, made into a component with a judge
/// inside, has 18 MB), and as much again to grow.
pub const GENERAL_COMPONENT_BYTES_CEILING: usize = 36 * 1024 * 1024;
/// Most bytes of memory of an instance of the general tier: mapped at boot for each instance of the pool.
pub const GENERAL_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most memories, and most tables, of one component of the general tier: each is mapped at boot for every instance of the
/// pool that may have it, and a component has one of each, as a rule.
pub const GENERAL_PARTS_MAX: usize = 16;
/// Most core instances of one component of the general tier: a language runtime is linked of many (Python's interpreter
/// with its libraries and the stubs beside them of 38). They are counted, not mapped.
pub const GENERAL_CORE_INSTANCES_MAX: usize = 48;
/// Most fuel of one decision of the general tier: about ten milliseconds.
pub const GENERAL_FUEL_MAX: u64 = 10_000_000;
/// Most fuel of one decision of the general tier in a shard, whose other work waits meanwhile: about a millisecond, so that
/// a turn of the shard's loop full of such decisions is shorter than what followers take for a dead leader.
pub const GENERAL_SEATED_FUEL_MAX: u64 = 1_000_000;
/// Most bytes of state, proposal or effects in the general tier.
pub const GENERAL_STATE_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of state that a shard hands over: one cell of the general tier, or whatever a sealed one has memory for.
pub const SEATED_STATE_BYTES_MAX: usize = 16 + KEY_BYTES_MAX + VALUE_BYTES_MAX;

/// Longest key of a state cell or an effect.
pub const CELL_KEY_BYTES_MAX: usize = KEY_BYTES_MAX;

const _: () = assert!(SEALED_MEMORY_BYTES_MAX <= VALUE_BYTES_MAX, "effects fit where one value fits");
const _: () =
    assert!(SEALED_COMPONENT_BYTES_MAX <= GENERAL_COMPONENT_BYTES_MAX, "the general tier takes no less");
const _: () =
    assert!(GENERAL_COMPONENT_BYTES_MAX <= GENERAL_COMPONENT_BYTES_CEILING, "more can be allowed, not less");
const _: () =
    assert!(SEALED_MEMORY_BYTES_MAX <= SEATED_STATE_BYTES_MAX, "no sealed judge is shown less for it");
const _: () = assert!(FUEL_MAX <= GENERAL_SEATED_FUEL_MAX && GENERAL_SEATED_FUEL_MAX <= GENERAL_FUEL_MAX);
const _: () = assert!(PREFIX_BYTES_MAX < CELL_KEY_BYTES_MAX, "below every prefix there is room for keys");
const _: () =
    assert!(BATCH_MAX >= 2 && BATCH_FUEL_MAX <= BATCH_MAX as u64 * FUEL_MAX, "a batch is no loophole");
