//! A hundred modules that no honest author would send: each is refused with a reason, or ends as `fault` in its fuel.

use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Fault, Refusal, World};

use crate::guest_text::{Guest, manifest};
use crate::oracle::judge;
use crate::vectors::{Dice, question};

/// How a hostile module has to end.
#[derive(Clone, Copy)]
enum End {
    /// Refused at admission, for this reason.
    Refused(fn(&Refusal) -> bool),
    /// Admitted, and a fault of this kind whenever it is asked.
    Fault(Fault),
    /// Admitted, and answers like anybody: what it tries has no effect.
    Harmless,
}

struct Hostile {
    name: &'static str,
    bytes: Vec<u8>,
    end: End,
}

/// Asks for a refusal of this shape.
macro_rules! refused {
    ($pattern:pat) => {
        End::Refused(|refusal| matches!(refusal, $pattern))
    };
}

/// Collects hostile modules.
#[derive(Default)]
struct Rogues(Vec<Hostile>);

impl Rogues {
    fn guest(&mut self, name: &'static str, guest: &Guest, end: End) {
        self.bytes(name, guest.wasm(), end);
    }

    fn bytes(&mut self, name: &'static str, bytes: Vec<u8>, end: End) {
        self.0.push(Hostile { name, bytes, end });
    }

    /// A guest that decides like this.
    fn decides(&mut self, name: &'static str, text: &str, end: End) {
        self.guest(name, &Guest::new().decide(text), end);
    }
}

/// An outcome at 256 with these words, and the answer that points to it.
fn outcome(verdict: u32, code: &str, at: &str, length: &str) -> String {
    format!(
        "(i32.store8 (i32.const 256) (i32.const {verdict})) (i32.store (i32.const 260) (i32.const {code}))
         (i32.store (i32.const 264) (i32.const {at})) (i32.store (i32.const 268) (i32.const {length}))
         (i32.const 256)"
    )
}

fn loops(rogues: &mut Rogues) {
    let fuel = End::Fault(Fault::Fuel);
    rogues.decides("an endless loop", "(loop $l (br $l)) (i32.const 256)", fuel);
    rogues.decides(
        "a loop that counts",
        "(local i64) (loop $l (local.set 11 (i64.add (local.get 11) (i64.const 1))) (br $l)) (i32.const 256)",
        fuel,
    );
    rogues.decides("a loop that divides", "(local i64) (loop $l (local.set 11 (i64.div_u (i64.const -1) (i64.const 3))) (br $l)) (i32.const 256)", fuel);
    rogues.decides("a loop that writes everywhere", "(local i32) (loop $l (i32.store8 (local.get 11) (i32.const 255)) (local.set 11 (i32.rem_u (i32.add (local.get 11) (i32.const 1)) (i32.const 4096))) (br $l)) (i32.const 256)", fuel);
    rogues.decides(
        "a loop that copies",
        "(loop $l (memory.copy (i32.const 0) (i32.const 2048) (i32.const 2048)) (br $l)) (i32.const 256)",
        fuel,
    );
    rogues.decides(
        "a loop that fills",
        "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 4096)) (br $l)) (i32.const 256)",
        fuel,
    );
    rogues.decides(
        "a loop that fills nothing",
        "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 0)) (br $l)) (i32.const 256)",
        fuel,
    );
    rogues.decides("a loop of a billion turns", "(local i32) (local.set 11 (i32.const 1000000000)) (loop $l (br_if $l (local.tee 11 (i32.sub (local.get 11) (i32.const 1))))) (i32.const 256)", fuel);
    rogues.decides(
        "loops in loops",
        "(loop $a (loop $b (loop $c (br_if $c (i64.eqz (local.get 0)))) (br $b)) (br $a)) (i32.const 256)",
        fuel,
    );
    rogues.decides(
        "a loop around a table of branches",
        "(loop $l (block $b (br_table $l $l $b (i32.const 0)))) (i32.const 256)",
        fuel,
    );
    rogues.guest(
        "a loop that calls",
        &Guest::new()
            .more("(func $f (param i32) (result i32) (local.get 0))")
            .decide("(loop $l (drop (call $f (i32.const 1))) (br $l)) (i32.const 256)"),
        fuel,
    );
    rogues.guest(
        "a loop that calls through a table",
        &Guest::new()
            .more("(type $t (func (result i32))) (table 1 funcref) (elem (i32.const 0) $f) (func $f (type $t) (i32.const 1))")
            .decide("(loop $l (drop (call_indirect (type $t) (i32.const 0))) (br $l)) (i32.const 256)"),
        fuel,
    );
    rogues.guest("cabi_realloc loops", &Guest::new().realloc("(loop $l (br $l)) (i32.const 1024)"), fuel);
    rogues.guest(
        "describe loops",
        &Guest::new().describe("(loop $l (br $l)) (i32.const 0)"),
        refused!(Refusal::Describe { fault: Fault::Fuel }),
    );
    rogues.guest(
        "straight on, past all its fuel",
        &Guest::new().manifest(manifest("text", 1, 0, 512, 512, 512, 100)).decide(&format!(
            "{} (i32.const 256)",
            "(i32.store (i32.const 512) (i32.const 1)) ".repeat(1_000)
        )),
        fuel,
    );
}

fn traps(rogues: &mut Rogues) {
    let trap = End::Fault(Fault::Trap);
    rogues.decides("unreachable", "unreachable", trap);
    rogues.decides("division by zero", "(i32.div_u (i32.const 1) (i32.wrap_i64 (local.get 0)))", trap);
    rogues.decides("remainder by zero", "(i32.wrap_i64 (i64.rem_s (i64.const 1) (local.get 0)))", trap);
    rogues.decides("overflowing division", "(i32.div_s (i32.const 0x80000000) (i32.const -1))", trap);
    rogues.decides("a load beyond memory", "(i32.load (i32.const 4093))", trap);
    rogues.decides("a load at the last address", "(i32.load8_u (i32.const -1))", trap);
    rogues.decides("a load with an overflowing offset", "(i32.load offset=4294967295 (i32.const 2))", trap);
    rogues.decides(
        "a store beyond memory",
        "(i64.store (i32.const 4090) (i64.const 1)) (i32.const 256)",
        trap,
    );
    rogues.decides(
        "a copy beyond memory",
        "(memory.copy (i32.const 4000) (i32.const 0) (i32.const 97)) (i32.const 256)",
        trap,
    );
    rogues.decides(
        "a fill beyond memory",
        "(memory.fill (i32.const 4000) (i32.const 0) (i32.const 97)) (i32.const 256)",
        trap,
    );
    rogues.decides(
        "a fill of four gigabytes",
        "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1)) (i32.const 256)",
        End::Fault(Fault::Fuel),
    );
    rogues.guest(
        "a call through an empty table",
        &Guest::new()
            .more("(type $t (func)) (table 4 funcref)")
            .decide("(call_indirect (type $t) (i32.const 3)) (i32.const 256)"),
        trap,
    );
    rogues.guest(
        "a call beyond the table",
        &Guest::new()
            .more("(type $t (func)) (table 1 funcref)")
            .decide("(call_indirect (type $t) (i32.const 77)) (i32.const 256)"),
        trap,
    );
    rogues.guest(
        "a call through the table with another type",
        &Guest::new()
            .more("(type $t (func (param i64))) (table 1 funcref) (elem (i32.const 0) $f) (func $f)")
            .decide("(call_indirect (type $t) (i64.const 1) (i32.const 0)) (i32.const 256)"),
        trap,
    );
    rogues.guest("cabi_realloc traps", &Guest::new().realloc("unreachable"), trap);
    rogues.guest(
        "describe traps",
        &Guest::new().describe("unreachable"),
        refused!(Refusal::Describe { fault: Fault::Trap }),
    );
}

fn pointers(rogues: &mut Rogues) {
    let pointer = End::Fault(Fault::Pointer);
    rogues.decides("an outcome beyond memory", "(i32.const 4081)", pointer);
    rogues.decides("an outcome at the last address", "(i32.const -1)", pointer);
    rogues.decides("effects beyond memory", &outcome(0, "0", "4090", "16"), pointer);
    rogues.decides("effects at the last address", &outcome(0, "0", "-1", "16"), pointer);
    rogues.decides("effects of four gigabytes", &outcome(0, "0", "0", "-1"), pointer);
    rogues.decides("effects whose end overflows", &outcome(0, "0", "-16", "32"), pointer);
    rogues.guest("arguments beyond memory", &Guest::new().realloc("(i32.const 4096)"), pointer);
    rogues.guest("arguments at the last address", &Guest::new().realloc("(i32.const -8)"), pointer);
    rogues.guest("arguments at an odd address", &Guest::new().realloc("(i32.const 1025)"), pointer);
    rogues.guest("arguments on top of the manifest", &Guest::new().realloc("(i32.const 0)"), End::Harmless);
    let describe = refused!(Refusal::Describe { fault: Fault::Pointer });
    rogues.guest("a manifest beyond memory", &Guest::new().describe("(i32.const 4080)"), describe);
    rogues.guest("a manifest at the last address", &Guest::new().describe("(i32.const -4)"), describe);
    rogues.guest(
        "a name beyond memory",
        &Guest::new().describe("(i32.store (i32.const 0) (i32.const 4095)) (i32.const 0)"),
        describe,
    );
    rogues.guest(
        "a name of four gigabytes",
        &Guest::new().describe("(i32.store (i32.const 4) (i32.const -1)) (i32.const 0)"),
        describe,
    );
}

fn outcomes(rogues: &mut Rogues) {
    let shape = End::Fault(Fault::Outcome);
    rogues.decides("a verdict that is none", &outcome(3, "0", "0", "0"), shape);
    rogues.decides("another verdict that is none", &outcome(255, "0", "0", "0"), shape);
    rogues.decides("accepted with a code", &outcome(0, "5", "0", "0"), shape);
    rogues.decides("deferred with a code", &outcome(2, "5", "0", "0"), shape);
    rogues.decides("a code of 32 bits", &outcome(1, "0x80000000", "0", "0"), shape);
    rogues.decides("refused with effects", &outcome(1, "1", "1024", "16"), shape);
    rogues.decides("deferred with effects", &outcome(2, "0", "1024", "16"), shape);
    rogues.decides("effects that are no writes", &outcome(0, "0", "512", "12"), shape);
    rogues.decides(
        "one key twice",
        &format!(
            "(i64.store (i32.const 512) (i64.const 1)) (i64.store (i32.const 521) (i64.const 1)) {}",
            outcome(0, "0", "512", "18")
        ),
        shape,
    );
    rogues.decides("effects of one byte", &outcome(0, "0", "512", "1"), shape);
    let write = |head: &str| {
        format!("(i64.store (i32.const 512) (i64.const {head})) {}", outcome(0, "0", "512", "12"))
    };
    rogues.decides("a write with an empty key", &write("0x0000000400000000"), shape);
    rogues.decides("a write with unknown flags", &write("0x0000000300020001"), shape);
    rogues.decides("a removal with a value", &write("0x0000000300010001"), shape);
    rogues.decides("a write that is longer than the effects", &write("0x0000000400000001"), shape);
    rogues.decides("a write of four gigabytes", &write("0xffffffff00000001"), shape);
    rogues.decides(
        "effects above the manifest's own limit",
        &outcome(0, "0", "512", "513"),
        End::Fault(Fault::Oversize),
    );
    let many = "(local i32) (loop $l
         (i64.store (i32.add (i32.const 512) (i32.mul (local.get 11) (i32.const 9))) (i64.const 1))
         (i32.store8 (i32.add (i32.const 520) (i32.mul (local.get 11) (i32.const 9))) (local.get 11))
         (br_if $l (i32.lt_u (local.tee 11 (i32.add (local.get 11) (i32.const 1))) (i32.const 17))))";
    rogues.decides(
        "seventeen effects",
        &format!("{many} {}", outcome(0, "0", "512", "153")),
        End::Fault(Fault::Oversize),
    );
    rogues.decides(
        "a key above the limit",
        &format!(
            "(i64.store (i32.const 512) (i64.const 0x0000000000000201)) {}",
            outcome(0, "0", "512", "521")
        ),
        End::Fault(Fault::Oversize),
    );
}

fn worlds(rogues: &mut Rogues) {
    rogues.guest(
        "imports a clock",
        &Guest::new().imports(
            "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func (param i32 i64 i32) (result i32)))",
        ),
        refused!(Refusal::Imports { .. }),
    );
    rogues.guest(
        "imports its memory",
        &Guest::new().imports("(import \"env\" \"memory\" (memory 1))").memory(""),
        refused!(Refusal::Imports { .. }),
    );
    rogues.guest(
        "imports a global",
        &Guest::new().imports("(import \"env\" \"g\" (global i32))"),
        refused!(Refusal::Imports { .. }),
    );
    rogues.guest(
        "imports a table",
        &Guest::new().imports("(import \"env\" \"t\" (table 1 funcref))"),
        refused!(Refusal::Imports { .. }),
    );
    rogues.guest(
        "starts by itself",
        &Guest::new().more("(func $s) (start $s)"),
        refused!(Refusal::StartFunction),
    );
    rogues.guest(
        "starts by itself for ever",
        &Guest::new().more("(func $s (loop $l (br $l))) (start $s)"),
        refused!(Refusal::StartFunction),
    );
    rogues.guest(
        "no memory at all",
        &Guest::new()
            .memory("(func $m (export \"memory\"))")
            .decide("(i32.const 256)")
            .manifest(String::new()),
        refused!(Refusal::Invalid { .. } | Refusal::Memories { .. }),
    );
    rogues.guest("two memories", &Guest::new().more("(memory 1)"), refused!(Refusal::Memories { count: 2 }));
    rogues.guest(
        "memory under another name",
        &Guest::new().memory("(memory (export \"mem\") 1)"),
        refused!(Refusal::MissingExport { name: "memory" }),
    );
    rogues.guest(
        "memory of 64 bits",
        &Guest::new().memory("(memory (export \"memory\") i64 1)"),
        refused!(Refusal::Invalid { .. }),
    );
    rogues.guest(
        "shared memory",
        &Guest::new().memory("(memory (export \"memory\") 1 1 shared)"),
        refused!(Refusal::Invalid { .. }),
    );
    rogues.guest("no end of its data", &Guest::new().heap_base(""), refused!(Refusal::HeapBase));
    rogues.guest(
        "an end that it may move",
        &Guest::new().heap_base("(global (export \"__heap_base\") (mut i32) (i32.const 4096))"),
        refused!(Refusal::HeapBase),
    );
    rogues.guest(
        "an end that is a function",
        &Guest::new().heap_base("(func (export \"__heap_base\"))"),
        refused!(Refusal::HeapBase),
    );
    rogues.guest(
        "an end of 64 bits",
        &Guest::new().heap_base("(global (export \"__heap_base\") i64 (i64.const 4096))"),
        refused!(Refusal::HeapBase),
    );
    rogues.guest(
        "a megabyte of memory",
        &Guest::new().heap_base("(global (export \"__heap_base\") i32 (i32.const 1048576))"),
        refused!(Refusal::MemoryTooLarge { bytes: 1_048_576 }),
    );
    rogues.guest(
        "four gigabytes of memory",
        &Guest::new().heap_base("(global (export \"__heap_base\") i32 (i32.const -1))"),
        refused!(Refusal::MemoryTooLarge { .. }),
    );
    rogues.guest(
        "data beyond its end",
        &Guest::new().more("(data (i32.const 4095) \"ab\")"),
        refused!(Refusal::Instantiate { .. }),
    );
    rogues.guest(
        "no room for its manifest",
        &Guest::new().heap_base("(global (export \"__heap_base\") i32 (i32.const 8))"),
        refused!(Refusal::Instantiate { .. }),
    );
    rogues.guest(
        "elements beyond its table",
        &Guest::new().more("(func $f) (table 1 funcref) (elem (i32.const 9) $f)"),
        refused!(Refusal::Instantiate { .. }),
    );
    rogues.guest(
        "exports a name of ours",
        &Guest::new().more("(func (export \"io_oi_global_0\"))"),
        refused!(Refusal::UnknownExport { .. }),
    );
}

fn operators(rogues: &mut Rogues) {
    let operator = refused!(Refusal::Operator { .. });
    rogues.decides("grows its memory", "(drop (memory.grow (i32.const 1))) (i32.const 256)", operator);
    rogues.decides(
        "a memory bomb",
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)))) (i32.const 256)",
        operator,
    );
    rogues.decides("asks for its memory's size", "(memory.size)", operator);
    rogues.guest(
        "copies from a segment",
        &Guest::new()
            .more("(data $d \"x\")")
            .decide("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const 256)"),
        operator,
    );
    rogues.guest(
        "drops a segment",
        &Guest::new().more("(data $d \"x\")").decide("(data.drop $d) (i32.const 256)"),
        operator,
    );
    let table = "(table $t 4 8 funcref) (func $f) (elem $e func $f)";
    rogues.guest(
        "drops elements",
        &Guest::new().more(table).decide("(elem.drop $e) (i32.const 256)"),
        operator,
    );
    rogues.guest(
        "fills its table",
        &Guest::new()
            .more(table)
            .decide("(table.fill $t (i32.const 0) (ref.null func) (i32.const 1)) (i32.const 256)"),
        operator,
    );
    rogues.guest(
        "sets its table",
        &Guest::new().more(table).decide("(table.set $t (i32.const 0) (ref.func $f)) (i32.const 256)"),
        operator,
    );
    rogues.guest(
        "grows its table",
        &Guest::new().more(table).decide("(table.grow $t (ref.null func) (i32.const 1))"),
        operator,
    );
    rogues.guest(
        "copies its table",
        &Guest::new()
            .more(table)
            .decide("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1)) (i32.const 256)"),
        operator,
    );
    rogues.guest(
        "moves elements into its table",
        &Guest::new()
            .more(table)
            .decide("(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const 256)"),
        operator,
    );
    let invalid = refused!(Refusal::Invalid { .. });
    rogues.decides("a float", "(i32.trunc_f64_s (f64.const 1.5))", invalid);
    rogues.decides("a vector", "(i32x4.extract_lane 0 (v128.const i32x4 1 2 3 4))", invalid);
    rogues.decides("a tail call", "(return_call $describe)", invalid);
    rogues.decides("an atomic load", "(i32.atomic.load (i32.const 0))", invalid);
    rogues.guest(
        "a table of any reference",
        &Guest::new().more("(table 1 externref)"),
        refused!(Refusal::Table),
    );
    rogues.guest(
        "two tables",
        &Guest::new().more("(table 1 funcref) (table 1 funcref)"),
        refused!(Refusal::Table),
    );
    rogues.guest(
        "a table of a million",
        &Guest::new().more("(table 1000000 funcref)"),
        refused!(Refusal::Table),
    );
    rogues.guest(
        "nine mutable globals",
        &Guest::new().global(&"(global (mut i64) (i64.const 0))".repeat(9)),
        refused!(Refusal::Globals { .. }),
    );
}

fn sizes(rogues: &mut Rogues) {
    let recursive = refused!(Refusal::Recursive { .. });
    rogues.guest(
        "calls itself",
        &Guest::new().more("(func $f (call $f))").decide("(call $f) (i32.const 256)"),
        recursive,
    );
    rogues.guest(
        "calls itself around a corner",
        &Guest::new().more("(func $f (call $g)) (func $g (call $f))").decide("(call $f) (i32.const 256)"),
        recursive,
    );
    rogues.guest(
        "calls itself through a table",
        &Guest::new().more("(type $t (func)) (table 1 funcref) (elem (i32.const 0) $f) (func $f (call_indirect (type $t) (i32.const 0)))").decide("(call $f) (i32.const 256)"),
        recursive,
    );
    let chain: String =
        (0..200).map(|n| format!("(func $f{n} (param i64) (call $f{} (local.get 0)))", n + 1)).collect();
    rogues.guest(
        "a chain of two hundred calls",
        &Guest::new()
            .more(&format!("{chain} (func $f200 (param i64))"))
            .decide("(call $f0 (i64.const 1)) (i32.const 256)"),
        End::Harmless,
    );
    let chain: String =
        (0..400).map(|n| format!("(func $f{n} (param i64) (call $f{} (local.get 0)))", n + 1)).collect();
    rogues.guest(
        "a chain of four hundred calls",
        &Guest::new().more(&format!("{chain} (func $f400 (param i64))")),
        refused!(Refusal::TooDeep { .. }),
    );
    rogues.guest(
        "three hundred locals",
        &Guest::new().more(&format!("(func (local {}))", "i64 ".repeat(300))),
        refused!(Refusal::Locals { count: 300, .. }),
    );
    rogues.guest(
        "two thousand functions",
        &Guest::new().more(&"(func)".repeat(2_000)),
        refused!(Refusal::Functions { .. }),
    );
    rogues.guest(
        "twenty thousand operators",
        &Guest::new().more(&format!("(func {})", "nop ".repeat(20_000))),
        refused!(Refusal::FunctionTooLong { .. }),
    );
    rogues.guest(
        "a thousand nested blocks",
        &Guest::new().more(&format!("(func {} {})", "(block ".repeat(1_000), ")".repeat(1_000))),
        End::Harmless,
    );
    rogues.bytes(
        "eighteen megabytes",
        Guest::new().more(&format!("(@custom \"x\" \"{}\")", "y".repeat(18 << 20))).wasm(),
        refused!(Refusal::TooLong { .. }),
    );
}

fn manifests(rogues: &mut Rogues) {
    let field = refused!(Refusal::Manifest { .. });
    let mut says = |name, text: String, end| rogues.guest(name, &Guest::new().manifest(text), end);
    says("no fuel", manifest("text", 1, 0, 8, 8, 8, 0), field);
    says("all fuel there is", manifest("text", 1, 0, 8, 8, 8, u64::MAX), field);
    says("more state than memory", manifest("text", 1, 0, 5_000, 8, 8, 100), field);
    says(
        "sizes whose sum overflows 32 bits",
        manifest("text", 1, 0, u32::MAX, u32::MAX, u32::MAX, 100),
        field,
    );
    says("wants a plan and has none", manifest("text", 1, 3, 8, 8, 8, 100), field);
    says(
        "a read set that is none",
        manifest("text", 1, 9, 8, 8, 8, 100),
        refused!(Refusal::Describe { fault: Fault::Outcome }),
    );
    says("an empty name", manifest("", 1, 0, 8, 8, 8, 100), refused!(Refusal::Name));
    says("a name with a line break", manifest("a\nb", 1, 0, 8, 8, 8, 100), refused!(Refusal::Name));
    says(
        "a name that is no text",
        "\\28\\00\\00\\00\\08\\00\\00\\00".to_owned() + &"\\ff".repeat(60),
        refused!(Refusal::Name | Refusal::Describe { .. }),
    );
}

fn broken_bytes(rogues: &mut Rogues) {
    let invalid = refused!(Refusal::Invalid { .. } | Refusal::Memories { .. });
    let good = Guest::new().wasm();
    rogues.bytes("nothing", Vec::new(), invalid);
    rogues.bytes("a head alone", b"\0asm\x01\0\0\0".to_vec(), invalid);
    rogues.bytes("another version", b"\0asm\x07\0\0\0".to_vec(), invalid);
    rogues.bytes("a text", b"(module)".to_vec(), invalid);
    rogues.bytes("half of a guest", good[..good.len() / 2].to_vec(), invalid);
    rogues.bytes("a guest and more", [good.as_slice(), b"more"].concat(), invalid);
    rogues.bytes("two guests", [good.clone(), good.clone()].concat(), invalid);
    rogues.bytes(
        "a section that is longer than the module",
        b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec(),
        invalid,
    );
    rogues.bytes("four billion types", b"\0asm\x01\0\0\0\x01\x05\xff\xff\xff\xff\x0f".to_vec(), invalid);
    rogues.bytes("sections out of order", b"\0asm\x01\0\0\0\x03\x01\0\x01\x01\0".to_vec(), invalid);
}

fn components(rogues: &mut Rogues) {
    let mut text = |name, text: &str, end| {
        rogues.bytes(name, wat::parse_str(text).expect("the text of a test component is well-formed"), end);
    };
    text("an empty component", "(component)", refused!(Refusal::MissingExport { name: "describe" }));
    text(
        "a component that imports",
        "(component (import \"clock\" (func)))",
        refused!(Refusal::Imports { .. }),
    );
    text("a component in a component", "(component (component))", refused!(Refusal::UnknownExport { .. }));
    text(
        "describe of another type",
        "(component (core module $m (func (export \"describe\"))) (core instance $i (instantiate $m))
           (func (export \"describe\") (canon lift (core func $i \"describe\"))))",
        refused!(Refusal::WrongType { name: "describe", .. }),
    );
    text(
        "an export of no world",
        "(component (core module $m (func (export \"debug\"))) (core instance $i (instantiate $m))
           (func (export \"debug\") (canon lift (core func $i \"debug\"))))",
        refused!(Refusal::UnknownExport { .. }),
    );
    text(
        "an export that calls something else",
        "(component (core module $m (func (export \"other\"))) (core instance $i (instantiate $m))
           (func (export \"describe\") (canon lift (core func $i \"other\"))))",
        refused!(Refusal::UnknownExport { .. }),
    );
}

fn rogues() -> Vec<Hostile> {
    let mut rogues = Rogues::default();
    let rooms =
        [loops, traps, pointers, outcomes, worlds, operators, sizes, manifests, broken_bytes, components];
    for room in rooms {
        room(&mut rogues);
    }
    rogues.0
}

#[test]
fn a_hundred_hostile_modules_are_refused_or_end_as_fault_within_their_fuel() {
    let engine = Engine::new();
    let rogues = rogues();
    assert!(rogues.len() >= 100, "only {} hostile modules", rogues.len());
    let (mut honest, mut dice) = (judge(&engine, "risk-limit"), Dice(21));
    for Hostile { name, bytes, end } in &rogues {
        match (Arbitrator::admit(&engine, bytes), end) {
            (Err(refusal), End::Refused(expected)) => {
                assert!(expected(&refusal), "{name} is refused for another reason: {refusal:?}");
                assert!(refusal.to_string().len() > 20, "{name}: the refusal says too little");
            }
            (Ok(arbitrator), End::Fault(fault)) => faults(name, &arbitrator, *fault),
            (Ok(arbitrator), End::Harmless) => {
                let mut judge = arbitrator.judge();
                let ruling = judge.decide(&Context::default(), b"state", b"proposal");
                assert_eq!(ruling.answer, Answer::Accept, "{name}");
            }
            (Ok(_), End::Refused(_)) => panic!("{name} is admitted"),
            (Err(refusal), _) => panic!("{name} is refused: {refusal:?}"),
        }
        // The node's other work goes on.
        let asked = question("risk-limit", &mut dice);
        let ruling = honest.decide(&asked.context, &asked.state, &asked.proposal);
        assert!(!matches!(ruling.answer, Answer::Fault(_)), "after {name}: {ruling:?}");
    }
}

/// It faults in the same way for the same fuel, however often it is asked.
fn faults(name: &str, arbitrator: &Arbitrator, fault: Fault) {
    let mut judge = arbitrator.judge();
    let limit = judge.manifest().fuel;
    let mut first = None;
    for _ in 0..5 {
        let ruling = judge.decide(&Context::default(), b"state", b"proposal");
        assert_eq!(ruling.answer, Answer::Fault(fault), "{name}");
        assert!(ruling.effects.is_empty() && ruling.fuel <= limit, "{name}: {ruling:?}");
        let fuel = ruling.fuel;
        assert_eq!(*first.get_or_insert(fuel), fuel, "{name} used another amount of fuel");
    }
    assert_eq!(judge.faults().of(fault), 5);
}

#[test]
fn a_proposal_longer_than_the_manifest_allows_is_not_even_asked() {
    let mut judge = Arbitrator::admit(&Engine::new(), &Guest::new().wasm()).expect("admitted").judge();
    assert_eq!(judge.decide(&Context::default(), &[], &[0; 513]).answer, Answer::Fault(Fault::Input));
    assert_eq!(judge.decide(&Context::default(), &[0; 513], &[]).answer, Answer::Fault(Fault::Input));
    assert_eq!(judge.decide(&Context::default(), &[0; 512], &[0; 512]).answer, Answer::Accept);
}

#[test]
fn a_core_module_and_its_component_are_the_same_judge() {
    let guest = Guest::new().decide(&outcome(1, "77", "0", "0"));
    let (core, component) = (guest.wasm(), guest.component());
    let engine = Engine::new();
    let answers: Vec<Answer> = [core.as_slice(), &component]
        .iter()
        .map(|bytes| {
            let arbitrator = Arbitrator::admit(&engine, bytes).expect("both are admitted");
            assert_eq!(arbitrator.world(), World::Single);
            arbitrator.judge().decide(&Context::default(), b"s", b"p").answer
        })
        .collect();
    assert_eq!(answers[0], answers[1]);
    assert!(matches!(answers[0], Answer::Refuse(code) if code.get() == 77));
}
