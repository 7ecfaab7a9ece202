//! Opens what an author sends: a component, or the core module that becomes one.
//!
//! Invariant: what comes out is one core module whose exports have the types of one world of the contract, and which
//! nothing stands beside.

use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExport, ComponentExternalKind,
    ComponentTypeRef, ExternalKind, Parser, Payload, Validator, WasmFeatures,
};

use crate::refusal::Refusal;
use crate::signature;

/// Which world of the contract a judge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `arbitrator`: one proposal, one outcome.
    Single,
    /// `planning-arbitrator`: names its cells first.
    Planning,
    /// `batch-arbitrator`: many proposals at once.
    Batch,
}

impl World {
    /// What a judge of this world exports.
    pub(crate) const fn exports(self) -> &'static [&'static str] {
        match self {
            World::Single => &["describe", "decide"],
            World::Planning => &["describe", "plan", "decide"],
            World::Batch => &["describe", "decide-batch"],
        }
    }

    fn of(names: &[&str]) -> World {
        match (names.contains(&"decide-batch"), names.contains(&"plan")) {
            (true, _) => World::Batch,
            (false, true) => World::Planning,
            (false, false) => World::Single,
        }
    }
}

/// The one import that a component may name beside types: the interface of the contract's own, which holds no code.
const TYPES: &str = "io-oi:arbitrator/types@0.1.0";

/// What a core module takes memory with.
pub(crate) const REALLOC: &str = "cabi_realloc";

/// What a component may use around its core module.
const FEATURES: WasmFeatures = WasmFeatures::WASM3.union(WasmFeatures::COMPONENT_MODEL);

/// What an author sent, opened.
pub(crate) struct Opened<'a> {
    pub(crate) core: &'a [u8],
    pub(crate) world: World,
}

/// Opens a component or a core module.
pub(crate) fn open(bytes: &[u8]) -> Result<Opened<'_>, Refusal> {
    if Parser::is_component(bytes) { open_component(bytes) } else { open_core(bytes) }
}

/// A core module carries the contract in its exports; their types are checked when it is instantiated.
pub(crate) fn open_core(bytes: &[u8]) -> Result<Opened<'_>, Refusal> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ExportSection(section) = payload.map_err(invalid)? {
            for export in section {
                names.push(export.map_err(invalid)?.name);
            }
        }
    }
    Ok(Opened { core: bytes, world: World::of(&names) })
}

fn open_component(bytes: &[u8]) -> Result<Opened<'_>, Refusal> {
    let types = Validator::new_with_features(FEATURES).validate_all(bytes).map_err(invalid)?;
    let parts = parts(bytes)?;
    let world = World::of(&parts.exports);
    check_exports(&types, &parts.exports, world)?;
    match parts.modules.as_slice() {
        [core] => Ok(Opened { core, world }),
        modules => Err(Refusal::NotOneModule { modules: modules.len() }),
    }
}

/// Whether a component of any making has the exports of the world `arbitrator`, as types say them.
pub(crate) fn check_general(bytes: &[u8]) -> Result<(), Refusal> {
    if !Parser::is_component(bytes) {
        return Err(Refusal::Invalid { text: "the general tier takes components".to_owned() });
    }
    let types = Validator::new_with_features(FEATURES).validate_all(bytes).map_err(invalid)?;
    check_types(&types, World::Single)
}

/// What stands in a component. Its functions are numbered as they are made: by lifting, and by exporting.
#[derive(Default)]
struct Parts<'a> {
    modules: Vec<&'a [u8]>,
    exports: Vec<&'a str>,
    core_functions: Vec<&'a str>,
    functions: Vec<&'a str>,
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, Refusal> {
    let mut parts = Parts::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::ModuleSection { unchecked_range, .. } => {
                depth += 1;
                parts.modules.push(bytes.get(unchecked_range).unwrap_or(&[]));
            }
            Payload::ComponentSection { .. } => {
                return Err(Refusal::UnknownExport { name: "a component inside".to_owned() });
            }
            Payload::End(_) => depth -= 1,
            payload if depth == 0 => parts.section(payload)?,
            _ => {}
        }
    }
    Ok(parts)
}

impl<'a> Parts<'a> {
    fn section(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import.map_err(invalid)?;
                    let is_type = matches!(import.ty, ComponentTypeRef::Type(_));
                    if !is_type && import.name.name != TYPES {
                        return Err(Refusal::Imports { name: import.name.name.to_owned() });
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    if let ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, name, .. } =
                        alias.map_err(invalid)?
                    {
                        self.core_functions.push(name);
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    self.lift(&function.map_err(invalid)?)?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    self.export(export.name.name, &export)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A function is called by its name in the core module, so the component must not call it anything else.
    fn lift(&mut self, function: &CanonicalFunction) -> Result<(), Refusal> {
        let CanonicalFunction::Lift { core_func_index, options, .. } = function else {
            return Err(Refusal::Imports { name: "a canonical built-in".to_owned() });
        };
        for option in options {
            let is_plain = match option {
                CanonicalOption::UTF8 | CanonicalOption::Memory(_) => true,
                CanonicalOption::Realloc(index) => self.core_name(*index) == Some(REALLOC),
                CanonicalOption::PostReturn(index) => {
                    self.core_name(*index).is_some_and(|name| name.starts_with("cabi_post_"))
                }
                _ => false,
            };
            if !is_plain {
                return Err(Refusal::UnknownExport { name: format!("{option:?}") });
            }
        }
        self.functions.push(self.core_name(*core_func_index).unwrap_or(""));
        Ok(())
    }

    fn export(&mut self, name: &'a str, export: &ComponentExport<'a>) -> Result<(), Refusal> {
        let calls = self.functions.get(export.index as usize).copied();
        if export.kind != ComponentExternalKind::Func || calls != Some(name) {
            return Err(Refusal::UnknownExport { name: name.to_owned() });
        }
        self.exports.push(name);
        self.functions.push(name);
        Ok(())
    }

    fn core_name(&self, index: u32) -> Option<&'a str> {
        self.core_functions.get(index as usize).copied()
    }
}

fn check_exports(types: &Types, names: &[&str], world: World) -> Result<(), Refusal> {
    for name in names {
        if !world.exports().contains(name) {
            return Err(Refusal::UnknownExport { name: (*name).to_owned() });
        }
    }
    check_types(types, world)
}

fn check_types(types: &Types, world: World) -> Result<(), Refusal> {
    let types: TypesRef<'_> = types.as_ref();
    for name in world.exports() {
        let item = types.component_item_for_export(name).ok_or(Refusal::MissingExport { name })?;
        let (found, wanted) = (signature::found(types, &item.ty), signature::wanted(name));
        let wanted = wanted.expect("every export of a world has a type");
        if found != wanted {
            return Err(Refusal::WrongType { name, found, wanted });
        }
    }
    Ok(())
}

/// Somebody else's bytes are not what they should be.
pub(crate) fn invalid(error: wasmparser::BinaryReaderError) -> Refusal {
    Refusal::Invalid { text: format!("{} (at byte {})", error.message(), error.offset()) }
}
