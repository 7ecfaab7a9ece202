//! A leader's verdict is judged again; one that is wrong convicts it, once it stands under its signature. [P-36] [P-103]

mod support;

use io_oi_record::evidence::{Proof, Signed};
use io_oi_record::message::{Commit, SealMessage};
use io_oi_record::*;
use io_oi_shard::{Event, LogKind, MuteReason, Notice};
use support::follower::{Follower, block_message, first_block, liar, other, record, seal_message};

/// The first block of epoch 1: its start record, a session, and a put that is accepted or, falsely, refused.
fn block(verdict: Verdict) -> (BlockHeader, Vec<u8>) {
    first_block(&[Record { verdict, key: b"key", value: b"value", ..record(3, 1, 1, Operation::Put) }])
}

const WRONG: Verdict = Verdict::Refuse(RefusalCode::PreconditionFailed);

#[test]
fn a_true_verdict_is_acknowledged_and_nobody_is_accused() {
    let mut follower = Follower::new();
    let (header, bytes) = block(Verdict::Accept);
    follower.receive(&block_message(&bytes));
    assert_eq!(follower.acknowledged(), Sequence::NONE, "the seal is not here yet");
    follower.receive(&seal_message(&header));
    assert_eq!(follower.acknowledged(), Sequence(3));
    assert_eq!(follower.machine.evidence().count(), 0);
}

#[test]
fn a_wrong_verdict_convicts_once_it_is_signed() {
    let mut follower = Follower::new();
    let (header, bytes) = block(WRONG);
    follower.receive(&block_message(&bytes));
    assert_eq!(follower.machine.counters().verdicts_contradicted, 1);
    assert_eq!(follower.machine.evidence().count(), 0, "an unsigned header convicts nobody");
    let asked = follower.heard(|message| match message {
        Message::WantHeader(question) => Some(question.sequence),
        _ => None,
    });
    assert!(asked.contains(&Sequence(3)), "somebody may have the signature");
    follower.receive(&seal_message(&header));
    let report = follower.machine.evidence().next().expect("convicted").clone();
    assert_eq!(report.check(), Ok(liar().node()));
    assert!(matches!(report.evidence.proof, Proof::WrongVerdict { .. }));
    assert!(follower.machine.is_barred(liar().node()) && follower.machine.leader().is_none());
    assert!(follower.appended.contains(&LogKind::Evidence));
    assert_eq!(follower.acknowledged(), Sequence::NONE);
    let told = follower.heard(|message| matches!(message, Message::Evidence(_)).then_some(()));
    assert!(!told.is_empty(), "everybody is told");
    let found = |notice: &Notice| matches!(notice, Notice::EvidenceFound { accused, .. } if *accused == liar().node());
    assert!(follower.notices.iter().any(found));
    assert!(!follower.notices.iter().any(|notice| matches!(notice, Notice::Mute { .. })));
}

#[test]
fn a_forged_seal_convicts_nobody() {
    let mut follower = Follower::new();
    let (header, bytes) = block(WRONG);
    follower.receive(&block_message(&bytes));
    let forged = SealMessage {
        last_sequence: header.last_sequence(),
        header_hash: header.hash(),
        signature: other().sign_as_witness(&header),
    };
    follower.receive(&Message::Seal(forged));
    assert_eq!(follower.machine.evidence().count(), 0);
    // The signature comes by another way: somebody who has it answers.
    follower.receive(&Message::Header(Signed { statement: header, signature: liar().sign(&header) }));
    assert_eq!(follower.machine.evidence().count(), 1);
}

#[test]
fn a_leader_that_does_not_sign_what_is_in_doubt_is_followed_no_longer() {
    let mut follower = Follower::new();
    let (header, bytes) = block(WRONG);
    follower.receive(&block_message(&bytes));
    let beat = |round| {
        Message::Commit(Commit {
            committed: Sequence::NONE,
            committed_hash: Hash::ZERO,
            tip: header.last_sequence(),
            tip_hash: header.hash(),
            round: Round(round),
            certified: Sequence::NONE,
        })
    };
    let mut stale = 0;
    for round in 2..40 {
        follower.now.mono = follower.now.mono.saturating_add(20_000_000);
        follower.receive(&beat(round));
        follower.machine.handle(follower.now, Event::Elapsed);
        follower.drain();
        stale = follower.machine.counters().messages_stale;
    }
    assert!(stale > 10, "its heartbeats count no more: {stale}");
    assert_ne!(follower.machine.leader(), Some(liar().node()), "another is looked for");
    assert_eq!(follower.acknowledged(), Sequence::NONE);
    assert_eq!(follower.machine.mute(), None::<MuteReason>);
}
