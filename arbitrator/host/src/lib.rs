//! Sealed WASM judges: admission, sealing, one instance for each core that asks.
//!
//! Invariant: the same component, context, state and proposal give the same ruling and use the same fuel, on every node,
//! in every instance, whatever was judged before; and no component, however hostile, does more than end as a `fault`
//! within its fuel. A component that cannot promise that is refused when it is admitted, with a reason.
//!
//! Where to look: `arbitrator/wit` is the contract, with its README for authors; `component` opens what an author sends;
//! `scan` and `seal` make it harmless; `admission` runs it for the first time; `sealed` judges, `general` judges what
//! cannot be sealed; `author` is for those who write judges. Who judges which key stands in the log: a shard of the node
//! holds the judges that it names.

pub mod admission;
#[cfg(feature = "author")]
pub mod author;
mod component;
mod engine;
mod general;
pub mod limits;
mod manifest;
mod memory;
mod refusal;
mod ruling;
mod scan;
mod seal;
mod sealed;
mod signature;
mod versions;

pub use admission::Arbitrator;
pub use component::World;
pub use engine::{Engine, Setting};
pub use general::GeneralJudge;
pub use io_oi_arbitrator_sdk as sdk;
pub use manifest::Manifest;
pub use refusal::Refusal;
pub use ruling::{Answer, BatchRuling, Fault, FaultCounts, Ruling};
pub use seal::SEAL_VERSION;
pub use sealed::Judge;
pub use versions::VERSIONS;
