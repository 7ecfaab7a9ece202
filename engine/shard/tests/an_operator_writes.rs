//! An operator writes a key himself: signed, numbered, judged like every write, and in force in the record that carries it.
//! [P-98]

mod support;

use io_oi_record::evidence::Proof;
use io_oi_record::governance::{Change, Governance};
use io_oi_record::*;
use io_oi_shard::PublishStage::{Committed, Tentative};
use io_oi_shard::{Event, Origin};
use support::follower::{Follower, block_message, first_block, liar, other, record, seal_message};
use support::*;

const KEY: &[u8] = b"account";

/// A write under a number, as the operator of these members signs it.
fn signed(members: &[NodeId], number: u64, operator: &Signer, write: &Proposal<'_>) -> Vec<u8> {
    let (change, payload) = Change::write(write).expect("short");
    let (cluster, time) = (genesis_of(members).cluster(), Nanos(number));
    let governance = Governance { cluster, number, time, change, operator: operator.operator() };
    let signed = SignedGovernance::sign(governance, operator);
    Shipment { signed, payload: &payload }.encode().expect("short")
}

fn write_by(world: &mut World, number: u64, operator: &Signer, write: &Proposal<'_>) -> Receipt {
    let value = signed(&[signer().node()], number, operator, write);
    let proposal = Proposal {
        session_sequence: SessionSequence(number),
        operation: Operation::Govern,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: &[],
        value: &value,
    };
    let session = SessionId::of_node(signer().node().tag(), 1);
    world.handle(Event::Submitted { origin: Origin::Node, session, proposal });
    world.settle();
    world.only_reply()
}

fn write(world: &mut World, number: u64, write: &Proposal<'_>) -> Receipt {
    write_by(world, number, &signer(), write)
}

#[test]
fn it_is_shown_and_kept_like_every_other_write() {
    let mut world = World::leading();
    let receipt = write(&mut world, 1, &put(1, KEY, b"limits"));
    assert!(receipt.is_accepted());
    let shown = |stage| (stage, KEY.to_vec(), Some(b"limits".to_vec()), receipt.sequence);
    assert_eq!(world.shown, [shown(Tentative), shown(Committed)]);
    assert!(write(&mut world, 2, &delete(1, KEY)).is_accepted());
    assert_eq!(world.committed[KEY].1, None);
    assert!(write(&mut world, 3, &put(1, KEY, b"again")).is_accepted());
    let mut again = World::boot_on(2, world.log).expect("a sound log");
    again.settle();
    assert_eq!(again.committed[KEY].1.as_deref(), Some(&b"again"[..]), "the log says all of it");
    assert_eq!(again.machine.roster().number(), 3);
}

#[test]
fn nobody_else_writes_in_his_name() {
    let mut world = World::leading();
    let tip = world.machine.last_sequence();
    let stranger = write_by(&mut world, 1, &other(), &put(1, KEY, b"limits"));
    assert_eq!(refused(&stranger), Some(RefusalCode::GovernanceUnsigned));
    assert!(write(&mut world, 1, &put(1, KEY, b"limits")).is_accepted());
    let session = session(1);
    let value = signed(&[signer().node()], 1, &signer(), &put(1, KEY, b"limits"));
    let replay = Proposal { operation: Operation::Govern, key: &[], ..put(9, b"", &value) };
    world.handle(Event::Submitted { origin: Origin::Client, session, proposal: replay });
    assert_eq!(
        refused(&world.only_reply()),
        Some(RefusalCode::GovernanceNumber),
        "a copy is no second write"
    );
    assert_eq!(world.machine.last_sequence(), Sequence(tip.0 + 1));
}

#[test]
fn what_is_refused_has_its_place_and_its_number_and_writes_nothing() {
    let mut world = World::leading();
    assert!(write(&mut world, 1, &put(1, KEY, b"limits")).is_accepted());
    world.shown.clear();
    let absent = Proposal { precondition: Precondition::Absent, ..put(1, KEY, b"others") };
    let receipt = write(&mut world, 2, &absent);
    assert_eq!(refused(&receipt), Some(RefusalCode::PreconditionFailed));
    assert!(!receipt.sequence.is_none() && world.shown.is_empty());
    assert_eq!(world.machine.roster().number(), 2, "no shard waits for it for ever");
    assert!(write(&mut world, 3, &put(1, KEY, b"others")).is_accepted());
    World::boot_on(2, world.log).expect("a sound log");
}

#[test]
fn a_shard_without_the_key_holds_the_decision_alone() {
    let mut world = World::leading();
    world.is_elsewhere = true;
    assert!(write(&mut world, 1, &put(1, KEY, b"limits")).is_accepted());
    assert_eq!((world.shown.len(), world.machine.roster().number()), (0, 1));
}

/// A leader's first block whose third record is an operator's write of `KEY`, decided as told.
fn followed(verdict: Verdict, effects: &[Effect<'_>]) -> Follower {
    let members = [liar().node(), signer().node(), other().node()];
    let value = signed(&members, 1, &signer(), &put(1, KEY, b"limits"));
    let mut bytes = Vec::new();
    effects.iter().for_each(|effect| effect.encode(&mut bytes));
    let effects = Effects::check(&bytes).expect("well-shaped");
    let (header, block) =
        first_block(&[Record { verdict, value: &value, effects, ..record(3, 0, 1, Operation::Govern) }]);
    let mut follower = Follower::new();
    follower.receive(&block_message(&block));
    follower.receive(&seal_message(&header));
    follower
}

#[test]
fn a_follower_shows_what_it_has_judged_again() {
    let follower = followed(Verdict::AcceptWithWrites, &[Effect { key: KEY, value: Some(b"limits") }]);
    assert_eq!(
        (follower.judged.as_slice(), follower.shown.as_slice()),
        (&[Sequence(3)][..], &[KEY.to_vec()][..])
    );
    assert_eq!((follower.acknowledged(), follower.machine.evidence().count()), (Sequence(3), 0));
}

#[test]
fn a_leader_that_changes_what_was_signed_is_convicted() {
    let refused = Verdict::Refuse(RefusalCode::PreconditionFailed);
    let lies: [(Verdict, &[Effect<'_>]); 4] = [
        (Verdict::AcceptWithWrites, &[Effect { key: KEY, value: Some(b"no limits") }]),
        (Verdict::AcceptWithWrites, &[Effect { key: b"other", value: None }]),
        (Verdict::Accept, &[]), // As if another shard had the key.
        (refused, &[]),
    ];
    for (verdict, effects) in lies {
        let follower = followed(verdict, effects);
        let report = follower.machine.evidence().next().expect("convicted");
        assert_eq!(report.check(), Ok(liar().node()), "{verdict:?}");
        assert!(matches!(report.evidence.proof, Proof::WrongVerdict { .. }));
        assert_eq!(follower.acknowledged(), Sequence::NONE);
    }
}
