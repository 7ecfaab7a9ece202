//! One fixed, valid example of every noun, and how to read it back.

use io_oi_record::attach::{
    Answer, AttachRefusal, Hello, Inquiry, Packet, Refused, Resume, ShardDoor, Submission, Welcome,
};
use io_oi_record::evidence::{Evidence, Proof, Signed, SignedEvidence};
use io_oi_record::governance::{
    Appointment, ArbitratorChoice, Barring, Change, Governance, Limit, LimitChoice,
};
use io_oi_record::hash::Domain;
use io_oi_record::message::{
    Ack, BallotMessage, BlockMessage, Commit, Declined, Deny, EvidenceKept, FetchBlock, Forwarded, HandOver,
    PreVote, PreVoteAnswer, SealMessage, StateHash, Want, WantHeader,
};
use io_oi_record::proof::RecordProof;
use io_oi_record::token::TokenKey;
use io_oi_record::*;

/// An encoded noun and its decoder followed by its encoder.
pub(crate) struct Example {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) reread: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

pub(crate) fn leader() -> Signer {
    Signer::from_secret(&[1; 32])
}

pub(crate) fn voter() -> Signer {
    Signer::from_secret(&[2; 32])
}

pub(crate) fn operator() -> Signer {
    Signer::from_secret(&[3; 32])
}

pub(crate) fn session() -> SessionId {
    SessionId { node: leader().node().tag(), boot: 3, counter: 12 }
}

pub(crate) fn genesis() -> Genesis {
    let member = |signer: Signer, name: &str, address: &str| Member {
        node: signer.node(),
        name: name.into(),
        address: address.into(),
    };
    Genesis {
        members: vec![member(leader(), "alpha", "10.0.0.1:7100"), member(voter(), "beta", "10.0.0.2:7100")],
        operators: vec![operator().operator()],
        shards: 4,
        trust: TrustMode::Full,
        control: ControlMode::Competitive,
        hash_seed: *b"golden hash seed",
        arbitrators: Hash::ZERO,
        created: Nanos(1_700_000_000_000_000_000),
    }
}

pub(crate) fn proposal() -> Proposal<'static> {
    Proposal {
        session_sequence: SessionSequence(41),
        operation: Operation::Put,
        precondition: Precondition::SequenceIs(Sequence(6)),
        durability: Durability::DiskQuorum,
        key: b"ord/ESH4/6411",
        value: b"buy 3 at 4786.25",
    }
}

/// A key written and a key removed, as FORMAT.md draws effects.
const WRITTEN: &[u8] = b"\x08\0\0\0\x03\0\0\0ord/ESH4-12\x03\0\x01\0\0\0\0\0old";

pub(crate) fn records() -> [Record<'static>; 4] {
    let put = Record::of(Sequence(8), session(), &proposal(), Verdict::Accept);
    let refused = Verdict::Refuse(RefusalCode::PreconditionFailed);
    let by_arbitrator = Verdict::Refuse(RefusalCode::arbitrator(77).expect("within 31 bits"));
    let delete = Record {
        sequence: Sequence(9),
        session_sequence: SessionSequence(42),
        operation: Operation::Delete,
        precondition: Precondition::None,
        durability: Durability::Local,
        verdict: refused,
        value: b"",
        ..put
    };
    let judged = Record {
        sequence: Sequence(10),
        session_sequence: SessionSequence(43),
        precondition: Precondition::Absent,
        verdict: by_arbitrator,
        ..put
    };
    let start = Record {
        sequence: Sequence(7),
        session: SessionId::of_node(leader().node().tag(), 3),
        session_sequence: SessionSequence(0),
        operation: Operation::StartEpoch,
        precondition: Precondition::None,
        durability: Durability::Certified,
        verdict: Verdict::Accept,
        key: b"",
        value: b"",
        effects: io_oi_record::Effects::NONE,
    };
    [start, put, delete, judged]
}

pub(crate) fn header_parts() -> HeaderParts {
    HeaderParts {
        cluster: genesis().cluster(),
        shard: ShardId(2),
        epoch: Epoch(5),
        parent: Domain::BlockHeader.hash(b"the block before"),
        arbitrators: Domain::ArbitratorSet.hash(b"the judges"),
        time: Nanos(1_700_000_001_000_000_007),
        leader: leader().node(),
    }
}

pub(crate) fn block() -> (BlockHeader, Vec<u8>) {
    let mut builder = BlockBuilder::with_limits(4096, 16);
    for record in records() {
        builder.push(&record).expect("has room");
    }
    let header = builder.seal(header_parts());
    (header, builder.bytes().to_vec())
}

pub(crate) fn header() -> BlockHeader {
    block().0
}

pub(crate) fn vote() -> Vote {
    Vote::of(&header(), voter().node())
}

pub(crate) fn ballot() -> Ballot {
    Ballot {
        cluster: genesis().cluster(),
        shard: ShardId(2),
        epoch: Epoch(6),
        tip_epoch: Epoch(5),
        tip_sequence: Sequence(10),
        tip: header().hash(),
        appointment: 0,
        candidate: leader().node(),
    }
}

pub(crate) fn ballot_grant() -> BallotGrant {
    BallotGrant {
        cluster: genesis().cluster(),
        shard: ShardId(2),
        epoch: Epoch(6),
        candidate: leader().node(),
        voter: voter().node(),
    }
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        session_sequence: SessionSequence(41),
        sequence: Sequence(8),
        epoch: Epoch(5),
        time: Nanos(1_700_000_001_000_000_007),
        stage: Stage::Committed,
        durability: Durability::DiskQuorum,
        outcome: Outcome::Accepted,
    }
}

pub(crate) fn governance(change: Change) -> Governance {
    Governance {
        cluster: genesis().cluster(),
        number: 4,
        time: Nanos(1_700_000_002_000_000_000),
        change,
        operator: operator().operator(),
    }
}

/// Bytes of a component on their way.
pub(crate) const PART: &[u8] = b"\0asm\x0d\0\x01\0 and so on";

pub(crate) fn shipment() -> Shipment<'static> {
    let change = Change::StorePart(ComponentPart::of(Domain::Arbitrator.hash(b"component"), PART));
    let governance = Governance { number: 2, ..governance(change) };
    Shipment { signed: SignedGovernance::sign(governance, &operator()), payload: PART }
}

/// An operator's write, and what travels with it.
pub(crate) fn operators_write() -> (Change, Vec<u8>) {
    let write = Proposal {
        session_sequence: SessionSequence(4),
        operation: Operation::Put,
        precondition: Precondition::SequenceIs(Sequence(9)),
        durability: Durability::DiskQuorum,
        key: b"ord/acct7/",
        value: b"limits",
    };
    Change::write(&write).expect("short")
}

pub(crate) fn changes() -> Vec<(&'static str, Change)> {
    let node = Signer::from_secret(&[4; 32]).node();
    let member = Member { node, name: "gamma".into(), address: "gamma.example:7100".into() };
    let component = Domain::Arbitrator.hash(b"component");
    let versions = JudgeVersions { seal: 1, costs: 2, engine: [48, 0, 8] };
    let (prefix, is_shadow) = (b"ord/".to_vec(), false);
    let choice = ArbitratorChoice { prefix, arbitrator: component, is_shadow, versions };
    let shadow = ArbitratorChoice { is_shadow: true, ..choice.clone() };
    vec![
        ("governance_add_learner", Change::AddLearner(member)),
        ("governance_promote", Change::Promote(node)),
        ("governance_remove", Change::Remove(node)),
        ("governance_appoint", Change::Appoint(Appointment { shard: ShardId(2), node })),
        ("governance_set_arbitrator", Change::SetArbitrator(choice)),
        ("governance_set_shadow", Change::SetArbitrator(shadow)),
        ("governance_store_part", Change::StorePart(ComponentPart::of(component, PART))),
        ("governance_drop_component", Change::DropComponent(component)),
        ("governance_set_limit", Change::SetLimit(LimitChoice { limit: Limit::ValueBytes, value: 4096 })),
        ("governance_write", operators_write().0),
        ("governance_bar", Change::Bar(Barring { node, evidence: Hash([9; 32]) })),
    ]
}

pub(crate) fn signed<S: Statement>(signer: &Signer, statement: S) -> Signed<S> {
    let signature = signer.sign(&statement);
    Signed { statement, signature }
}

pub(crate) fn proofs() -> Vec<(&'static str, Proof)> {
    let (header, bytes) = block();
    let block = Block::decode(&bytes).expect("whole");
    let other_header = BlockHeader { time: Nanos(1), ..header };
    let other_vote = Vote { block: other_header.hash(), ..vote() };
    let other_grant = BallotGrant { candidate: voter().node(), ..ballot_grant() };
    let record = block.records().encoded().nth(3).expect("has four").to_vec();
    let path = block.path(3).expect("has four").siblings().to_vec();
    vec![
        (
            "evidence_two_headers",
            Proof::TwoHeaders(signed(&leader(), header), signed(&leader(), other_header)),
        ),
        ("evidence_two_votes", Proof::TwoVotes(signed(&voter(), vote()), signed(&voter(), other_vote))),
        (
            "evidence_two_grants",
            Proof::TwoGrants(signed(&voter(), ballot_grant()), signed(&voter(), other_grant)),
        ),
        ("evidence_wrong_verdict", Proof::WrongVerdict { header: signed(&leader(), header), record, path }),
    ]
}

pub(crate) fn evidence(proof: Proof) -> Evidence {
    Evidence { cluster: genesis().cluster(), shard: ShardId(2), proof, reporter: voter().node() }
}

pub(crate) fn packets() -> Vec<(&'static str, Packet)> {
    let token = TokenKey::of(&leader()).token(session(), 1000);
    let resume = Some(Resume { session: session(), token });
    let welcome = Welcome {
        cluster: genesis().cluster(),
        node: leader().node(),
        session: session(),
        token,
        layout_version: 1,
        shards: 4,
        hash_seed: *b"golden hash seed",
        incarnation: 3,
        prefixes: vec![b"ord/".to_vec(), b"a longer prefix/".to_vec(), Vec::new()],
    };
    vec![
        ("hello_new", Packet::Hello(Hello::new("maker".into(), None))),
        ("hello_resume", Packet::Hello(Hello::new("market maker 7".into(), resume))),
        ("welcome", Packet::Welcome(welcome)),
        ("shard_door", Packet::ShardDoor(ShardDoor { shard: ShardId(3) })),
        ("inquiry_status", Packet::Inquiry(Inquiry::Status)),
        ("inquiry_peers", Packet::Inquiry(Inquiry::Peers)),
        ("inquiry_leader", Packet::Inquiry(Inquiry::Leader)),
        ("inquiry_evidence", Packet::Inquiry(Inquiry::Evidence)),
        ("inquiry_evidence_export", Packet::Inquiry(Inquiry::EvidenceExport(Hash([6; 32])))),
        ("inquiry_prove", Packet::Inquiry(Inquiry::Prove(b"ord/ESH4/6411".to_vec()))),
        (
            "inquiry_govern",
            Packet::Inquiry(Inquiry::Govern(Submission {
                shard: ShardId(2),
                signed: b"the signed change".to_vec(),
            })),
        ),
        ("inquiry_arbitrators", Packet::Inquiry(Inquiry::Arbitrators)),
        ("answer", Packet::Answer(Answer { is_last: true, bytes: b"{\"shards\":[]}".to_vec() })),
        ("refused", Packet::Refused(Refused::of(AttachRefusal::ClientsFull))),
    ]
}

/// What messages borrow.
pub(crate) struct Payloads {
    block: Vec<u8>,
    proposals: Vec<u8>,
    evidence: Vec<u8>,
}

impl Payloads {
    pub(crate) fn new() -> Payloads {
        let (_, proof) = proofs().swap_remove(1);
        let mut proposals = Vec::new();
        for (counter, proposal) in [(12, proposal()), (13, Proposal { key: b"k", value: b"", ..proposal() })]
        {
            let mut entry = vec![0xEE; Forwarded::entry_bytes(&proposal)];
            let session = SessionId { counter, ..session() };
            assert_eq!(Forwarded::encode_entry(session, &proposal, &mut entry), Ok(entry.len()));
            proposals.extend(entry);
        }
        Payloads { block: block().1, proposals, evidence: evidence(proof).encode().expect("valid") }
    }
}

/// Where the messages of the corpus belong.
pub(crate) fn message_place() -> (ClusterId, ShardId) {
    (genesis().cluster(), ShardId(2))
}

/// The epoch in front of every message of the corpus.
pub(crate) const MESSAGE_EPOCH: Epoch = Epoch(6);

pub(crate) fn messages(payloads: &Payloads) -> Vec<(&'static str, Message<'_>)> {
    let hash = header().hash();
    let (committed, tip, round) = (Sequence(6), Sequence(10), Round(77));
    vec![
        (
            "message_block",
            Message::Block(BlockMessage {
                committed,
                round,
                wants_held: true,
                wants_votes: false,
                block: &payloads.block,
            }),
        ),
        (
            "message_seal",
            Message::Seal(SealMessage {
                last_sequence: tip,
                header_hash: hash,
                signature: leader().sign(&header()),
            }),
        ),
        (
            "message_ack",
            Message::Ack(Ack {
                round,
                held: Sequence(14),
                held_hash: Hash([5; 32]),
                durable: tip,
                durable_hash: hash,
                header_epoch: Epoch(5),
            }),
        ),
        (
            "message_commit",
            Message::Commit(Commit {
                committed,
                committed_hash: header().parent,
                tip,
                tip_hash: hash,
                round,
                certified: Sequence(5),
            }),
        ),
        ("message_vote", Message::Vote(signed(&voter(), vote()))),
        (
            "message_pre_vote",
            Message::PreVote(PreVote { tip_epoch: Epoch(5), tip_sequence: tip, tip_hash: hash }),
        ),
        (
            "message_pre_vote_answer",
            Message::PreVoteAnswer(PreVoteAnswer { granted: true, promised: Epoch(5) }),
        ),
        (
            "message_ballot",
            Message::Ballot(BallotMessage {
                ballot: signed(&leader(), ballot()),
                hand_over_round: Round::NONE,
                appointment: None,
            }),
        ),
        (
            "message_ballot_appointed",
            Message::Ballot(BallotMessage {
                ballot: signed(&leader(), Ballot { appointment: 4, ..ballot() }),
                hand_over_round: round,
                appointment: Some(b"the signed appointment"),
            }),
        ),
        ("message_grant", Message::Grant(signed(&voter(), ballot_grant()))),
        ("message_deny", Message::Deny(Deny { promised: Epoch(9) })),
        ("message_want", Message::Want(Want { after: tip, after_hash: hash, committed })),
        ("message_fetch", Message::FetchBlock(FetchBlock { sequence: Sequence(8) })),
        ("message_fetched_block", Message::FetchedBlock(&payloads.block)),
        ("message_want_header", Message::WantHeader(WantHeader { epoch: Epoch(5), sequence: Sequence(8) })),
        ("message_header", Message::Header(signed(&leader(), header()))),
        ("message_forward", Message::Forward(Forwarded::decode(&payloads.proposals).expect("valid"))),
        (
            "message_declined",
            Message::Declined(Declined {
                session: session(),
                session_sequence: SessionSequence(41),
                code: RefusalCode::HotTierFull,
            }),
        ),
        ("message_hand_over", Message::HandOver(HandOver { deadline_ns: Nanos(50_000_000), round })),
        ("message_evidence", Message::Evidence(&payloads.evidence)),
        ("message_state_hash", Message::StateHash(StateHash { sequence: tip, hash: Hash([7; 32]) })),
        ("message_evidence_kept", Message::EvidenceKept(EvidenceKept { accused: leader().node() })),
    ]
}

pub(crate) fn encoded_message(message: &Message<'_>) -> Vec<u8> {
    let (cluster, shard) = message_place();
    let mut bytes = vec![0xEE; message.encoded_bytes()];
    assert_eq!(message.encode(cluster, shard, MESSAGE_EPOCH, &mut bytes), Ok(bytes.len()));
    bytes
}

/// Says no more of a refusal than a noun's decoder would.
fn reread_message(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (cluster, shard) = message_place();
    let (epoch, message) = match Message::decode(bytes, cluster, shard) {
        Ok(decoded) => decoded,
        Err(MessageError::Decode(error)) => return Err(error),
        Err(MessageError::KindUnknown { found }) => {
            return Err(DecodeError::KindMismatch { noun: Noun::BlockMessage, found });
        }
        Err(_) => return Err(DecodeError::Invalid { noun: Noun::BlockMessage }),
    };
    let mut out = vec![0xEE; message.encoded_bytes()];
    message.encode(cluster, shard, epoch, &mut out).map(|_| out).map_err(DecodeError::Limit)
}

/// Every noun, the ones with alternatives once per alternative.
pub(crate) fn all() -> Vec<Example> {
    let mut all = vec![
        Example { name: "proposal", bytes: encoded_proposal(&proposal()), reread: reread_proposal },
        Example { name: "published", bytes: encoded_published(&published()), reread: reread_published },
        Example { name: "receipt", bytes: receipt().encode().to_vec(), reread: reread_receipt },
        Example {
            name: "receipt_refused",
            bytes: refused_receipt().encode().to_vec(),
            reread: reread_receipt,
        },
        Example { name: "block_header", bytes: header().encode().to_vec(), reread: reread_header },
        Example { name: "block", bytes: block().1, reread: reread_block },
        Example { name: "vote", bytes: vote().encode().to_vec(), reread: reread_vote },
        Example { name: "ballot", bytes: ballot().encode().to_vec(), reread: reread_ballot },
        Example { name: "ballot_grant", bytes: ballot_grant().encode().to_vec(), reread: reread_grant },
        Example { name: "genesis", bytes: genesis().encode().expect("valid"), reread: reread_genesis },
        Example { name: "signed_genesis", bytes: signed_genesis(), reread: reread_signed_genesis },
        Example {
            name: "shipment",
            bytes: shipment().encode().expect("valid"),
            reread: |bytes| Shipment::decode(bytes).map(|shipment| shipment.encode().expect("was valid")),
        },
        Example {
            name: "signed_governance",
            bytes: signed_governance().encode().expect("valid"),
            reread: reread_signed_governance,
        },
        Example {
            name: "signed_evidence",
            bytes: signed_evidence().encode().expect("valid"),
            reread: reread_signed_evidence,
        },
        Example {
            name: "quorum_certificate",
            bytes: encoded_certificate(&certificate()),
            reread: reread_certificate,
        },
        Example { name: "proof", bytes: proof().encode().expect("valid"), reread: reread_proof },
    ];
    let written = Effects::check(WRITTEN).expect("two writes");
    let record = Record { verdict: Verdict::AcceptWithWrites, ..records()[1] }.with_effects(written);
    all.push(Example {
        name: "record_put_with_writes",
        bytes: encoded_record(&record),
        reread: reread_record,
    });
    let names = ["record_start_epoch", "record_put", "record_delete_refused", "record_put_refused"];
    for (name, record) in names.into_iter().zip(records()) {
        all.push(Example { name, bytes: encoded_record(&record), reread: reread_record });
    }
    for (name, change) in changes() {
        let bytes = governance(change).encode().expect("valid");
        all.push(Example { name, bytes, reread: reread_governance });
    }
    for (name, proof) in proofs() {
        all.push(Example { name, bytes: evidence(proof).encode().expect("valid"), reread: reread_evidence });
    }
    for (name, message) in messages(&Payloads::new()) {
        all.push(Example { name, bytes: encoded_message(&message), reread: reread_message });
    }
    for (name, packet) in packets() {
        all.push(Example { name, bytes: packet.encode().expect("valid"), reread: reread_packet });
    }
    all
}

pub(crate) fn published() -> Published<'static> {
    Published { epoch: Epoch(5), time: Nanos(1_700_000_001_000_000_007), record: records()[1] }
}

pub(crate) fn encoded_published(published: &Published<'_>) -> Vec<u8> {
    let mut bytes = vec![0xEE; published.encoded_bytes()];
    assert_eq!(published.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

fn reread_published(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Published::decode(bytes).map(|published| encoded_published(&published))
}

pub(crate) fn refused_receipt() -> Receipt {
    Receipt {
        sequence: Sequence::NONE,
        epoch: Epoch::NONE,
        stage: Stage::Submitted,
        outcome: Outcome::Refused(RefusalCode::KeyTooLong),
        ..receipt()
    }
}

pub(crate) fn encoded_proposal(proposal: &Proposal<'_>) -> Vec<u8> {
    let mut bytes = vec![0xEE; proposal.encoded_bytes()];
    assert_eq!(proposal.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

pub(crate) fn encoded_record(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![0xEE; record.encoded_bytes()];
    assert_eq!(record.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

pub(crate) fn signed_governance() -> SignedGovernance {
    let (_, change) = changes().swap_remove(0);
    SignedGovernance::sign(Governance { number: 1, ..governance(change) }, &operator())
}

pub(crate) fn signed_evidence() -> SignedEvidence {
    let (_, proof) = proofs().swap_remove(1);
    SignedEvidence::sign(evidence(proof), &voter())
}

/// Both members have voted.
pub(crate) fn certificate() -> QuorumCertificate {
    let mut certificate = QuorumCertificate::over(&vote());
    for signer in [leader(), voter()] {
        let vote = Vote::of(&header(), signer.node());
        assert!(certificate.add(&signed(&signer, vote)));
    }
    certificate
}

/// The record at sequence 9, proven by a certificate over its own block.
pub(crate) fn proof() -> RecordProof {
    let (header, bytes) = block();
    let block = Block::decode(&bytes).expect("whole");
    RecordProof {
        genesis: SignedGenesis::sign(genesis(), &[&operator()]).expect("signed by every operator"),
        shard: ShardId(2),
        record: block.records().encoded().nth(2).expect("has four").to_vec(),
        path: block.path(2).expect("has four").siblings().to_vec(),
        headers: vec![header],
        certificate: certificate(),
        governance: vec![signed_governance()],
    }
}

pub(crate) fn encoded_certificate(certificate: &QuorumCertificate) -> Vec<u8> {
    let mut bytes = vec![0xEE; certificate.encoded_bytes()];
    assert_eq!(certificate.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

fn reread_signed_governance(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    SignedGovernance::decode(bytes).map(|signed| signed.encode().expect("was valid"))
}

fn reread_signed_evidence(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    SignedEvidence::decode(bytes).map(|signed| signed.encode().expect("was valid"))
}

fn reread_certificate(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    QuorumCertificate::decode(bytes).map(|certificate| encoded_certificate(&certificate))
}

fn reread_proof(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    RecordProof::decode(bytes).map(|proof| proof.encode().expect("was valid"))
}

fn signed_genesis() -> Vec<u8> {
    let signed = SignedGenesis::sign(genesis(), &[&operator()]).expect("signed by every operator");
    signed.encode().expect("valid")
}

fn reread_proposal(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Proposal::decode(bytes).map(|proposal| encoded_proposal(&proposal))
}

fn reread_record(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Record::decode(bytes).map(|record| encoded_record(&record))
}

fn reread_receipt(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Receipt::decode(bytes).map(|receipt| receipt.encode().to_vec())
}

fn reread_header(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    BlockHeader::decode(bytes).map(|header| header.encode().to_vec())
}

fn reread_block(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let block = Block::decode(bytes)?;
    let mut out = block.header.encode().to_vec();
    block.records().for_each(|record| out.extend(encoded_record(&record)));
    Ok(out)
}

fn reread_vote(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Vote::decode(bytes).map(|vote| vote.encode().to_vec())
}

fn reread_ballot(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ballot::decode(bytes).map(|ballot| ballot.encode().to_vec())
}

fn reread_grant(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    BallotGrant::decode(bytes).map(|grant| grant.encode().to_vec())
}

fn reread_genesis(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Genesis::decode(bytes).map(|genesis| genesis.encode().expect("was valid"))
}

fn reread_signed_genesis(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    SignedGenesis::decode(bytes).map(|genesis| genesis.encode().expect("was valid"))
}

fn reread_governance(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Governance::decode(bytes).map(|governance| governance.encode().expect("was valid"))
}

fn reread_evidence(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Evidence::decode(bytes).map(|evidence| evidence.encode().expect("was valid"))
}

fn reread_packet(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Packet::decode(bytes).map(|packet| packet.encode().expect("was valid"))
}
