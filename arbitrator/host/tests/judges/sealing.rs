//! What a decision leaves behind: nothing. What it costs the host: no allocation, no call of the kernel.

use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Fault, Judge, Setting};

use crate::guest_text::{Guest, manifest};
use crate::oracle::judge;
use crate::vectors::{Dice, Question, question};

fn admitted(guest: &Guest) -> Judge {
    Arbitrator::admit(&Engine::new(), &guest.wasm()).expect("this guest is admitted").judge()
}

fn answer(judge: &mut Judge) -> Answer {
    judge.decide(&Context::default(), b"state", b"proposal").answer
}

#[test]
fn a_guest_that_counts_in_memory_and_in_a_global_never_counts_beyond_one() {
    let guest = Guest::new().global("(global $count (mut i32) (i32.const 0))").decide(
        "(global.set $count (i32.add (global.get $count) (i32.const 1)))
         (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
         (i32.store8 (i32.const 256) (i32.const 1))
         (i32.store (i32.const 260) (i32.add
           (i32.mul (global.get $count) (i32.const 1000)) (i32.load (i32.const 512))))
         (i32.const 256)",
    );
    let mut judge = admitted(&guest);
    for _ in 0..1_000 {
        let Answer::Refuse(code) = answer(&mut judge) else { panic!("it refuses with its counters") };
        assert_eq!(code.get(), 1_001);
    }
}

#[test]
fn what_a_guest_wrote_before_it_trapped_is_gone() {
    let guest = Guest::new().global("(global $count (mut i32) (i32.const 0))").decide(
        "(global.set $count (i32.const 7))
         (memory.fill (i32.const 0) (i32.const 255) (i32.const 1024))
         (if (i64.eqz (local.get 0)) (then unreachable))
         (i32.store8 (i32.const 256) (i32.const 1))
         (i32.store (i32.const 260) (i32.load (i32.const 600)))
         (i32.store (i32.const 268) (i32.const 0))
         (i32.const 256)",
    );
    // The second call asks another question, which the guest answers with what it finds in memory.
    let mut judge = admitted(&guest);
    assert_eq!(answer(&mut judge), Answer::Fault(Fault::Trap));
    let probe = Guest::new().decide(
        "(if (i64.eqz (local.get 0)) (then (memory.fill (i32.const 0) (i32.const 85) (i32.const 1024)) unreachable))
         (i32.store8 (i32.const 256) (i32.const 1))
         (i32.store (i32.const 260) (i32.load (i32.const 600)))
         (i32.const 256)",
    );
    let mut judge = admitted(&probe);
    let fresh = Context { sequence: 1, ..Context::default() };
    for _ in 0..10 {
        assert_eq!(answer(&mut judge), Answer::Fault(Fault::Trap));
        let Answer::Refuse(code) = judge.decide(&fresh, &[], b"p").answer else { panic!("it refuses") };
        assert_eq!(code.get(), 0, "bytes of an earlier decision were seen");
    }
}

#[test]
fn an_argument_of_an_earlier_decision_is_never_seen_again() {
    let mut judge = admitted(&Guest::who_looks_behind());
    let context = Context::default();
    judge.decide(&context, &[], &[0x7A; 64]);
    let Answer::Refuse(code) = judge.decide(&context, &[], b"x").answer else { panic!("it refuses") };
    assert_eq!(code.get(), 0);
}

fn questions(judge: &str, count: usize) -> Vec<Question> {
    let mut dice = Dice(11);
    (0..count).map(|_| question(judge, &mut dice)).collect()
}

#[test]
fn a_decision_allocates_nothing() {
    let asked = questions("risk-limit", 1_000);
    let mut judge = judge(&Engine::new(), "risk-limit");
    let mut ask = || {
        for question in &asked {
            std::hint::black_box(judge.decide(&question.context, &question.state, &question.proposal));
        }
    };
    ask();
    let counted = allocation_counter::measure(ask);
    assert_eq!(counted.count_total, 0, "{} allocations in 1000 decisions", counted.count_total);
}

#[test]
fn an_answer_and_its_fuel_do_not_depend_on_what_was_asked_before() {
    let asked = questions("risk-limit", 20_000);
    let engine = Engine::new();
    let (mut forwards, mut backwards) = (judge(&engine, "risk-limit"), judge(&engine, "risk-limit"));
    let mut ask = |question: &Question, is_forwards: bool| {
        let judge = if is_forwards { &mut forwards } else { &mut backwards };
        let ruling = judge.decide(&question.context, &question.state, &question.proposal);
        (ruling.answer, ruling.effects.to_vec(), ruling.fuel)
    };
    let first: Vec<_> = asked.iter().map(|question| ask(question, true)).collect();
    for (question, first) in asked.iter().zip(&first).rev() {
        assert_eq!(&ask(question, false), first, "{question:?}");
    }
}

#[test]
fn every_setting_and_the_interpreter_give_the_same_answers_for_the_same_fuel() {
    const NAMES: [(&str, usize); 5] = [
        ("accept-all", 5_000),
        ("last-writer-wins", 20_000),
        ("risk-limit", 100_000),
        ("compare-version", 20_000),
        ("quota", 20_000),
    ];
    for (name, count) in NAMES {
        let mut judges: Vec<Judge> =
            Setting::ALL.iter().map(|setting| judge(&Engine::with(*setting), name)).collect();
        let mut fuels = std::collections::BTreeSet::new();
        for asked in questions(name, count) {
            let rulings: Vec<_> = judges
                .iter_mut()
                .map(|judge| judge.decide(&asked.context, &asked.state, &asked.proposal))
                .collect();
            assert!(rulings.iter().all(|ruling| ruling == &rulings[0]), "{name}: {asked:?}: {rulings:?}");
            fuels.insert(rulings[0].fuel);
        }
        assert!(name == "accept-all" || fuels.len() > 3, "{name}: fuel says nothing");
    }
}

#[test]
fn the_kit_and_the_engine_agree_on_what_a_manifest_is() {
    let judge = admitted(&Guest::new().manifest(manifest("kit", 3, 1, 64, 64, 64, 5_000)));
    assert_eq!((judge.manifest().name.as_str(), judge.manifest().version), ("kit", (3, 0, 0)));
    assert_eq!(judge.manifest().fuel, 5_000);
}
