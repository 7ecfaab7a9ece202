//! Whatever goes out comes back the same.

use proptest::collection::vec;
use proptest::prelude::*;

use io_oi_record::attach::{Hello, Packet, Refused, Resume, ShardDoor, Welcome};
use io_oi_record::evidence::{Evidence, Proof, Signed};
use io_oi_record::governance::{Change, Governance};
use io_oi_record::limits::{KEY_BYTES_MAX, SHARDS_MAX, VALUE_BYTES_MAX};
use io_oi_record::token::SessionToken;
use io_oi_record::*;

use crate::corpus::{changes, encoded_proposal, encoded_published, encoded_record};

fn durabilities() -> impl Strategy<Value = Durability> {
    prop::sample::select(&Durability::ALL[..])
}

fn preconditions() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        Just(Precondition::None),
        Just(Precondition::Absent),
        (1..=u64::MAX).prop_map(|sequence| Precondition::SequenceIs(Sequence(sequence))),
    ]
}

fn refusals() -> impl Strategy<Value = RefusalCode> {
    prop_oneof![
        prop::sample::select(RefusalCode::ALL),
        (0..=ArbitratorCode::MAX).prop_map(|code| RefusalCode::arbitrator(code).expect("within 31 bits")),
    ]
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Accept), refusals().prop_map(Verdict::Refuse)]
}

/// Writes of an arbitrator, encoded as FORMAT.md draws them; none quite often.
fn effects() -> impl Strategy<Value = Vec<u8>> {
    let write = (vec(any::<u8>(), 1..20), proptest::option::of(vec(any::<u8>(), 0..60)));
    proptest::collection::btree_map(
        write.clone().prop_map(|(key, _)| key),
        write.prop_map(|(_, value)| value),
        0..8,
    )
    .prop_map(|writes| {
        let encode = |(key, value): (Vec<u8>, Option<Vec<u8>>)| {
            let head = [key.len() as u16, u16::from(value.is_none())].map(u16::to_le_bytes).concat();
            let value = value.unwrap_or_default();
            [head, (value.len() as u32).to_le_bytes().to_vec(), key, value].concat()
        };
        writes.into_iter().flat_map(encode).collect()
    })
}

fn sessions() -> impl Strategy<Value = SessionId> {
    any::<(u64, u32, u32)>().prop_map(|(node, boot, counter)| SessionId {
        node: NodeTag(node),
        boot,
        counter,
    })
}

/// Operation, precondition, key and value that go together.
fn payloads() -> impl Strategy<Value = (Operation, Precondition, Vec<u8>, Vec<u8>)> {
    let keys = || prop_oneof![8 => vec(any::<u8>(), 1..40), 1 => vec(any::<u8>(), KEY_BYTES_MAX)];
    let values = prop_oneof![8 => vec(any::<u8>(), 0..200), 1 => vec(any::<u8>(), VALUE_BYTES_MAX)];
    let plain =
        prop::sample::select(vec![Operation::OpenSession, Operation::CloseSession, Operation::StartEpoch]);
    prop_oneof![
        3 => (preconditions(), keys(), values).prop_map(|(p, key, value)| (Operation::Put, p, key, value)),
        1 => (preconditions(), keys()).prop_map(|(p, key)| (Operation::Delete, p, key, vec![])),
        1 => plain.prop_map(|operation| (operation, Precondition::None, vec![], vec![])),
    ]
}

fn bytes32() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn headers() -> impl Strategy<Value = BlockHeader> {
    let hashes = (bytes32(), bytes32(), bytes32(), bytes32(), bytes32());
    let numbers = (any::<u16>(), any::<u64>(), 1..u64::MAX / 2, 1..=8192u32, 0..1_000_000u32, any::<u64>());
    (hashes, numbers).prop_map(
        |(
            (cluster, parent, root, arbitrators, leader),
            (shard, epoch, first, record_count, records_bytes, time),
        )| {
            BlockHeader {
                cluster: ClusterId(cluster),
                shard: ShardId(shard),
                epoch: Epoch(epoch),
                first_sequence: Sequence(first),
                record_count,
                records_bytes,
                parent: Hash(parent),
                root: Hash(root),
                arbitrators: Hash(arbitrators),
                time: Nanos(time),
                leader: NodeId(leader),
            }
        },
    )
}

fn signed<S: std::fmt::Debug>(statements: impl Strategy<Value = S>) -> impl Strategy<Value = Signed<S>> {
    (statements, bytes32()).prop_map(|(statement, half)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        Signed { statement, signature: Signature(signature) }
    })
}

fn votes() -> impl Strategy<Value = Vote> {
    (bytes32(), any::<u16>(), any::<u64>(), 1..=u64::MAX, bytes32(), bytes32()).prop_map(
        |(cluster, shard, epoch, sequence, block, voter)| Vote {
            cluster: ClusterId(cluster),
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            sequence: Sequence(sequence),
            block: Hash(block),
            voter: NodeId(voter),
        },
    )
}

fn grants() -> impl Strategy<Value = BallotGrant> {
    (bytes32(), any::<u16>(), any::<u64>(), bytes32(), bytes32()).prop_map(
        |(cluster, shard, epoch, candidate, voter)| BallotGrant {
            cluster: ClusterId(cluster),
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            candidate: NodeId(candidate),
            voter: NodeId(voter),
        },
    )
}

fn geneses() -> impl Strategy<Value = Genesis> {
    let members = prop::collection::btree_map(bytes32(), ("[a-z]{0,20}", "[a-z0-9.:]{0,40}"), 1..=7);
    let operators = prop::collection::btree_set(bytes32(), 1..=8);
    (
        members,
        operators,
        1..=SHARDS_MAX as u16,
        any::<(bool, bool)>(),
        any::<[u8; 16]>(),
        bytes32(),
        any::<u64>(),
    )
        .prop_map(|(members, operators, shards, (full, strict), hash_seed, arbitrators, created)| {
            Genesis {
                members: members
                    .into_iter()
                    .enumerate()
                    .map(|(i, (node, (name, address)))| {
                        // The number keeps names apart.
                        Member { node: NodeId(node), name: format!("{name}{i}"), address }
                    })
                    .collect(),
                operators: operators.into_iter().map(OperatorId).collect(),
                shards,
                trust: if full { TrustMode::Full } else { TrustMode::Localized },
                control: if strict { ControlMode::Strict } else { ControlMode::Competitive },
                hash_seed,
                arbitrators: Hash(arbitrators),
                created: Nanos(created),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proposals_come_back(
        (operation, precondition, key, value) in payloads(),
        durability in durabilities(),
        session_sequence in 1..=u64::MAX,
    ) {
        let session_sequence = SessionSequence(session_sequence);
        let proposal = Proposal { session_sequence, operation, precondition, durability, key: &key, value: &value };
        let bytes = encoded_proposal(&proposal);
        prop_assert_eq!(Proposal::decode(&bytes), Ok(proposal));
    }

    #[test]
    fn records_come_back_and_hash_like_their_bytes(
        (operation, precondition, key, value) in payloads(),
        (durability, verdict, session, written) in (durabilities(), verdicts(), sessions(), effects()),
        (sequence, session_sequence) in (1..=u64::MAX, 1..=u64::MAX),
    ) {
        let takes_writes = operation.has_key() && value.len() + written.len() <= VALUE_BYTES_MAX;
        let has_writes = verdict == Verdict::Accept && takes_writes && !written.is_empty();
        let verdict = if has_writes { Verdict::AcceptWithWrites } else { verdict };
        let effects = Effects::check(if has_writes { &written } else { &[] }).expect("well-shaped");
        let record = Record {
            sequence: Sequence(sequence),
            session,
            session_sequence: SessionSequence(session_sequence),
            operation,
            precondition,
            durability,
            verdict,
            key: &key,
            value: &value, effects, };
        let bytes = encoded_record(&record);
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
        prop_assert_eq!(record.hash(), Record::hash_encoded(&bytes));
        let published = Published { epoch: Epoch(sequence / 3), time: Nanos(session_sequence), record };
        let feed_bytes = encoded_published(&published);
        prop_assert_eq!(Published::decode(&feed_bytes), Ok(published));
        prop_assert!(feed_bytes.ends_with(&bytes), "the feed carries the record's own encoding");
        let again = Record::of(record.sequence, session, &record.proposal(), verdict);
        prop_assert_eq!(again.with_effects(effects), record);
    }

    #[test]
    fn receipts_come_back(
        numbers in any::<(u64, u64, u64)>(),
        sequence in 1..=u64::MAX,
        stage in prop::sample::select(vec![
            Stage::Submitted, Stage::Judged, Stage::Logged, Stage::Replicated, Stage::Committed, Stage::Published,
        ]),
        durability in durabilities(),
        refusal in prop::option::of(refusals()),
        unplaced in any::<bool>(),
    ) {
        let receipt = Receipt {
            session_sequence: SessionSequence(numbers.0),
            sequence: Sequence(if refusal.is_some() && unplaced { 0 } else { sequence }),
            epoch: Epoch(numbers.1),
            time: Nanos(numbers.2),
            stage,
            durability,
            outcome: refusal.map_or(Outcome::Accepted, Outcome::Refused),
        };
        prop_assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
    }

    #[test]
    fn headers_come_back(header in headers()) {
        prop_assert_eq!(BlockHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn votes_ballots_and_grants_come_back(
        vote in votes(),
        grant in grants(),
        (appointment, tip_epoch, tip_sequence) in any::<(u64, u64, u64)>(),
    ) {
        let ballot = Ballot {
            cluster: grant.cluster,
            shard: grant.shard,
            epoch: grant.epoch,
            tip_epoch: Epoch(tip_epoch),
            tip_sequence: Sequence(tip_sequence),
            tip: vote.block,
            appointment,
            candidate: grant.candidate,
        };
        prop_assert_eq!(Vote::decode(&vote.encode()), Ok(vote));
        prop_assert_eq!(Ballot::decode(&ballot.encode()), Ok(ballot));
        prop_assert_eq!(BallotGrant::decode(&grant.encode()), Ok(grant));
    }

    #[test]
    fn geneses_come_back_and_name_one_cluster(genesis in geneses(), signature in bytes32()) {
        let decoded = Genesis::decode(&genesis.encode().expect("valid")).expect("valid");
        prop_assert_eq!(decoded.cluster(), genesis.cluster());
        prop_assert_eq!(&decoded, &genesis);
        let mut later = genesis.clone();
        later.created = Nanos(genesis.created.0 ^ 1);
        prop_assert_ne!(later.cluster(), genesis.cluster());

        let mut half = [0; 64];
        half[32..].copy_from_slice(&signature);
        let signatures = vec![Signature(half); genesis.operators.len()];
        let signed = SignedGenesis { genesis, signatures };
        prop_assert_eq!(SignedGenesis::decode(&signed.encode().expect("valid")), Ok(signed));
    }

    #[test]
    fn governance_records_come_back(
        change in prop::sample::select(changes().into_iter().map(|(_, change)| change).collect::<Vec<Change>>()),
        (cluster, operator) in (bytes32(), bytes32()),
        (number, time) in (1..=u64::MAX, any::<u64>()),
    ) {
        let governance = Governance {
            cluster: ClusterId(cluster),
            number,
            time: Nanos(time),
            change,
            operator: OperatorId(operator),
        };
        prop_assert_eq!(Governance::decode(&governance.encode().expect("valid")), Ok(governance));
    }

    #[test]
    fn evidence_comes_back(
        headers in (signed(headers()), signed(headers())),
        votes in (signed(votes()), signed(votes())),
        grants in (signed(grants()), signed(grants())),
        path in vec(bytes32().prop_map(Hash), 0..=13),
        (reporter, cluster, shard) in (bytes32(), bytes32(), any::<u16>()),
    ) {
        let record = encoded_record(&crate::corpus::records()[1]);
        let proofs = [
            Proof::WrongVerdict { header: headers.0, record, path },
            Proof::TwoHeaders(headers.0, headers.1),
            Proof::TwoVotes(votes.0, votes.1),
            Proof::TwoGrants(grants.0, grants.1),
        ];
        for proof in proofs {
            let (cluster, shard) = (ClusterId(cluster), ShardId(shard));
            let evidence = Evidence { cluster, shard, proof, reporter: NodeId(reporter) };
            prop_assert_eq!(Evidence::decode(&evidence.encode().expect("valid")), Ok(evidence));
        }
    }

    #[test]
    fn packets_come_back(
        name in ".{0,30}",
        text in ".{0,200}",
        session in sessions(),
        (token, cluster, node) in (bytes32(), bytes32(), bytes32()),
        resumes in any::<bool>(),
        prefixes in vec(vec(any::<u8>(), 0..=128), 0..=64),
        (shards, layout_version, incarnation) in (1..=SHARDS_MAX as u16, any::<u32>(), any::<u64>()),
        code in prop::sample::select(&attach::AttachRefusal::ALL[..]),
    ) {
        let token = SessionToken(token);
        let welcome = Welcome {
            cluster: ClusterId(cluster),
            node: NodeId(node),
            session,
            token,
            layout_version,
            shards,
            hash_seed: [1; 16],
            incarnation,
            prefixes,
        };
        let packets = [
            Packet::Hello(Hello::new(name, resumes.then_some(Resume { session, token }))),
            Packet::Welcome(welcome),
            Packet::ShardDoor(ShardDoor { shard: ShardId(shards - 1) }),
            Packet::Refused(Refused { code, text }),
        ];
        for packet in packets {
            let bytes = packet.encode().expect("valid");
            prop_assert!(bytes.len() <= limits::PACKET_BYTES_MAX);
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
        }
    }
}

#[test]
fn durabilities_read_back_what_they_show() {
    for durability in Durability::ALL {
        assert_eq!(durability.to_string().parse::<Durability>(), Ok(durability));
    }
    assert!("disk_quorum".parse::<Durability>().is_err());
    assert_eq!(Durability::default(), Durability::DiskQuorum);
}
