//! The guest in the sandbox and the same source on this machine say the same, byte for byte.

use std::collections::BTreeMap;

use io_oi_arbitrator::sdk::{
    Arbitrator as Native, Batch, BatchArbitrator, Context, Decision, Effects, Keys, Outcomes, Plan, Verdict,
};
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Judge};
use io_oi_guests::prebuilt::component;
use io_oi_guests::{AcceptAll, BatchAuction, CompareVersion, LastWriterWins, Quota, RiskLimit};
use io_oi_record::ArbitratorCode;

use crate::vectors::{Dice, batch, question};

const QUESTIONS: usize = 20_000;

pub(crate) fn judge(engine: &Engine, name: &str) -> Judge {
    let component = component(name).expect("a standard judge ships");
    Arbitrator::admit(engine, component).expect("a standard judge is admitted").judge()
}

fn answer_of(decision: Decision) -> Answer {
    match decision.verdict {
        Verdict::Accept => Answer::Accept,
        Verdict::Refuse => Answer::Refuse(ArbitratorCode::new(decision.code).expect("a code of the house")),
        Verdict::Defer => Answer::Defer,
    }
}

fn native<A: Native>(context: &Context, state: &[u8], proposal: &[u8]) -> (Answer, Vec<u8>) {
    let mut room = vec![0; A::MANIFEST.max_effects as usize];
    let mut effects = Effects::new(&mut room);
    let decision = A::decide(context, state, proposal, &mut effects);
    (answer_of(decision), effects.as_slice().to_vec())
}

/// Asks both; answers how often each answer was given.
fn compare<A: Native>(seed: u64) -> BTreeMap<String, usize> {
    let name = A::MANIFEST.name;
    let (mut judge, mut dice, mut seen) = (judge(&Engine::new(), name), Dice(seed), BTreeMap::new());
    for _ in 0..QUESTIONS {
        let asked = question(name, &mut dice);
        let (answer, effects) = native::<A>(&asked.context, &asked.state, &asked.proposal);
        let ruling = judge.decide(&asked.context, &asked.state, &asked.proposal);
        assert_eq!((ruling.answer, ruling.effects), (answer, effects.as_slice()), "{name}: {asked:?}");
        *seen.entry(format!("{answer:?}")).or_default() += 1;
    }
    seen
}

fn compare_plans<P: Plan + Native>(seed: u64) {
    let name = P::MANIFEST.name;
    let (mut judge, mut dice) = (judge(&Engine::new(), name), Dice(seed));
    for _ in 0..QUESTIONS / 10 {
        let asked = question(name, &mut dice);
        let mut keys = Keys::default();
        P::plan(&asked.proposal, &mut keys);
        let planned: Vec<&[u8]> = judge.plan(&asked.proposal).expect("a standard judge plans").collect();
        assert_eq!(planned, keys.as_slice(), "{name}: {asked:?}");
    }
}

#[test]
fn accept_all_is_its_own_oracle() {
    assert_eq!(compare::<AcceptAll>(1).len(), 1);
}

#[test]
fn risk_limit_is_its_own_oracle_for_every_answer_that_it_has() {
    let seen = compare::<RiskLimit>(2);
    // Accept, six limits, malformed, state, not an operator.
    assert!(seen.len() >= 10, "some answer was never given: {seen:?}");
}

#[test]
fn last_writer_wins_is_its_own_oracle() {
    assert!(compare::<LastWriterWins>(3).len() >= 4);
    compare_plans::<LastWriterWins>(4);
}

#[test]
fn compare_version_is_its_own_oracle() {
    assert!(compare::<CompareVersion>(5).len() >= 4);
    compare_plans::<CompareVersion>(6);
}

#[test]
fn quota_is_its_own_oracle() {
    assert!(compare::<Quota>(7).len() >= 6);
    compare_plans::<Quota>(8);
}

#[test]
fn batch_auction_is_its_own_oracle() {
    let (mut judge, mut dice, mut trades) = (judge(&Engine::new(), "batch-auction"), Dice(9), 0);
    for _ in 0..QUESTIONS / 10 {
        let proposals = batch(&mut dice);
        let proposals: Vec<&[u8]> = proposals.iter().map(Vec::as_slice).collect();
        let mut room = vec![0; BatchAuction::MANIFEST.max_effects as usize];
        let mut outcomes = Outcomes::new(&mut room);
        BatchAuction::decide_batch(&Context::default(), &[], &Batch::new(&proposals), &mut outcomes);
        let ruling = judge.decide_batch(&Context::default(), &[], &proposals);
        let native: Vec<_> =
            outcomes.iter().map(|(decision, effects)| (answer_of(decision), effects)).collect();
        assert_eq!(ruling.iter().collect::<Vec<_>>(), native, "{proposals:?}");
        trades += native
            .iter()
            .filter(|(_, effects)| effects.len() > 16 && effects[effects.len() - 16] > 0)
            .count();
    }
    assert!(trades > 1_000, "only {trades} orders traded: the books do not cross");
}
