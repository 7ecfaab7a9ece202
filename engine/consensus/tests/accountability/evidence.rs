//! A key that signs the contrary is convicted, and no other: scenario by scenario, then any schedule.

use io_oi_consensus::watch::WATCH_WINDOW;
use io_oi_consensus::{ReportRefused, Watch};
use io_oi_record::evidence::{Evidence, EvidenceError, Proof, Signed, SignedEvidence};
use io_oi_record::*;
use proptest::prelude::*;

use crate::support::*;

fn watch() -> Watch {
    Watch::new(genesis().cluster(), SHARD, id(0))
}

/// A statement of any kind, as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Header(Signed<BlockHeader>),
    Vote(Signed<Vote>),
    Grant(Signed<BallotGrant>),
}

impl Seen {
    fn show(self, watch: &mut Watch, roster: &Roster) -> Option<Evidence> {
        match self {
            Seen::Header(header) => watch.see_header(&header, roster),
            Seen::Vote(vote) => watch.see_vote(&vote, roster),
            Seen::Grant(grant) => watch.see_grant(&grant, roster),
        }
    }
}

fn h(epoch: u64, first: u64, count: u32, variant: u8) -> Seen {
    Seen::Header(signed(&node(1), header(1, epoch, first, count, variant)))
}

fn v(epoch: u64, sequence: u64, variant: u8) -> Seen {
    Seen::Vote(signed(&node(1), vote(1, epoch, sequence, variant)))
}

fn g(epoch: u64, candidate: u8) -> Seen {
    Seen::Grant(signed(&node(1), grant(1, epoch, candidate)))
}

fn by_2(seen: Seen) -> Seen {
    match seen {
        Seen::Header(signed_by_1) => {
            Seen::Header(signed(&node(2), BlockHeader { leader: id(2), ..signed_by_1.statement }))
        }
        Seen::Vote(signed_by_1) => {
            Seen::Vote(signed(&node(2), Vote { voter: id(2), ..signed_by_1.statement }))
        }
        Seen::Grant(signed_by_1) => {
            Seen::Grant(signed(&node(2), BallotGrant { voter: id(2), ..signed_by_1.statement }))
        }
    }
}

fn forge(seen: Seen) -> Seen {
    match seen {
        Seen::Header(header) => Seen::Header(forged(header.statement)),
        Seen::Vote(vote) => Seen::Vote(forged(vote.statement)),
        Seen::Grant(grant) => Seen::Grant(forged(grant.statement)),
    }
}

fn in_other_shard(seen: Seen) -> Seen {
    let shard = ShardId(0);
    match seen {
        Seen::Header(header) => Seen::Header(signed(&node(1), BlockHeader { shard, ..header.statement })),
        Seen::Vote(vote) => Seen::Vote(signed(&node(1), Vote { shard, ..vote.statement })),
        Seen::Grant(grant) => Seen::Grant(signed(&node(1), BallotGrant { shard, ..grant.statement })),
    }
}

/// What was seen, in order, and whether the last one convicts. In the manner of EIP-3076's interchange tests.
fn scenarios() -> Vec<(&'static str, Vec<Seen>, bool)> {
    vec![
        ("one header", vec![h(1, 1, 3, 1)], false),
        ("the same header again", vec![h(1, 1, 3, 1), h(1, 1, 3, 1)], false),
        ("another header for one place", vec![h(1, 1, 3, 1), h(1, 1, 3, 2)], true),
        ("the next header", vec![h(1, 1, 3, 1), h(1, 4, 1, 1)], false),
        ("an earlier header, later", vec![h(1, 4, 1, 1), h(1, 1, 3, 1)], false),
        ("a header that overlaps by its last", vec![h(1, 1, 3, 1), h(1, 3, 2, 1)], true),
        ("a header that overlaps by its first", vec![h(1, 3, 2, 1), h(1, 1, 3, 1)], true),
        ("a header inside another", vec![h(1, 1, 5, 1), h(1, 2, 2, 1)], true),
        ("a header around another", vec![h(1, 2, 2, 1), h(1, 1, 5, 1)], true),
        ("a shorter header from one first", vec![h(1, 1, 3, 1), h(1, 1, 2, 1)], true),
        ("a longer header from one first", vec![h(1, 1, 3, 1), h(1, 1, 4, 1)], true),
        ("one place in the next epoch", vec![h(1, 1, 3, 1), h(2, 1, 3, 2)], false),
        ("one place in an earlier epoch", vec![h(2, 1, 3, 1), h(1, 1, 3, 2)], false),
        ("one place by two leaders", vec![h(1, 1, 3, 1), by_2(h(1, 1, 3, 2))], false),
        ("one place in two shards", vec![h(1, 1, 3, 1), in_other_shard(h(1, 1, 3, 2))], false),
        ("a forged second header", vec![h(1, 1, 3, 1), forge(h(1, 1, 3, 2))], false),
        ("a forged first header", vec![forge(h(1, 1, 3, 1)), h(1, 1, 3, 2)], false),
        (
            "a true contradiction behind a forged one",
            vec![forge(h(1, 1, 3, 1)), h(1, 1, 3, 2), h(1, 1, 3, 3)],
            true,
        ),
        (
            "a contradiction two blocks ago",
            vec![h(1, 1, 1, 1), h(1, 2, 1, 1), h(1, 3, 1, 1), h(1, 1, 1, 2)],
            true,
        ),
        ("one vote", vec![v(1, 3, 1)], false),
        ("the same vote again", vec![v(1, 3, 1), v(1, 3, 1)], false),
        ("another vote for one place", vec![v(1, 3, 1), v(1, 3, 2)], true),
        ("a vote for the next place", vec![v(1, 3, 1), v(1, 4, 2)], false),
        ("a vote for an earlier place", vec![v(1, 4, 1), v(1, 3, 2)], false),
        ("one place in another epoch", vec![v(1, 3, 1), v(2, 3, 2)], false),
        ("one block in another epoch", vec![v(1, 3, 1), v(2, 3, 1)], false),
        ("two voters for two blocks", vec![v(1, 3, 1), by_2(v(1, 3, 2))], false),
        ("two blocks in two shards", vec![v(1, 3, 1), in_other_shard(v(1, 3, 2))], false),
        ("a forged second vote", vec![v(1, 3, 1), forge(v(1, 3, 2))], false),
        ("a forged first vote", vec![forge(v(1, 3, 1)), v(1, 3, 2)], false),
        ("a vote beside a header of another block", vec![h(1, 1, 3, 1), v(1, 3, 2)], false),
        ("one grant", vec![g(5, 2)], false),
        ("the same grant again", vec![g(5, 2), g(5, 2)], false),
        ("a grant to another candidate", vec![g(5, 2), g(5, 0)], true),
        ("a grant of the next epoch to another", vec![g(5, 2), g(6, 0)], false),
        ("a grant of an earlier epoch to another", vec![g(6, 2), g(5, 0)], false),
        ("grants of two voters", vec![g(5, 2), by_2(g(5, 0))], false),
        ("grants in two shards", vec![g(5, 2), in_other_shard(g(5, 0))], false),
        ("a forged second grant", vec![g(5, 2), forge(g(5, 0))], false),
        ("a forged first grant", vec![forge(g(5, 2)), g(5, 0)], false),
        ("a contradiction after other epochs", vec![g(5, 2), g(6, 0), g(7, 2), g(5, 0)], true),
    ]
}

#[test]
fn every_scenario_convicts_or_does_not() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 38, "as many as EIP-3076 has");
    for (name, seen, convicts) in scenarios {
        let (mut watch, roster) = (watch(), roster());
        let (last, before) = seen.split_last().expect("never empty");
        for statement in before {
            assert_eq!(statement.show(&mut watch, &roster), None, "{name}");
        }
        let evidence = last.show(&mut watch, &roster); // [P-102]
        assert_eq!(evidence.is_some(), convicts, "{name}");
        let Some(evidence) = evidence else { continue };
        assert_eq!(evidence.check(), Ok(id(1)), "{name}");
        let report = SignedEvidence::sign(evidence, &node(0));
        assert_eq!(watch.accept(report, false, &roster), Ok(id(1)), "{name}");
        assert!(watch.is_convicted(id(1)) && !watch.is_convicted(id(2))); // [P-104]
        assert_eq!(last.show(&mut watch, &roster), None, "{name}: once is enough");
    }
}

fn report(one: Seen, other: Seen) -> SignedEvidence {
    let proof = match (one, other) {
        (Seen::Header(one), Seen::Header(other)) => Proof::TwoHeaders(one, other),
        (Seen::Vote(one), Seen::Vote(other)) => Proof::TwoVotes(one, other),
        (Seen::Grant(one), Seen::Grant(other)) => Proof::TwoGrants(one, other),
        _ => panic!("two of a kind"),
    };
    let evidence = Evidence { cluster: genesis().cluster(), shard: SHARD, proof, reporter: id(2) };
    SignedEvidence::sign(evidence, &node(2))
}

#[test]
fn reports_that_do_not_convict_are_refused() {
    let roster = roster();
    let refused = |report| watch().accept(report, false, &roster).expect_err("must be refused"); // [P-103]
    let no_contradiction = ReportRefused::Evidence(EvidenceError::NoContradiction);
    assert_eq!(refused(report(h(1, 1, 3, 1), h(1, 1, 3, 1))), no_contradiction);
    assert_eq!(refused(report(v(1, 3, 1), v(1, 4, 2))), no_contradiction);
    assert_eq!(refused(report(g(1, 2), g(2, 0))), no_contradiction);
    let unsigned = ReportRefused::Evidence(EvidenceError::Unsigned(VerifyError::SignatureWrong));
    assert_eq!(refused(report(h(1, 1, 3, 1), forge(h(1, 1, 3, 2)))), unsigned);
    assert_eq!(refused(report(forge(v(1, 3, 1)), v(1, 3, 2))), unsigned);
    let unrelated = ReportRefused::Evidence(EvidenceError::Unrelated);
    assert_eq!(refused(report(g(1, 2), by_2(g(1, 0)))), unrelated);
    let mut by_stranger = report(g(1, 2), g(1, 0));
    by_stranger.signature = node(9).sign_as_witness(&by_stranger.evidence);
    let report_unsigned = EvidenceError::ReportUnsigned(VerifyError::SignatureWrong);
    assert_eq!(refused(by_stranger), ReportRefused::Evidence(report_unsigned));
    let mut elsewhere = report(g(1, 2), g(1, 0));
    elsewhere.evidence.shard = ShardId(0);
    assert_eq!(refused(elsewhere), ReportRefused::Elsewhere);
}

#[test]
fn one_conviction_is_enough_and_those_who_left_are_left_alone() {
    let (mut watch, mut roster) = (watch(), roster());
    assert_eq!(watch.accept(report(g(1, 2), g(1, 0)), false, &roster), Ok(id(1)));
    let accused = id(1);
    for again in [report(g(1, 2), g(1, 0)), report(v(1, 3, 1), v(1, 3, 2))] {
        assert_eq!(watch.accept(again, false, &roster), Err(ReportRefused::Repeated { accused }));
    }
    roster.apply(&govern(1, remove(2))).expect("applicable");
    let left = report(by_2(g(1, 2)), by_2(g(1, 0)));
    assert_eq!(watch.accept(left, false, &roster), Err(ReportRefused::Expired { accused: id(2) }));
    assert_eq!(watch.held().len(), 1);
}

#[test]
fn a_contradicted_verdict_is_believed_by_who_judged_again() {
    let roster = roster();
    let session = SessionId { node: NodeTag(1), boot: 1, counter: 1 };
    let proposal = Proposal {
        session_sequence: SessionSequence(1),
        operation: Operation::Put,
        precondition: Precondition::Absent,
        durability: Durability::DiskQuorum,
        key: b"key",
        value: b"value",
    };
    let record = Record::of(Sequence(1), session, &proposal, Verdict::Accept);
    let mut builder = BlockBuilder::with_limits(1024, 4);
    builder.push(&record).expect("has room");
    let place = header(1, 1, 1, 1, 1);
    let block = builder.seal(HeaderParts {
        cluster: place.cluster,
        shard: place.shard,
        epoch: place.epoch,
        parent: place.parent,
        arbitrators: place.arbitrators,
        time: place.time,
        leader: place.leader,
    });
    let record = builder.records_bytes().to_vec();
    let charge = watch().charge_verdict(signed(&node(1), block), record, vec![]);
    let report = SignedEvidence::sign(charge, &node(0));
    assert_eq!(watch().accept(report.clone(), false, &roster), Err(ReportRefused::NotJudged)); // [P-103]
    assert_eq!(watch().accept(report, true, &roster), Ok(id(1)));
}

#[test]
fn what_lies_further_back_than_the_window_is_forgotten_and_nothing_nearer() {
    for (distance, convicts) in [(WATCH_WINDOW as u64, false), (WATCH_WINDOW as u64 - 1, true)] {
        let (mut watch, roster) = (watch(), roster());
        v(1, 1, 1).show(&mut watch, &roster);
        for sequence in 2..2 + distance {
            assert_eq!(v(1, sequence, 1).show(&mut watch, &roster), None);
        }
        assert_eq!(v(1, 1, 2).show(&mut watch, &roster).is_some(), convicts, "{distance} between");
    }
}

#[test]
fn one_key_displaces_nothing_of_another() {
    let (mut watch, roster) = (watch(), roster());
    g(5, 2).show(&mut watch, &roster);
    for epoch in 0..1_000 {
        by_2(g(epoch, 0)).show(&mut watch, &roster);
        Seen::Grant(signed(&node(9), grant(9, epoch, 0))).show(&mut watch, &roster);
    }
    assert!(g(5, 0).show(&mut watch, &roster).is_some());
}

#[test]
fn watching_allocates_nothing_until_it_finds_something() {
    let (mut watch, roster) = (watch(), roster());
    let seen: Vec<Seen> =
        (1..200).flat_map(|at| [h(1, at, 1, 1), v(1, at, 1), by_2(v(1, at, 1)), g(at, 2)]).collect();
    let counted = allocation_counter::measure(|| {
        seen.iter().for_each(|statement| assert!(statement.show(&mut watch, &roster).is_none()));
    });
    assert_eq!(counted.count_total, 0);
}

/// Statements signed once, true and forged, of two keys; schedules draw from them.
fn pool() -> &'static [(Seen, bool)] {
    static POOL: std::sync::OnceLock<Vec<(Seen, bool)>> = std::sync::OnceLock::new();
    POOL.get_or_init(|| {
        let mut pool = Vec::new();
        for epoch in 1..3 {
            for variant in 1..3 {
                pool.extend((1..4).map(|first| h(epoch, first, 1 + (first as u32 % 2), variant)));
                pool.extend((1..4).map(|sequence| v(epoch, sequence, variant)));
                pool.push(g(epoch, 2 * (variant - 1)));
            }
        }
        let others: Vec<Seen> = pool.iter().map(|seen| by_2(*seen)).collect();
        pool.extend(others);
        let forged = pool.clone().into_iter().map(|seen| (forge(seen), false));
        pool.iter().map(|seen| (*seen, true)).chain(forged).collect()
    })
}

/// What two statements convict of, found the plain way.
fn contradict(one: &Seen, other: &Seen) -> bool {
    let one = match (one, other) {
        (Seen::Header(one), Seen::Header(other)) => Proof::TwoHeaders(*one, *other),
        (Seen::Vote(one), Seen::Vote(other)) => Proof::TwoVotes(*one, *other),
        (Seen::Grant(one), Seen::Grant(other)) => Proof::TwoGrants(*one, *other),
        _ => return false,
    };
    Evidence { cluster: genesis().cluster(), shard: SHARD, proof: one, reporter: id(0) }.check().is_ok()
}

/// Which pairs of the pool convict, looked up instead of verified anew for every schedule.
fn table() -> &'static [Vec<bool>] {
    static TABLE: std::sync::OnceLock<Vec<Vec<bool>>> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| {
        let pool = pool();
        pool.iter().map(|(one, _)| pool.iter().map(|(other, _)| contradict(one, other)).collect()).collect()
    })
}

fn schedules() -> u32 {
    if std::env::var_os("IO_OI_NIGHTLY").is_some() { 100_000 } else { 4_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: schedules(), failure_persistence: None, ..ProptestConfig::default() })]

    /// In any schedule, evidence is found at exactly the first statement that contradicts a true earlier one of its key.
    #[test]
    fn any_schedule_convicts_exactly_the_liars(
        draws in proptest::collection::vec(any::<prop::sample::Index>(), 1..16),
    ) {
        let (mut watch, roster) = (watch(), roster());
        let mut seen: Vec<usize> = Vec::new();
        let mut convicted = [false; 2];
        for draw in draws {
            let at = draw.index(pool().len());
            let (statement, is_true) = pool()[at];
            let signer = usize::from(is_by_2(&statement));
            let expected =
                is_true && !convicted[signer] && seen.iter().any(|earlier| table()[*earlier][at]);
            let found = statement.show(&mut watch, &roster);
            prop_assert_eq!(found.is_some(), expected);
            if let Some(evidence) = found {
                let accused = watch.accept(SignedEvidence::sign(evidence, &node(0)), false, &roster);
                prop_assert_eq!(accused, Ok(id(1 + signer as u8)));
                convicted[signer] = true;
            }
            seen.push(at);
        }
    }
}

fn is_by_2(seen: &Seen) -> bool {
    match seen {
        Seen::Header(header) => header.statement.leader == id(2),
        Seen::Vote(vote) => vote.statement.voter == id(2),
        Seen::Grant(grant) => grant.statement.voter == id(2),
    }
}
