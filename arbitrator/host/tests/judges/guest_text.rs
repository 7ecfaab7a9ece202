//! Guests written as text, for whatever no honest author would write.
//!
//! Invariant: a guest as [`Guest::new`] makes it is admitted and accepts everything; a test changes one thing.

use std::fmt::Write as _;

use crate::contract::component_type;

/// The parts of a guest.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    imports: String,
    memory: String,
    globals: String,
    heap_base: String,
    manifest: String,
    realloc: String,
    describe: String,
    decide: String,
    more: String,
}

/// A manifest as the canonical ABI lays it out at 0, its name behind it, as the text of a data segment.
pub(crate) fn manifest(
    name: &str,
    major: u16,
    reads: u8,
    state: u32,
    proposal: u32,
    effects: u32,
    fuel: u64,
) -> String {
    let mut bytes = [0; 64];
    bytes[..4].copy_from_slice(&40_u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&(name.len() as u32).to_le_bytes());
    bytes[8..10].copy_from_slice(&major.to_le_bytes());
    bytes[14] = reads;
    bytes[16..20].copy_from_slice(&state.to_le_bytes());
    bytes[20..24].copy_from_slice(&proposal.to_le_bytes());
    bytes[24..28].copy_from_slice(&effects.to_le_bytes());
    bytes[32..40].copy_from_slice(&fuel.to_le_bytes());
    let mut text = String::new();
    for byte in bytes[..40].iter().chain(name.as_bytes()) {
        write!(text, "\\{byte:02x}").expect("strings grow");
    }
    text
}

impl Guest {
    pub(crate) fn new() -> Guest {
        Guest {
            imports: String::new(),
            memory: "(memory (export \"memory\") 1)".to_owned(),
            globals: String::new(),
            heap_base: "(global (export \"__heap_base\") i32 (i32.const 4096))".to_owned(),
            manifest: manifest("text", 1, 0, 512, 512, 512, 10_000),
            realloc: "(global.get $next)
                (global.set $next (i32.and
                  (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))"
                .to_owned(),
            describe: "(i32.const 0)".to_owned(),
            decide: "(i32.const 256)".to_owned(),
            more: String::new(),
        }
    }

    /// Refuses with the first four bytes that stand behind its proposal: an earlier, longer one may have left them.
    pub(crate) fn who_looks_behind() -> Guest {
        Guest::new().decide(
            "(i32.store8 (i32.const 256) (i32.const 1))
             (i32.store (i32.const 260) (i32.load (i32.add (local.get 9) (local.get 10))))
             (i32.const 256)",
        )
    }

    pub(crate) fn imports(mut self, text: &str) -> Self {
        self.imports = text.to_owned();
        self
    }

    pub(crate) fn memory(mut self, text: &str) -> Self {
        self.memory = text.to_owned();
        self
    }

    pub(crate) fn global(mut self, text: &str) -> Self {
        self.globals.push_str(text);
        self
    }

    pub(crate) fn heap_base(mut self, text: &str) -> Self {
        self.heap_base = text.to_owned();
        self
    }

    pub(crate) fn manifest(mut self, text: String) -> Self {
        self.manifest = text;
        self
    }

    pub(crate) fn realloc(mut self, text: &str) -> Self {
        self.realloc = text.to_owned();
        self
    }

    pub(crate) fn describe(mut self, text: &str) -> Self {
        self.describe = text.to_owned();
        self
    }

    /// The body of `decide`: 11 parameters, context first, then state and proposal.
    pub(crate) fn decide(mut self, text: &str) -> Self {
        self.decide = text.to_owned();
        self
    }

    /// More fields of the module.
    pub(crate) fn more(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }

    pub(crate) fn text(&self) -> String {
        let Guest { imports, memory, globals, heap_base, manifest, realloc, describe, decide, more } = self;
        let words = "i64 i64 i64 i64 i64 i32 i32 i32 i32 i32 i32";
        format!(
            "(module {imports} {memory} {heap_base}
               (global $next (mut i32) (i32.const 1024)) {globals}
               (func $realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) {realloc})
               (func $describe (export \"describe\") (result i32) {describe})
               (func $decide (export \"decide\") (param {words}) (result i32) {decide})
               (data (i32.const 0) \"{manifest}\") {more})"
        )
    }

    pub(crate) fn wasm(&self) -> Vec<u8> {
        wat::parse_str(self.text()).expect("the text of a test guest is well-formed")
    }

    /// The component of it.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut core = self.wasm();
        core.extend(custom_section("component-type:io-oi:arbitrator", &component_type("arbitrator")));
        let encoder = wit_component::ComponentEncoder::default().validate(true).module(&core);
        encoder.expect("a guest with its world").encode().expect("a guest becomes a component")
    }
}

fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = vec![name.len() as u8];
    body.extend(name.as_bytes());
    body.extend(data);
    let mut section = vec![0];
    let mut length = body.len();
    while length >= 0x80 {
        section.push(length as u8 | 0x80);
        length >>= 7;
    }
    section.push(length as u8);
    section.extend(body);
    section
}
