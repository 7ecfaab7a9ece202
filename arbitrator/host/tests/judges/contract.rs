//! The published WIT is the contract that the kit's guests carry.

use std::path::PathBuf;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// Worlds of the contract.
pub(crate) const WORLDS: [&str; 3] = ["arbitrator", "planning-arbitrator", "batch-arbitrator"];

pub(crate) fn room(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What tools for components read out of a core module of this world.
pub(crate) fn component_type(world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let path = room("wit/arbitrator.wit");
    let text = std::fs::read_to_string(&path).expect("the contract is readable");
    let package = resolve.push_str(&path, &text).expect("the contract is valid WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("the contract has this world");
    wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).expect("a world encodes")
}

pub(crate) fn component_type_path(world: &str) -> PathBuf {
    room("sdk/src").join(format!("{world}.component-type"))
}

#[test]
fn guests_of_the_kit_carry_the_published_contract() {
    for world in WORLDS {
        let path = component_type_path(world);
        let committed = std::fs::read(&path).expect("the kit has every world");
        assert_eq!(
            committed,
            component_type(world),
            "{} is not what arbitrator/wit says: IO_OI_BLESS=1 cargo test -p io_oi_arbitrator writes it anew",
            path.display()
        );
    }
}
