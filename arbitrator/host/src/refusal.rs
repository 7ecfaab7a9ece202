//! Why a component is not admitted.
//!
//! Invariant: every refusal says what to do instead; none is a crash.

use crate::limits::{
    FUNCTIONS_MAX, GENERAL_COMPONENT_BYTES_CEILING, GLOBALS_MAX, LOCALS_MAX, NAME_BYTES_MAX, OPERATORS_MAX,
    SEALED_COMPONENT_BYTES_MAX, SEALED_MEMORY_BYTES_MAX, STACK_BYTES_MAX, TABLE_ENTRIES_MAX,
};
use crate::ruling::Fault;

/// Why a component is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// More bytes than are looked at.
    #[error(
        "the component has {bytes} bytes, a sealed one at most {SEALED_COMPONENT_BYTES_MAX}: strip it, or deploy it in the general tier"
    )]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// More bytes than the general tier looks at here.
    #[error(
        "the component has {bytes} bytes, at most {bytes_max} are admitted: strip it, or allow more where it is deployed (component-bytes-max, up to {GENERAL_COMPONENT_BYTES_CEILING})"
    )]
    TooLongForAny {
        /// Its bytes.
        bytes: usize,
        /// What is allowed for it.
        bytes_max: usize,
    },
    /// Not WebAssembly, or not valid.
    #[error("this is no valid WebAssembly of the features that a sealed judge may use: {text}")]
    Invalid {
        /// What the validator says.
        text: String,
    },
    /// Neither one core module nor a component of one.
    #[error("a sealed judge is one core module, this component has {modules}: deploy it in the general tier")]
    NotOneModule {
        /// Core modules inside.
        modules: usize,
    },
    /// It wants something from outside.
    #[error("it imports `{name}`, and a judge imports nothing: build it without WASI and without a runtime")]
    Imports {
        /// What it wants.
        name: String,
    },
    /// An export of the contract is missing.
    #[error("it does not export `{name}`: see arbitrator/wit for the worlds that a judge may have")]
    MissingExport {
        /// The export.
        name: &'static str,
    },
    /// An export is not of the contract, or of none of its worlds.
    #[error("it exports `{name}`, which no world of the contract has: remove it")]
    UnknownExport {
        /// The export.
        name: String,
    },
    /// An export has another type than the contract's.
    #[error("`{name}` has the type {found}, the contract says {wanted}: build it against arbitrator/wit")]
    WrongType {
        /// The export.
        name: &'static str,
        /// What it has.
        found: String,
        /// What the contract says.
        wanted: String,
    },
    /// It runs code before it is asked.
    #[error("it has a start function, and a judge runs when it is asked: remove its constructors")]
    StartFunction,
    /// No memory, or more than one.
    #[error("it has {count} memories, a sealed judge has one")]
    Memories {
        /// How many.
        count: usize,
    },
    /// It does not say where its memory ends.
    #[error("it does not export `__heap_base` as a constant: link it with --export=__heap_base")]
    HeapBase,
    /// Its memory is too large to be put back after every decision.
    #[error(
        "it wants {bytes} bytes of memory, a sealed judge has at most {SEALED_MEMORY_BYTES_MAX}: make its stack (-zstack-size) and buffers smaller, or deploy it in the general tier"
    )]
    MemoryTooLarge {
        /// The end of its data.
        bytes: u64,
    },
    /// An operator that would leave a trace behind, or that the tier does not have.
    #[error("`{operator}` in function {function} is not for sealed judges: deploy it in the general tier")]
    Operator {
        /// The operator.
        operator: &'static str,
        /// The function.
        function: u32,
    },
    /// Too many functions.
    #[error("it has {count} functions, at most {FUNCTIONS_MAX} are admitted")]
    Functions {
        /// How many.
        count: usize,
    },
    /// A function is too long.
    #[error("function {function} has more than {OPERATORS_MAX} operators: split it")]
    FunctionTooLong {
        /// The function.
        function: u32,
    },
    /// A function has too many locals.
    #[error("function {function} has {count} locals, at most {LOCALS_MAX} are admitted")]
    Locals {
        /// The function.
        function: u32,
        /// How many.
        count: usize,
    },
    /// Too many mutable globals.
    #[error("it has {count} mutable globals, at most {GLOBALS_MAX} are admitted")]
    Globals {
        /// How many.
        count: usize,
    },
    /// A table that may grow, or too large a one, or more than one.
    #[error("its table is not one fixed table of at most {TABLE_ENTRIES_MAX} functions")]
    Table,
    /// Functions that call themselves, perhaps around a corner.
    #[error(
        "function {function} may call itself, so no stack is known to suffice: write it as a loop, or deploy it in the general tier"
    )]
    Recursive {
        /// One of them.
        function: u32,
    },
    /// A chain of calls that needs too much stack.
    #[error("a chain of calls may need {bytes} bytes of stack, at most {STACK_BYTES_MAX} are admitted")]
    TooDeep {
        /// What it may need.
        bytes: usize,
    },
    /// The compiler does not take it.
    #[error("the compiler refuses it: {text}")]
    Compile {
        /// What the compiler says.
        text: String,
    },
    /// Its data does not fit its memory.
    #[error("it cannot be set up: {text}")]
    Instantiate {
        /// What the engine says.
        text: String,
    },
    /// `describe` ended as a fault.
    #[error("`describe` ended as a fault ({fault}): it must return constants")]
    Describe {
        /// Which.
        fault: Fault,
    },
    /// The manifest breaks a limit.
    #[error("its manifest says {field} = {value}, and {wanted}")]
    Manifest {
        /// The field.
        field: &'static str,
        /// What it says.
        value: u64,
        /// What is allowed.
        wanted: &'static str,
    },
    /// The name is not printable ASCII of a sensible length.
    #[error("its manifest's name is not 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`")]
    Name,
    /// The same question was answered in two ways.
    #[error("it answered its own test question in two ways: it is not deterministic under this engine")]
    Unsteady,
}
