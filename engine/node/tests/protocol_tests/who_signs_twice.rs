//! A member that signs two things that no honest node can both sign is convicted on every honest node.
//!
//! The test holds the member's key and speaks in its name: as a voter, and as the leader of an epoch that the others
//! granted it.

use std::time::{Duration, Instant};

use io_oi_record::attach::Inquiry;
use io_oi_record::evidence::{Signed, SignedEvidence};
use io_oi_record::governance::{Barring, Change};
use io_oi_record::message::{BallotMessage, BlockMessage, Message, SealMessage};
use io_oi_record::{
    Ballot, BallotGrant, BlockBuilder, BlockHeader, Durability, Epoch, Hash, HeaderParts, Nanos, NodeId,
    Operation, Precondition, Record, Round, Sequence, SessionId, SessionSequence, ShardId, Signer, Verdict,
    Vote,
};

use crate::cluster::impostor::Impostor;
use crate::cluster::{Cluster, Plan};
use crate::support::{put, soon};

/// Its place; the others are honest.
const LIAR: usize = 2;

struct Court {
    cluster: Cluster,
    liar: Impostor,
    key: Signer,
    honest: [NodeId; 2],
}

impl Court {
    fn convene() -> Self {
        let mut cluster = Cluster::found(Plan::of(3));
        cluster.start_nodes(&[0, 1]);
        let liar = Impostor::enter(&cluster, LIAR);
        let honest = [cluster.node_id(0), cluster.node_id(1)];
        liar.wait_for(&honest);
        let leader = cluster.wait_for_leader(0);
        assert!(put(&mut cluster.attach(leader), b"before", b"the lie").is_accepted());
        let key = cluster.signer(LIAR);
        Self { cluster, liar, key, honest }
    }

    /// The newest header that the liar heard of, with the epoch of its leader.
    fn newest_header(&self) -> BlockHeader {
        self.cluster.wait_for("a block that the liar holds", |_| {
            let heard = self.liar.heard();
            let header = |bytes: &[u8]| match Message::decode(bytes, self.liar.cluster, ShardId(0)) {
                Ok((_, Message::Block(message))) => {
                    BlockHeader::decode_first(message.block).ok().map(|found| found.0)
                }
                _ => None,
            };
            let headers = heard.iter().filter_map(|heard| header(&heard.bytes));
            headers.max_by_key(|header| (header.epoch, header.first_sequence))
        })
    }

    /// Every honest node convicts by itself; the proof stands without them; the key is out.
    fn assert_convicted(mut self, kind: &str) {
        for place in [0, 1] {
            let exported = self.export(place, kind);
            let evidence = SignedEvidence::decode(&exported).expect("the exported file is evidence").evidence;
            assert_eq!(evidence.cluster, self.cluster.genesis.genesis.cluster());
            assert_eq!(
                evidence.check(),
                Ok(self.key.node()),
                "the evidence of node {place} convicts the liar"
            );
        }
        self.cluster.wait_for("both nodes hang up on the liar", |_| {
            self.honest.iter().all(|node| !self.liar.is_connected(*node)).then_some(())
        });
        let leader = self.cluster.wait_for_leader_other_than(0, &[LIAR]);
        assert!(put(&mut self.cluster.attach(leader), b"after", b"the lie").is_accepted());
        self.make_it_final(leader);
        self.cluster.wait_until_equal();
        self.assert_out();
    }

    fn export(&self, place: usize, kind: &str) -> Vec<u8> {
        let hash: Hash = self.cluster.wait_for("evidence on every honest node", |cluster| {
            let answer = cluster.ask_json(place, Inquiry::Evidence)?;
            let found = answer["evidence"].as_array().expect("a list").iter().find(|found| {
                assert_eq!(
                    found["accused"],
                    self.key.node().to_string(),
                    "somebody honest is accused: {answer}"
                );
                found["kind"] == kind
            })?;
            Some(found["hash"].as_str().expect("a hash").parse().expect("a hash"))
        });
        self.cluster.ask(place, Inquiry::EvidenceExport(hash)).expect("it was listed a moment ago")
    }

    /// The operator's word makes a bar of what the nodes did by themselves.
    fn make_it_final(&self, leader: usize) {
        let number = self.cluster.status(leader, 0).expect("the leader answers").governance + 1;
        let exported = self.export(leader, self.kind_found(leader).as_str());
        let evidence = SignedEvidence::decode(&exported).expect("evidence").evidence.hash();
        let bar = Change::Bar(Barring { node: self.key.node(), evidence });
        let receipt = self.cluster.govern_at(leader, 0, number, bar).expect("the leader answers");
        assert!(receipt.is_accepted(), "{receipt:?}");
    }

    fn kind_found(&self, place: usize) -> String {
        let answer = self.cluster.ask_json(place, Inquiry::Evidence).expect("the node answers");
        answer["evidence"][0]["kind"].as_str().expect("a kind").to_owned()
    }

    /// After restarts, too: the real node with this key does not get in, never leads, and its word is not missed.
    fn assert_out(&mut self) {
        let Self { cluster, liar, honest, .. } = self;
        for place in [0, 1] {
            cluster.kill(place);
            cluster.start_nodes(&[place]);
        }
        cluster.wait_for_leader(0);
        std::thread::sleep(Duration::from_secs(1)); // Time for several tries to connect.
        assert!(honest.iter().all(|node| !liar.is_connected(*node)), "a barred key connects after a restart");
        assert!(cluster.leader(0) != Some(LIAR));
        let leader = cluster.wait_for_leader(0);
        assert!(put(&mut cluster.attach(leader), b"without", b"the liar").is_accepted());
    }
}

#[test]
fn a_voter_that_acknowledges_two_blocks_at_one_place_is_convicted() {
    let _alone = crate::one_cluster_at_a_time();
    let court = Court::convene();
    let header = court.newest_header();
    let honest = Vote::of(&header, court.key.node());
    let lie = Vote { block: Hash([9; 32]), ..honest };
    for vote in [honest, lie] {
        let signed = Signed { statement: vote, signature: court.key.sign(&vote) };
        // One hears it; the other has to learn of it from him.
        court.liar.say_message(court.honest[0], header.epoch.0, &Message::Vote(signed));
    }
    court.assert_convicted("two-votes");
}

#[test]
fn a_voter_that_grants_one_epoch_twice_is_convicted() {
    let _alone = crate::one_cluster_at_a_time();
    let court = Court::convene();
    let header = court.newest_header();
    for candidate in court.honest {
        let grant = BallotGrant {
            cluster: header.cluster,
            shard: ShardId(0),
            epoch: header.epoch,
            candidate,
            voter: court.key.node(),
        };
        let signed = Signed { statement: grant, signature: court.key.sign(&grant) };
        court.liar.say_message(court.honest[1], header.epoch.0, &Message::Grant(signed));
    }
    court.assert_convicted("two-grants");
}

#[test]
fn a_leader_that_signs_two_histories_is_convicted() {
    let _alone = crate::one_cluster_at_a_time();
    let court = Court::convene();
    // The honest nodes hear nobody but the liar: they can only follow him.
    let tip = quiet_tip(&court);
    court.cluster.part(&[0], &[1]);
    let epoch = win_an_epoch(&court, &tip);
    let histories = [start_of_epoch(&court.key, &tip, epoch, 1), start_of_epoch(&court.key, &tip, epoch, 2)];
    assert_ne!(histories[0].0.hash(), histories[1].0.hash());
    for _ in 0..10 {
        tell_histories(&court, epoch, &histories);
        std::thread::sleep(Duration::from_millis(30));
    }
    for (place, (header, _)) in histories.iter().enumerate() {
        let status = court.cluster.status(place, 0).expect("the node answers");
        assert_eq!(
            (status.epoch, status.tip),
            (epoch.0, header.last_sequence().0),
            "node {place} follows the liar"
        );
        assert_eq!(status.evidence, 0, "nobody can know yet");
    }
    court.cluster.mend_all();
    let deadline = soon();
    while court
        .cluster
        .awake()
        .iter()
        .any(|place| court.cluster.status(*place, 0).is_none_or(|status| status.evidence == 0))
    {
        assert!(Instant::now() < deadline, "two histories stay unnoticed");
        tell_histories(&court, epoch, &histories);
        std::thread::sleep(Duration::from_millis(30));
    }
    court.assert_convicted("two-headers");
}

/// Each honest node hears its own history, block and seal.
fn tell_histories(court: &Court, epoch: Epoch, histories: &[(BlockHeader, Vec<u8>); 2]) {
    for (node, (header, block)) in court.honest.iter().zip(histories) {
        let message = BlockMessage {
            committed: Sequence(0),
            round: Round(1),
            wants_held: false,
            wants_votes: true,
            block,
        };
        court.liar.say_message(*node, epoch.0, &Message::Block(message));
        let seal = SealMessage {
            last_sequence: header.last_sequence(),
            header_hash: header.hash(),
            signature: court.key.sign(header),
        };
        court.liar.say_message(*node, epoch.0, &Message::Seal(seal));
    }
}

/// The newest block of all, once everybody holds it and nothing moves.
fn quiet_tip(court: &Court) -> BlockHeader {
    court.cluster.wait_for("the liar holds what everybody holds", |cluster| {
        cluster.wait_until_equal();
        let (tip, header) = (cluster.status(0, 0)?.tip, court.newest_header());
        (header.last_sequence().0 == tip).then_some(header)
    })
}

/// Asks until both grant the liar an epoch: the old leader steps down when nobody answers him any more.
fn win_an_epoch(court: &Court, tip: &BlockHeader) -> Epoch {
    let deadline = soon();
    for epoch in tip.epoch.0 + 1.. {
        assert!(
            Instant::now() < deadline,
            "nobody grants the liar epoch {epoch}: {:?}, he heard {:?}",
            court.cluster.awake().iter().map(|place| court.cluster.status(*place, 0)).collect::<Vec<_>>(),
            last_words(court)
        );
        let ballot = Ballot {
            cluster: tip.cluster,
            shard: ShardId(0),
            epoch: Epoch(epoch),
            tip_epoch: tip.epoch,
            tip_sequence: tip.last_sequence(),
            tip: tip.hash(),
            appointment: 0,
            candidate: court.key.node(),
        };
        let ballot = Signed { statement: ballot, signature: court.key.sign(&ballot) };
        let message = BallotMessage { ballot, hand_over_round: Round(0), appointment: None };
        for node in court.honest {
            court.liar.say_message(node, epoch, &Message::Ballot(message));
        }
        std::thread::sleep(Duration::from_millis(100));
        if court.honest.iter().all(|node| has_granted(court, *node, epoch)) {
            return Epoch(epoch);
        }
    }
    unreachable!("epochs do not end");
}

/// What the honest nodes said last, other than pre-votes.
fn last_words(court: &Court) -> Vec<String> {
    let heard = court.liar.heard();
    let words = heard.iter().rev().filter_map(|heard| {
        let (epoch, message) = Message::decode(&heard.bytes, court.liar.cluster, ShardId(0)).ok()?;
        Some(format!("{epoch:?} {:?} of {}", message.noun(), heard.from))
    });
    words.take(12).collect()
}

fn has_granted(court: &Court, voter: NodeId, epoch: u64) -> bool {
    court.liar.heard().iter().any(|heard| {
        let message = Message::decode(&heard.bytes, court.liar.cluster, ShardId(0));
        let Ok((_, Message::Grant(grant))) = message else { return false };
        let said = grant.statement;
        said.epoch.0 == epoch && said.candidate == court.key.node() && said.voter == voter
    })
}

/// The block that begins an epoch; `salt` makes it another one.
fn start_of_epoch(key: &Signer, tip: &BlockHeader, epoch: Epoch, salt: u64) -> (BlockHeader, Vec<u8>) {
    let mut builder = BlockBuilder::new();
    let record = Record {
        sequence: Sequence(tip.last_sequence().0 + 1),
        session: SessionId::of_node(key.node().tag(), 1),
        session_sequence: SessionSequence::NONE,
        operation: Operation::StartEpoch,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: &[],
        value: &[],
        effects: io_oi_record::Effects::NONE,
    };
    builder.push(&record).expect("an empty block has room");
    let header = builder.seal(HeaderParts {
        cluster: tip.cluster,
        shard: tip.shard,
        epoch,
        parent: tip.hash(),
        arbitrators: tip.arbitrators,
        time: Nanos(tip.time.0 + salt),
        leader: key.node(),
    });
    (header, builder.bytes().to_vec())
}
