//! A node waits for the judge that the log names, and shows nothing of what it cannot check; it accuses nobody. [P-97]

mod support;

use io_oi_record::governance::{ArbitratorChoice, Change, Governance};
use io_oi_record::hash::Domain;
use io_oi_record::*;
use io_oi_shard::{Admission, Event, Notice};
use support::follower::{Follower, block_message, first_block, liar, record, seal_message};
use support::{genesis_of, signer};

const COMPONENT: &[u8] = b"a component of one part";
/// What the follower under test judges by.
const VERSIONS: JudgeVersions = JudgeVersions { seal: 0, costs: 0, engine: [0; 3] };

fn component() -> Hash {
    Domain::Arbitrator.hash(COMPONENT)
}

fn govern(number: u64, change: Change, payload: &[u8]) -> Vec<u8> {
    let cluster = genesis_of(&[liar().node(), signer().node(), support::follower::other().node()]).cluster();
    let (time, operator) = (Nanos(number), signer());
    let governance = Governance { cluster, number, time, change, operator: operator.operator() };
    Shipment { signed: SignedGovernance::sign(governance, &operator), payload }.encode().expect("short")
}

/// One block: a component is stored and seated below `a/`, then a key below it is written, and one elsewhere.
fn block(versions: JudgeVersions) -> (BlockHeader, Vec<u8>) {
    let store = govern(1, Change::StorePart(ComponentPart::of(component(), COMPONENT)), COMPONENT);
    let choice =
        ArbitratorChoice { prefix: b"a/".to_vec(), arbitrator: component(), is_shadow: false, versions };
    let seat = govern(2, Change::SetArbitrator(choice), &[]);
    first_block(&[
        Record { value: &store, ..record(3, 0, 1, Operation::Govern) },
        Record { value: &seat, ..record(4, 0, 2, Operation::Govern) },
        Record { key: b"a/k", value: b"v", ..record(5, 1, 1, Operation::Put) },
        Record { key: b"b/k", value: b"v", ..record(6, 1, 2, Operation::Put) },
    ])
}

/// A follower that holds the block under its seal, and has been asked to admit the component.
fn follower(versions: JudgeVersions) -> Follower {
    let mut follower = Follower::new();
    let (header, bytes) = block(versions);
    follower.receive(&block_message(&bytes));
    follower.receive(&seal_message(&header));
    assert!(follower.notices.contains(&Notice::ComponentsChanged));
    assert_eq!(follower.machine.next_to_admit(), Some((component(), COMPONENT.to_vec())));
    assert_eq!(follower.machine.next_to_admit(), None, "it is handed out once");
    follower
}

fn admit(follower: &mut Follower, is_admitted: bool) {
    follower.machine.handle(follower.now, Event::Admitted { component: component(), is_admitted });
    follower.drain();
}

#[test]
fn records_wait_for_their_judge_and_then_are_judged() {
    let mut follower = follower(VERSIONS);
    assert_eq!(follower.machine.admission(component()), Some(Admission::Pending));
    assert_eq!((follower.judged.as_slice(), follower.shown.as_slice()), (&[][..], &[][..]));
    admit(&mut follower, true);
    assert_eq!(follower.judged, [Sequence(5), Sequence(6)]);
    assert_eq!(follower.shown, [b"a/k".to_vec(), b"b/k".to_vec()]);
}

fn assert_withheld(follower: &Follower) {
    assert_eq!(follower.judged, [Sequence(6)], "nobody is asked who cannot answer");
    assert_eq!(follower.shown, [b"b/k".to_vec()], "the other keys go on");
    assert_eq!(follower.acknowledged(), Sequence(6), "holding bytes is no verdict");
    assert_eq!(follower.machine.evidence().count(), 0, "and no charge");
    assert_eq!(follower.machine.counters().records_withheld, 1);
    let said = Notice::CannotJudge { component: component(), sequence: Sequence(5) };
    assert!(follower.notices.contains(&said));
}

#[test]
fn what_a_refused_component_judges_is_not_shown() {
    let mut follower = follower(VERSIONS);
    admit(&mut follower, false);
    assert_withheld(&follower);
}

#[test]
fn a_component_that_is_seated_by_other_versions_does_not_judge_here() {
    let mut follower = follower(JudgeVersions { costs: 1, ..VERSIONS });
    admit(&mut follower, true);
    assert_withheld(&follower);
}
