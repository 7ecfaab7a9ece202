//! A candidate takes a block over when so many voters offer it that no quorum is without one of them; a voter that was convicted
//! since is part of no quorum, so what it had offered counts for nothing. [P-48] [P-93]

mod support;

use io_oi_record::evidence::{Evidence, Proof, Signed, SignedEvidence};
use io_oi_record::message::BlockMessage;
use io_oi_record::*;
use io_oi_shard::{Event, Role};
use support::follower::{Follower, first_block, liar, other, record};
use support::{CLUSTER, SHARD, signer};

fn voter(number: u8) -> Signer {
    Signer::from_secret(&[50 + number; 32])
}

/// `other` has promised one epoch to two candidates.
fn report() -> SignedEvidence {
    let grant = |candidate: &Signer| {
        let (epoch, candidate, voter) = (Epoch(9), candidate.node(), other().node());
        let statement = BallotGrant { cluster: CLUSTER, shard: SHARD, epoch, candidate, voter };
        Signed { statement, signature: other().sign(&statement) }
    };
    let proof = Proof::TwoGrants(grant(&voter(0)), grant(&voter(1)));
    let evidence = Evidence { cluster: CLUSTER, shard: SHARD, proof, reporter: voter(1).node() };
    SignedEvidence::sign(evidence, &voter(1))
}

#[test]
fn what_it_offered_before_counts_for_nothing() {
    let members = [&liar(), &signer(), &other(), &voter(0), &voter(1)].map(Signer::node);
    let mut candidate = Follower::among(&members);
    candidate.now.mono = candidate.now.mono.saturating_add(60_000_000_000);
    candidate.machine.handle(candidate.now, Event::Elapsed);
    candidate.drain();
    assert_eq!(candidate.machine.role(), Role::PreVoting);
    let put = Record { key: b"key", value: b"value", ..record(3, 1, 1, Operation::Put) };
    let (_, block) = first_block(&[put]);
    let offer = Message::Block(BlockMessage {
        committed: Sequence::NONE,
        round: Round::NONE,
        wants_held: false,
        wants_votes: false,
        block: &block,
    });
    candidate.receive_from(other().node(), &offer);
    let evidence = report().encode().expect("short");
    candidate.receive_from(voter(1).node(), &Message::Evidence(&evidence));
    assert!(candidate.machine.is_barred(other().node()));
    candidate.receive_from(voter(0).node(), &offer);
    // Three of the four that count are a quorum, and three of them have not offered it.
    assert_eq!(candidate.machine.last_sequence(), Sequence::NONE);
    candidate.receive_from(voter(1).node(), &offer);
    assert_eq!(candidate.machine.last_sequence(), Sequence(3));
}
