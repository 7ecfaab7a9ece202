//! Modules that chance made: none crashes the host, and whatever is admitted answers within its fuel.
//!
//! The seeds are fixed and the numbers are small, so that this is a test; `IO_OI_NIGHTLY=1` makes them a hundred times
//! larger.

use arbitrary::Unstructured;
use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, World};
use io_oi_guests::prebuilt::PREBUILT;
use wasm_smith::{Config, Module};

use crate::guest_text::Guest;
use crate::vectors::{Dice, question};

fn times(few: u64) -> u64 {
    if std::env::var_os("IO_OI_NIGHTLY").is_some() { 100 * few } else { few }
}

/// Admits and asks; answers whether it was admitted.
fn survives(engine: &Engine, bytes: &[u8], dice: &mut Dice) -> bool {
    let Ok(arbitrator) = Arbitrator::admit(engine, bytes) else { return false };
    let mut judge = arbitrator.judge();
    let limit = judge.manifest().fuel;
    for _ in 0..4 {
        let asked = question("risk-limit", dice);
        if arbitrator.world() == World::Batch {
            let ruling = judge.decide_batch(&asked.context, &[], &[&asked.proposal]);
            assert!(ruling.fuel <= limit && ruling.answers.len() == 1);
            continue;
        }
        let first = judge.decide(&asked.context, &asked.state, &asked.proposal);
        assert!(first.fuel <= limit && (first.answer == Answer::Accept || first.effects.is_empty()));
        let first = (first.answer, first.effects.to_vec(), first.fuel);
        // Something else in between, and it still says the same.
        judge.decide(&Context::default(), &[], &[0xA5; 40]);
        let again = judge.decide(&asked.context, &asked.state, &asked.proposal);
        assert_eq!(first, (again.answer, again.effects.to_vec(), again.fuel));
    }
    true
}

/// The exports of the contract, so that chance fills their bodies.
fn shape() -> Config {
    Config {
        exports: Some(Guest::new().wasm()),
        allow_start_export: false,
        bulk_memory_enabled: true,
        reference_types_enabled: false,
        simd_enabled: false,
        max_imports: 0,
        max_instructions: 400,
        max_memories: 1,
        min_funcs: 3,
        ..Config::default()
    }
}

#[test]
fn whatever_chance_makes_of_the_contract_is_refused_or_answers_within_its_fuel() {
    let (engine, mut dice, mut valid) = (Engine::new(), Dice(31), 0);
    for _ in 0..times(300) {
        let bytes: Vec<u8> = (0..512).flat_map(|_| dice.roll().to_le_bytes()).collect();
        if let Ok(module) = Module::new(shape(), &mut Unstructured::new(&bytes)) {
            valid += 1;
            survives(&engine, &module.to_bytes(), &mut dice);
        }
    }
    assert!(valid > 200, "chance made only {valid} modules");
}

#[test]
fn standard_judges_with_flipped_bits_are_refused_or_answer_within_their_fuel() {
    let (engine, mut dice, mut admitted) = (Engine::new(), Dice(32), 0);
    for turn in 0..times(400) {
        let (_, component) = PREBUILT[turn as usize % PREBUILT.len()];
        let mut bytes = component.to_vec();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        admitted += u64::from(survives(&engine, &bytes, &mut dice));
    }
    assert!(admitted > 20, "only {admitted} changed judges were admitted: nothing was run");
}
