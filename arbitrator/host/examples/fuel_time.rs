//! How long a unit of fuel takes, operator by operator, in the sealed tier of this machine.
//!
//! `cargo run --release -p io_oi_arbitrator --example fuel_time [-- --json]`
//!
//! Each guest repeats one operator, in a chain where every step waits for the one before, until its fuel is used up; the
//! fastest of many runs, divided by the fuel, is what one unit takes when nothing but the operator is in the way, and
//! the median what it takes on this machine as it is. The worst row is what a manifest's fuel is to be multiplied with.
//!
//! Invariant: every run ends as `fault fuel`, so each of them used exactly the fuel that it is divided by.

use std::time::Instant;

use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Fault};

/// Fuel of one run: enough that setting up and putting back do not count.
const FUEL: u64 = 100_000;
/// Runs of one guest.
const RUNS: usize = 400;
/// How often the operator stands in the body of the loop.
const REPEATS: usize = 32;

/// Operators, each as a step from `$x` (i64) or `$y` (i32) to itself.
const STEPS: &[(&str, &str)] = &[
    ("i64.add", "(local.set $x (i64.add (local.get $x) (local.get 0)))"),
    ("i64.mul", "(local.set $x (i64.mul (local.get $x) (local.get 0)))"),
    ("i64.rotl", "(local.set $x (i64.rotl (local.get $x) (local.get $x)))"),
    ("i64.popcnt", "(local.set $x (i64.popcnt (local.get $x)))"),
    ("i64.clz", "(local.set $x (i64.clz (local.get $x)))"),
    ("i32.div_s", "(local.set $y (i32.div_s (i32.const 0x7FFFFFFF) (i32.or (local.get $y) (i32.const 1))))"),
    ("i32.rem_u", "(local.set $y (i32.rem_u (i32.const 0x7FFFFFFF) (i32.or (local.get $y) (i32.const 1))))"),
    ("i64.div_s", "(local.set $x (i64.div_s (i64.const -9223372036854775807) (i64.or (local.get $x) (i64.const 1))))"),
    ("i64.div_u", "(local.set $x (i64.div_u (i64.const -1) (i64.or (local.get $x) (i64.const 1))))"),
    ("i64.rem_u", "(local.set $x (i64.rem_u (i64.const -1) (i64.or (local.get $x) (i64.const 1))))"),
    ("select", "(local.set $x (select (local.get $x) (local.get 3) (i32.wrap_i64 (local.get $x))))"),
    ("i32.load, each at the last one's value", "(local.set $y (i32.load offset=512 (i32.and (local.get $y) (i32.const 1020))))"),
    ("i64.store8", "(i64.store8 offset=512 (i32.and (local.get $y) (i32.const 1023)) (local.get $x))"),
    (
        "if, as chance says",
        "(local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
         (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
         (if (i64.eqz (i64.and (local.get $x) (i64.const 1))) (then (i32.store (i32.const 520) (local.get $y))))",
    ),
    ("br_table, as chance says", "(local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
        (block $c (block $b (block $a (br_table $a $b $c (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 62)))))
          (i32.store (i32.const 520) (local.get $y)) (br $c))
          (i32.store (i32.const 524) (local.get $y)))"),
    ("call", "(local.set $x (call $step (local.get $x)))"),
    ("call_indirect", "(local.set $x (call_indirect (param i64) (result i64) (local.get $x) (i32.wrap_i64 (i64.and (local.get $x) (i64.const 1)))))"),
    ("memory.copy of 0 bytes", "(memory.copy (i32.const 600) (i32.const 2048) (i32.const 0))"),
    ("memory.copy of 8 bytes", "(memory.copy (i32.const 600) (i32.const 2048) (i32.const 8))"),
    ("memory.copy of 900 bytes", "(memory.copy (i32.const 600) (i32.const 2048) (i32.const 900))"),
    ("memory.fill of 8 bytes", "(memory.fill (i32.const 600) (i32.const 7) (i32.const 8))"),
    ("memory.fill of 900 bytes", "(memory.fill (i32.const 600) (i32.const 7) (i32.const 900))"),
    ("a loop of nothing else", ""),
];

/// One row of the answer.
struct Row {
    operator: &'static str,
    ns_per_unit_best: f64,
    ns_per_unit_p50: f64,
}

fn main() {
    let is_json = std::env::args().any(|argument| argument == "--json");
    let engine = Engine::new();
    let rows: Vec<Row> = STEPS.iter().map(|(operator, step)| measure(&engine, operator, step)).collect();
    for row in &rows {
        let Row { operator, ns_per_unit_best, ns_per_unit_p50 } = row;
        if is_json {
            println!(
                "{{\"operator\":\"{operator}\",\"ns_per_unit_best\":{ns_per_unit_best:.3},\"ns_per_unit_p50\":{ns_per_unit_p50:.3}}}"
            );
        } else {
            println!("{ns_per_unit_best:6.2} {ns_per_unit_p50:6.2}  {operator}");
        }
    }
    let worst = rows.iter().max_by(|one, other| one.ns_per_unit_p50.total_cmp(&other.ns_per_unit_p50));
    let Some(Row { operator, ns_per_unit_p50, .. }) = worst else { return };
    if is_json {
        println!("{{\"worst\":\"{operator}\",\"ns_per_unit_p50\":{ns_per_unit_p50:.3},\"fuel\":{FUEL}}}");
    } else {
        println!("ns a unit, fastest run and median of {RUNS}; worst: {ns_per_unit_p50:.2} ns ({operator})");
    }
}

fn measure(engine: &Engine, operator: &'static str, step: &str) -> Row {
    let wasm = wat::parse_str(guest(step)).expect("the text of a guest of this file is well-formed");
    let mut judge = Arbitrator::admit(engine, &wasm).expect("a guest of this file is admitted").judge();
    let context = Context { sequence: 0x1234_5678_9ABC_DEF1, seed: 3, ..Context::default() };
    let mut took: Vec<u64> = (0..RUNS)
        .map(|_| {
            let from = Instant::now();
            let answer = judge.decide(&context, &[], &[]).answer;
            let ns = from.elapsed().as_nanos() as u64;
            assert_eq!(answer, Answer::Fault(Fault::Fuel), "{operator} ends with its fuel");
            ns
        })
        .collect();
    took.sort_unstable();
    let per_unit = |ns: u64| ns as f64 / FUEL as f64;
    Row { operator, ns_per_unit_best: per_unit(took[0]), ns_per_unit_p50: per_unit(took[RUNS / 2]) }
}

/// A guest that repeats a step for ever. Its manifest stands at 0, its name behind it.
fn guest(step: &str) -> String {
    let mut manifest = [0_u8; 44];
    manifest[0] = 40;
    manifest[4] = 4;
    manifest[8] = 1;
    for at in [16, 20, 24] {
        manifest[at] = 64;
    }
    manifest[32..40].copy_from_slice(&FUEL.to_le_bytes());
    manifest[40..].copy_from_slice(b"fuel");
    let manifest: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let words = "i64 i64 i64 i64 i64 i32 i32 i32 i32 i32 i32";
    let body = step.repeat(REPEATS);
    format!(
        "(module (memory (export \"memory\") 1) (global (export \"__heap_base\") i32 (i32.const 4096))
           (table funcref (elem $step $other))
           (func $step (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
           (func $other (param i64) (result i64) (i64.add (local.get 0) (i64.const 3)))
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
           (func (export \"describe\") (result i32) (i32.const 0))
           (func (export \"decide\") (param {words}) (result i32) (local $x i64) (local $y i32)
             (local.set $x (local.get 0))
             (local.set $y (i32.wrap_i64 (local.get 0)))
             (loop $again {body}
               (i64.store (i32.const 528) (local.get $x)) (i32.store (i32.const 536) (local.get $y))
               (br $again))
             (i32.const 256))
           (data (i32.const 0) \"{manifest}\"))"
    )
}
