//! A leader's verdict is judged again; one that is wrong convicts it, once it stands under its signature. [P-36] [P-103]

mod support;

use io_oi_record::evidence::{Proof, Signed};
use io_oi_record::message::{BlockMessage, Commit, SealMessage};
use io_oi_record::*;
use io_oi_shard::{AppendIndex, Effect, Event, LogKind, Machine, MuteReason, Notice};
use support::{CLUSTER, SHARD, config_of, genesis_of, signer};

/// The node under test is the second member; this one leads.
fn liar() -> Signer {
    Signer::from_secret(&[40; 32])
}

fn other() -> Signer {
    Signer::from_secret(&[41; 32])
}

/// A follower of three, and what it did.
struct Follower {
    machine: Machine,
    now: Now,
    sent: Vec<(NodeId, Vec<u8>)>,
    appended: Vec<LogKind>,
    notices: Vec<Notice>,
}

impl Follower {
    fn new() -> Follower {
        let genesis = genesis_of(&[liar().node(), signer().node(), other().node()]);
        let machine = Machine::new(config_of(1, &genesis)).expect("a sound configuration");
        let now = Now::at(Nanos(1_000_000_000));
        let mut follower =
            Follower { machine, now, sent: Vec::new(), appended: Vec::new(), notices: Vec::new() };
        follower.machine.start(now);
        follower.drain();
        follower
    }

    /// Performs every effect: the judge here accepts everything, and every flush succeeds at once.
    fn drain(&mut self) {
        loop {
            let mut event = None;
            match self.machine.poll_effect() {
                None => break,
                Some(Effect::Judge { sequence, .. }) => {
                    event = Some(Event::Judged { sequence, verdict: Verdict::Accept });
                }
                Some(Effect::Append { index, kind, .. }) => {
                    self.appended.push(kind);
                    event = Some(Event::Durable { through: AppendIndex(index.0) });
                }
                Some(Effect::Send { to, bytes, .. }) => self.sent.push((to, bytes.to_vec())),
                Some(_) => {}
            }
            if let Some(event) = event {
                self.machine.handle(self.now, event);
            }
        }
        while let Some(notice) = self.machine.poll_notice() {
            self.notices.push(notice);
        }
    }

    fn receive(&mut self, message: &Message<'_>) {
        let mut bytes = vec![0; message.encoded_bytes()];
        message.encode(CLUSTER, SHARD, Epoch(1), &mut bytes).expect("fits");
        self.machine.handle(self.now, Event::Received { from: liar().node(), bytes: &bytes });
        self.drain();
    }

    /// The messages sent lately, of one kind each.
    fn heard<T>(&self, pick: impl Fn(Message<'_>) -> Option<T>) -> Vec<T> {
        let decoded = self.sent.iter().filter_map(|(_, bytes)| Message::decode(bytes, CLUSTER, SHARD).ok());
        decoded.filter_map(|(_, message)| pick(message)).collect()
    }

    fn acknowledged(&self) -> Sequence {
        let durable = self.heard(|message| match message {
            Message::Ack(ack) => Some(ack.durable),
            _ => None,
        });
        durable.into_iter().max().unwrap_or(Sequence::NONE)
    }
}

/// The first block of epoch 1: its start record, a session, and a put that is accepted or, falsely, refused.
fn block(verdict: Verdict) -> (BlockHeader, Vec<u8>) {
    let session = SessionId { node: liar().node().tag(), boot: 1, counter: 1 };
    let start = Record {
        sequence: Sequence(1),
        session: SessionId::of_node(liar().node().tag(), 1),
        session_sequence: SessionSequence::NONE,
        operation: Operation::StartEpoch,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: b"",
        value: b"",
    };
    let open = Record { sequence: Sequence(2), session, operation: Operation::OpenSession, ..start };
    let put = Record {
        sequence: Sequence(3),
        session,
        session_sequence: SessionSequence(1),
        operation: Operation::Put,
        verdict,
        key: b"key",
        value: b"value",
        ..start
    };
    let mut builder = BlockBuilder::with_limits(4096, 16);
    [start, open, put].iter().for_each(|record| builder.push(record).expect("has room"));
    let header = builder.seal(HeaderParts {
        cluster: CLUSTER,
        shard: SHARD,
        epoch: Epoch(1),
        parent: Hash::ZERO,
        arbitrators: Hash::ZERO,
        time: Nanos(1_000_000_000),
        leader: liar().node(),
    });
    (header, builder.bytes().to_vec())
}

fn block_message(block: &[u8]) -> Message<'_> {
    let (committed, round) = (Sequence::NONE, Round::FIRST);
    Message::Block(BlockMessage { committed, round, wants_held: false, wants_votes: true, block })
}

fn seal_message(header: &BlockHeader) -> Message<'static> {
    Message::Seal(SealMessage {
        last_sequence: header.last_sequence(),
        header_hash: header.hash(),
        signature: liar().sign(header),
    })
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
