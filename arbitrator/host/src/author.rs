//! What an author's tools need: a component made of the core module that a compiler left.
//!
//! Invariant: what comes out carries the published contract and nothing that the compiler did not put in.

use std::borrow::Cow;

use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Parser, Payload};

use crate::component::{World, invalid, open_core};
use crate::refusal::Refusal;

/// What tools for components read a module's world out of.
const TYPE_SECTION: &str = "component-type";

/// Makes a component of a core module, whatever compiler left it; a component stays as it is.
///
/// A module that does not carry its world gets the one that its exports are of, so a compiler that has never heard of
/// components will do.
///
/// # Errors
///
/// When the bytes are no WebAssembly, or the module lacks what its world exports.
pub fn component_of(module: &[u8]) -> Result<Vec<u8>, Refusal> {
    if Parser::is_component(module) {
        return Ok(module.to_vec());
    }
    let world = open_core(module)?.world;
    let mut core = Cow::Borrowed(module);
    if !carries_world(module)? {
        let name = format!("{TYPE_SECTION}:io-oi:arbitrator");
        let section = CustomSection { name: name.into(), data: component_type(world).into() };
        let bytes = core.to_mut();
        bytes.push(section.id());
        section.encode(bytes);
    }
    let encoder = wit_component::ComponentEncoder::default().validate(true).module(&core);
    encoder
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Refusal::Invalid { text: format!("{error:#}") })
}

/// The world's type as tools for components read it out of a core module.
#[must_use]
pub const fn component_type(world: World) -> &'static [u8] {
    match world {
        World::Single => include_bytes!("../../sdk/src/arbitrator.component-type"),
        World::Planning => include_bytes!("../../sdk/src/planning-arbitrator.component-type"),
        World::Batch => include_bytes!("../../sdk/src/batch-arbitrator.component-type"),
    }
}

fn carries_world(module: &[u8]) -> Result<bool, Refusal> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.map_err(invalid)?
            && section.name().starts_with(TYPE_SECTION)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
