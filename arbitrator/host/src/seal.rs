//! Seals a module: its memory becomes exactly what it needs, and everything mutable becomes reachable.
//!
//! Invariant: a sealed module computes what the module computed, and all that a call can change is its memory and the
//! globals exported here.

use wasm_encoder::{ExportKind, ExportSection, MemorySection, MemoryType, Module, RawSection};
use wasmparser::ExternalKind;

use crate::limits::SEALED_MEMORY_BYTES_MAX;
use crate::refusal::Refusal;
use crate::scan::{Scanned, Section, scan};

/// Counts up when sealing, scanning or the bounds of the general tier change: with the component's hash and the engine's version
/// it names what a node runs.
pub const SEAL_VERSION: u16 = 1;

/// What mutable globals are exported as, followed by their number.
const GLOBAL: &str = "io_oi_global_";

/// A module made harmless.
pub(crate) struct Sealed {
    pub(crate) wasm: Vec<u8>,
    pub(crate) globals: usize,
}

/// The name that the global with this number is exported under.
pub(crate) fn global_name(number: usize) -> String {
    format!("{GLOBAL}{number}")
}

/// Scans and seals a core module.
pub(crate) fn seal(core: &[u8]) -> Result<Sealed, Refusal> {
    let scanned = scan(core)?;
    let bytes = u64::from(scanned.heap_base);
    if bytes > SEALED_MEMORY_BYTES_MAX as u64 {
        return Err(Refusal::MemoryTooLarge { bytes });
    }
    let mut module = Module::new();
    for section in &scanned.sections {
        match section {
            Section::Raw { id, range } => {
                module.section(&RawSection { id: *id, data: &core[range.clone()] });
            }
            Section::Memory => {
                module.section(&memory_of(bytes));
            }
            Section::Exports => {
                module.section(&exports_of(&scanned)?);
            }
        }
    }
    Ok(Sealed { wasm: module.finish(), globals: scanned.mutable_globals.len() })
}

/// Exactly so many bytes, for ever: pages of one byte.
fn memory_of(bytes: u64) -> MemorySection {
    let mut section = MemorySection::new();
    section.memory(MemoryType {
        minimum: bytes,
        maximum: Some(bytes),
        memory64: false,
        shared: false,
        page_size_log2: Some(0),
    });
    section
}

fn exports_of(scanned: &Scanned<'_>) -> Result<ExportSection, Refusal> {
    let mut section = ExportSection::new();
    for export in &scanned.exports {
        if export.name.starts_with(GLOBAL) {
            return Err(Refusal::UnknownExport { name: export.name.to_owned() });
        }
        let kind = match export.kind {
            ExternalKind::Func => ExportKind::Func,
            ExternalKind::Memory => ExportKind::Memory,
            ExternalKind::Table | ExternalKind::Global => continue,
            _ => return Err(Refusal::UnknownExport { name: export.name.to_owned() }),
        };
        section.export(export.name, kind, export.index);
    }
    for (number, index) in scanned.mutable_globals.iter().enumerate() {
        section.export(&global_name(number), ExportKind::Global, *index);
    }
    Ok(section)
}
