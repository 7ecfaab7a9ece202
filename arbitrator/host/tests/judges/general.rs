//! The general tier: what the sealed one refuses, isolated all the same.

use io_oi_arbitrator::limits::{GENERAL_COMPONENT_BYTES_CEILING, GENERAL_COMPONENT_BYTES_MAX};
use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Fault, GeneralJudge, Refusal, Setting};
use io_oi_guests::prebuilt::component;

use crate::guest_text::Guest;
use crate::oracle::judge;
use crate::vectors::{Dice, question};

fn admitted(guest: &Guest) -> GeneralJudge {
    GeneralJudge::admit(&Engine::new(), &guest.component()).expect("this guest is admitted")
}

fn answer(judge: &mut GeneralJudge) -> Answer {
    judge.decide(&Context::default(), b"state", b"proposal").answer
}

#[test]
fn both_tiers_say_the_same() {
    let engine = Engine::new();
    let mut dice = Dice(41);
    let mut general =
        GeneralJudge::admit(&engine, component("risk-limit").expect("it ships")).expect("it is admitted");
    let mut sealed = judge(&engine, "risk-limit");
    assert_eq!(general.manifest(), sealed.manifest());
    for _ in 0..2_000 {
        let asked = question("risk-limit", &mut dice);
        let one = general.decide(&asked.context, &asked.state, &asked.proposal);
        let other = sealed.decide(&asked.context, &asked.state, &asked.proposal);
        assert_eq!((one.answer, one.effects), (other.answer, other.effects), "{asked:?}");
    }
}

#[test]
fn every_setting_gives_the_same_answers_for_the_same_fuel_here_too() {
    let component = component("risk-limit").expect("it ships");
    let admit = |setting: &Setting| GeneralJudge::admit(&Engine::with(*setting), component);
    let mut judges: Vec<GeneralJudge> =
        Setting::ALL.iter().map(|setting| admit(setting).expect("it is admitted")).collect();
    let mut dice = Dice(43);
    for _ in 0..2_000 {
        let asked = question("risk-limit", &mut dice);
        let rulings: Vec<_> = judges
            .iter_mut()
            .map(|judge| judge.decide(&asked.context, &asked.state, &asked.proposal))
            .collect();
        assert!(rulings.iter().all(|ruling| ruling == &rulings[0]), "{asked:?}: {rulings:?}");
    }
}

#[test]
fn an_argument_of_an_earlier_decision_is_never_seen_again() {
    let mut judge = admitted(&Guest::who_looks_behind());
    for _ in 0..300 {
        judge.decide(&Context::default(), &[], &[0x7A; 64]);
        let ruling = judge.decide(&Context::default(), &[], b"x");
        let Answer::Refuse(code) = ruling.answer else { panic!("it refuses: {ruling:?}") };
        assert_eq!(code.get(), 0);
    }
}

/// The component of a guest with a section that no code reads, so long that the whole has these bytes.
fn grown(bytes: usize) -> Vec<u8> {
    let mut component = Guest::new().component();
    let body = bytes - component.len() - 5;
    let size: [u8; 4] =
        std::array::from_fn(|at| (body >> (7 * at)) as u8 & 0x7F | if at < 3 { 0x80 } else { 0 });
    component.push(0);
    component.extend(size);
    component.push(1);
    component.resize(bytes, b'x');
    component
}

#[test]
fn the_operators_own_bound_admits_a_language_runtime_and_nothing_admits_more_than_the_ceiling() {
    let engine = Engine::new();
    let too_long = |refused: Result<GeneralJudge, Refusal>, bytes: usize, allowed: usize| {
        let refusal = refused.expect_err("it is too long");
        assert_eq!(refusal, Refusal::TooLongForAny { bytes, bytes_max: allowed });
    };
    let runtime = grown(18 << 20);
    too_long(GeneralJudge::admit(&engine, &runtime), 18 << 20, GENERAL_COMPONENT_BYTES_MAX);
    too_long(GeneralJudge::admit_within(&engine, &runtime, (18 << 20) - 1), 18 << 20, (18 << 20) - 1);
    let mut judge = GeneralJudge::admit_within(&engine, &runtime, 18 << 20).expect("an operator allowed it");
    assert_eq!(answer(&mut judge), Answer::Accept);
    let beyond = grown(GENERAL_COMPONENT_BYTES_CEILING + 1);
    too_long(
        GeneralJudge::admit_within(&engine, &beyond, usize::MAX),
        GENERAL_COMPONENT_BYTES_CEILING + 1,
        GENERAL_COMPONENT_BYTES_CEILING,
    );
}

#[test]
fn what_grows_its_memory_is_for_the_general_tier_and_leaks_nothing_there() {
    // Refuses with the size of its memory, which it grows by a page each time, and with what it left in the last one.
    let guest = Guest::new().global("(global $count (mut i32) (i32.const 0))").decide(
        "(drop (memory.grow (i32.const 1)))
         (global.set $count (i32.add (global.get $count) (i32.const 1)))
         (i32.store8 (i32.const 256) (i32.const 1))
         (i32.store (i32.const 260) (i32.add (memory.size) (i32.mul (i32.const 100)
           (i32.add (global.get $count) (i32.load (i32.const 66000))))))
         (i32.store (i32.const 66000) (i32.const 1))
         (i32.const 256)",
    );
    let refusal = Arbitrator::admit(&Engine::new(), &guest.component()).expect_err("not for the sealed tier");
    assert!(matches!(refusal, Refusal::Operator { operator: "memory.grow", .. }), "{refusal}");
    let mut judge = admitted(&guest);
    for _ in 0..200 {
        let Answer::Refuse(code) = answer(&mut judge) else { panic!("it refuses with what it sees") };
        assert_eq!(code.get(), 102, "one instance saw another's memory");
    }
}

#[test]
fn hostile_judges_end_as_fault_and_the_next_decision_is_asked_as_ever() {
    let cases = [
        ("(loop $l (br $l)) (i32.const 256)", Fault::Fuel),
        ("unreachable", Fault::Trap),
        ("(i32.load (i32.const -4))", Fault::Trap),
        ("(i32.store (i32.const 268) (i32.const -1)) (i32.const 256)", Fault::Trap),
        (
            "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 100)) (i32.const -1)))) unreachable",
            Fault::Trap,
        ),
    ];
    for (text, fault) in cases {
        let mut judge = admitted(&Guest::new().decide(text));
        for count in 1..4 {
            let found = answer(&mut judge);
            assert_eq!(found, Answer::Fault(fault), "{text}");
            assert_eq!(judge.faults().of(fault), count);
        }
    }
}

#[test]
fn recursion_without_end_is_a_fault_and_no_crash() {
    let guest = Guest::new().more("(func $f (call $f))").decide("(call $f) (i32.const 256)");
    let mut judge = admitted(&guest);
    assert!(matches!(answer(&mut judge), Answer::Fault(Fault::Trap | Fault::Fuel)));
    assert!(matches!(answer(&mut judge), Answer::Fault(Fault::Trap | Fault::Fuel)));
}

#[test]
fn a_component_with_imports_is_refused_here_too() {
    let text = "(component (import \"clock\" (func)))";
    let refused = GeneralJudge::admit(&Engine::new(), &wat::parse_str(text).expect("well-formed"));
    assert!(refused.is_err());
}
