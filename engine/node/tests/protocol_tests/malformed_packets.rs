//! Bytes that no honest node sends, at every door of a node: its UDP port, its handshake, its frames.

use std::net::UdpSocket;

use io_oi_record::attach::{Inquiry, Packet, Submission};
use io_oi_record::evidence::Signed;
use io_oi_record::governance::Change;
use io_oi_record::message::{
    Ack, BallotMessage, Declined, Deny, EvidenceKept, FetchBlock, Forwarded, HandOver, Message, PreVote,
    PreVoteAnswer, SealMessage, StateHash, Want, WantHeader,
};
use io_oi_record::{
    Ballot, BallotGrant, BlockHeader, ClusterId, Durability, Epoch, Hash, Nanos, Operation, Precondition,
    Proposal, RefusalCode, Round, Sequence, SessionId, SessionSequence, ShardId, Signer, Vote,
};

use crate::cluster::impostor::Impostor;
use crate::cluster::{Cluster, Plan, random};
use crate::raw::{Heard, RawClient};
use crate::support::{Random, enter_network_namespace, put};

#[test]
fn malformed_questions_on_the_attach_socket_change_nothing() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = two_nodes_and_an_impostor();
    let leader = cluster.wait_for_leader(0);
    let removal = cluster.signed_change(1, Change::Remove(cluster.node_id(2)));
    let questions = [
        Inquiry::Status,
        Inquiry::EvidenceExport(Hash([7; 32])),
        Inquiry::Prove(b"a key".to_vec()),
        Inquiry::Govern(Submission { shard: ShardId(0), signed: removal }),
    ];
    for question in questions {
        let packet = question.encode().unwrap();
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            ask(&cluster, leader, &flipped);
        }
        (1..packet.len()).for_each(|length| ask(&cluster, leader, &packet[..length]));
    }
    let status = cluster.status(leader, 0).expect("the node answers");
    assert_eq!(status.governance, 0, "a flipped bit governs: {status:?}");
    assert_unimpressed(&cluster, b"after the questions");
}

/// Whatever comes back is a packet of the handshake, or the end.
fn ask(cluster: &Cluster, place: usize, packet: &[u8]) {
    let raw = RawClient::connect(&cluster.socket(place));
    raw.say(packet);
    if let (Heard::Packet(answer), _) = raw.hear() {
        Packet::decode(&answer).expect("the node answers in words of the handshake");
    }
}

/// Three members, of which the third is the test itself.
fn two_nodes_and_an_impostor() -> Cluster {
    let mut cluster = Cluster::found(Plan::of(3));
    cluster.start_nodes(&[0, 1]);
    cluster.wait_for_leader(0);
    cluster
}

/// The cluster works, nobody is accused, nobody is mute.
fn assert_unimpressed(cluster: &Cluster, key: &[u8]) {
    for place in cluster.awake() {
        let mut client = cluster.attach(place);
        assert!(put(&mut client, key, b"still here").is_accepted());
    }
    cluster.wait_until_equal();
    for place in cluster.awake() {
        let status = cluster.status(place, 0).expect("the node answers");
        assert_eq!((status.evidence, &status.mute), (0, &None), "node {place} believed garbage");
    }
}

#[test]
fn garbage_in_the_udp_port_is_ignored() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = two_nodes_and_an_impostor();
    let before = cluster.awake().into_iter().map(|place| cluster.resident_bytes(place)).collect::<Vec<_>>();
    let (member, namespace) = (cluster.network.listen_address(2), cluster.network.namespace(2));
    let targets: Vec<_> =
        cluster.awake().iter().map(|place| cluster.network.public_address(*place)).collect();
    let sender = std::thread::spawn(move || {
        if let Some(namespace) = namespace {
            enter_network_namespace(&namespace);
        }
        // From the member's own address, which is listed, and from one that nobody lists.
        let sockets = [UdpSocket::bind(member).unwrap(), UdpSocket::bind((member.ip(), 0)).unwrap()];
        let mut random = Random::seeded();
        for count in 0..40_000u64 {
            let packet = garbage(&mut random, count);
            let _ = sockets[count as usize % 2].send_to(&packet, targets[count as usize / 2 % targets.len()]);
        }
    });
    sender.join().unwrap();
    assert_unimpressed(&cluster, b"after the garbage");
    for (place, before) in cluster.awake().into_iter().zip(before) {
        let grown = cluster.resident_bytes(place).saturating_sub(before);
        assert!(grown < 32 << 20, "node {place} holds {grown} bytes more after packets of strangers");
    }
}

/// Noise, and Initials of QUIC in every state of disrepair.
fn garbage(random: &mut Random, count: u64) -> Vec<u8> {
    let length = [0, 1, 7, 21, 64, 1_200, 1_452, 8_000][count as usize % 8];
    let mut packet: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
    if length > 21 && count.is_multiple_of(3) {
        // A long header, version 1, connection identifiers of eight bytes.
        packet[0] = 0xC0 | (random.below(64) as u8);
        packet[1..5].copy_from_slice(&[0, 0, 0, u8::from(!count.is_multiple_of(6))]);
        packet[5] = 8;
        packet[14] = 8;
    }
    packet
}

#[test]
fn strangers_do_not_get_past_the_handshake() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = two_nodes_and_an_impostor();
    let own = cluster.genesis.genesis.cluster();
    let strangers = [
        (random(), own, "a key that nobody lists"),
        (cluster.secret(2), ClusterId(random()), "another cluster"),
    ];
    for (secret, id, what) in strangers {
        let stranger = Impostor::enter_as(&cluster, 2, secret, id);
        // The time for several handshakes; a member is in within the first.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        for place in cluster.awake() {
            assert!(!stranger.is_connected(cluster.node_id(place)), "{what} was let in");
        }
        assert_eq!(stranger.heard_count(), 0, "{what} was told something");
    }
    assert_unimpressed(&cluster, b"after the strangers");
    let member = Impostor::enter(&cluster, 2);
    member.wait_for(&[cluster.node_id(0), cluster.node_id(1)]);
}

#[test]
fn malformed_frames_of_a_member_are_refused() {
    let _alone = crate::one_cluster_at_a_time();
    let cluster = two_nodes_and_an_impostor();
    let impostor = Impostor::enter(&cluster, 2);
    let nodes = [cluster.node_id(0), cluster.node_id(1)];
    impostor.wait_for(&nodes);
    let corpus = corpus(&cluster, &impostor);
    let mut random = Random::seeded();
    let mut said = 0;
    for frame in &corpus {
        for bad in spoiled(frame, &mut random) {
            nodes.iter().for_each(|node| impostor.say(*node, &bad));
            said += nodes.len();
        }
        impostor.wait_until_said();
    }
    println!("{said} malformed frames of {} kinds", corpus.len());
    assert!(said > 10_000);
    assert_unimpressed(&cluster, b"after the frames");
}

/// One well-formed frame of each kind: what the nodes send by themselves, and the test's own for the rest.
fn corpus(cluster: &Cluster, impostor: &Impostor) -> Vec<Vec<u8>> {
    let mut client = cluster.attach(0);
    for count in 0..50u64 {
        assert!(put(&mut client, &count.to_le_bytes(), b"value").is_accepted());
    }
    let mut frames = std::collections::BTreeMap::new();
    for heard in impostor.heard() {
        let decoded = Message::decode(&heard.bytes, impostor.cluster, ShardId(0));
        decoded.expect("honest nodes send well-formed messages");
        frames.entry(heard.bytes[0]).or_insert(heard.bytes);
    }
    println!("{} kinds heard", frames.len());
    let header = newest_header(impostor).expect("a block was heard");
    for frame in own_frames(cluster, impostor, &header) {
        frames.entry(frame[0]).or_insert(frame);
    }
    assert!(frames.len() >= 18, "{} kinds are not all of them", frames.len());
    frames.into_values().collect()
}

fn newest_header(impostor: &Impostor) -> Option<BlockHeader> {
    let heard = impostor.heard();
    let headers =
        heard.iter().filter_map(|heard| match Message::decode(&heard.bytes, impostor.cluster, ShardId(0)) {
            Ok((_, Message::Block(message))) => BlockHeader::decode_first(message.block).ok(),
            _ => None,
        });
    headers.map(|(header, _)| header).max_by_key(|header| (header.epoch, header.first_sequence))
}

/// Said with the member's own key, so that nothing but the spoiling is wrong with them.
fn own_frames(cluster: &Cluster, impostor: &Impostor, header: &BlockHeader) -> Vec<Vec<u8>> {
    let key = cluster.signer(2);
    let (sequence, hash, epoch) = (header.last_sequence(), header.hash(), header.epoch);
    let proposal = Proposal {
        session_sequence: SessionSequence(1),
        operation: Operation::Put,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: b"forwarded",
        value: b"by nobody's session",
    };
    let session = SessionId::of_node(key.node().tag(), 1);
    let mut entry = vec![0; Forwarded::entry_bytes(&proposal)];
    Forwarded::encode_entry(session, &proposal, &mut entry).unwrap();
    let vote = Vote::of(header, key.node());
    let round = Round(1);
    let messages = [
        Message::Ack(Ack {
            round,
            held: sequence,
            held_hash: hash,
            durable: sequence,
            durable_hash: hash,
            header_epoch: epoch,
        }),
        Message::Vote(Signed { statement: vote, signature: key.sign(&vote) }),
        Message::PreVote(PreVote { tip_epoch: epoch, tip_sequence: sequence, tip_hash: hash }),
        Message::PreVoteAnswer(PreVoteAnswer { granted: true, promised: epoch }),
        Message::Deny(Deny { promised: epoch }),
        Message::Want(Want { after: sequence, after_hash: hash, committed: sequence }),
        Message::FetchBlock(FetchBlock { sequence }),
        Message::WantHeader(WantHeader { epoch, sequence }),
        Message::Forward(Forwarded::decode(&entry).unwrap()),
        Message::Declined(Declined {
            session,
            session_sequence: SessionSequence(1),
            code: RefusalCode::DiskFull,
        }),
        Message::HandOver(HandOver { deadline_ns: Nanos(1), round }),
        Message::Evidence(b"not evidence at all"),
        Message::StateHash(StateHash { sequence: Sequence(1), hash }),
        Message::EvidenceKept(EvidenceKept { accused: key.node() }),
        Message::Seal(SealMessage { last_sequence: sequence, header_hash: hash, signature: key.sign(&vote) }),
        Message::Header(Signed { statement: *header, signature: key.sign(&vote) }),
    ];
    let mut frames: Vec<Vec<u8>> =
        messages.iter().map(|message| encoded(impostor.cluster, epoch, message)).collect();
    frames.extend(elections(&key, header).map(|message| encoded(impostor.cluster, epoch.next(), &message)));
    frames
}

/// A ballot of the impostor, and its grant to itself.
fn elections(key: &Signer, header: &BlockHeader) -> impl Iterator<Item = Message<'static>> {
    let (cluster, shard, epoch) = (header.cluster, header.shard, header.epoch.next());
    let ballot = Ballot {
        cluster,
        shard,
        epoch,
        tip_epoch: header.epoch,
        tip_sequence: header.last_sequence(),
        tip: header.hash(),
        appointment: 0,
        candidate: key.node(),
    };
    let ballot = Signed { statement: ballot, signature: key.sign(&ballot) };
    let grant = BallotGrant { cluster, shard, epoch, candidate: key.node(), voter: key.node() };
    let grant = Signed { statement: grant, signature: key.sign(&grant) };
    let ballot = BallotMessage { ballot, hand_over_round: Round(0), appointment: None };
    [Message::Ballot(ballot), Message::Grant(grant)].into_iter()
}

fn encoded(cluster: ClusterId, epoch: Epoch, message: &Message<'_>) -> Vec<u8> {
    let mut frame = vec![0; message.encoded_bytes()];
    message.encode(cluster, ShardId(0), epoch, &mut frame).unwrap();
    frame
}

/// Truncated, too long, flipped, of another cluster, shard, version or kind; and noise.
fn spoiled(frame: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for length in 1..frame.len().min(400) {
        all.push(frame[..length].to_vec());
    }
    for bit in 0..frame.len().min(400) * 8 {
        let mut flipped = frame.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        all.push(flipped);
    }
    for extra in [1, 7, 4_096] {
        let mut longer = frame.to_vec();
        longer.extend((0..extra).map(|_| random.below(256) as u8));
        all.push(longer);
    }
    for kind in 0..=255u8 {
        let mut other = frame.to_vec();
        other[0] = kind;
        all.push(other);
    }
    for epoch in [0, u64::MAX - 1, u64::MAX] {
        let mut far = frame.to_vec();
        far[EPOCH_BYTES].copy_from_slice(&epoch.to_le_bytes());
        all.push(far);
    }
    for _ in 0..64 {
        all.push((0..1 + random.below(2_000)).map(|_| random.below(256) as u8).collect());
    }
    all
}

/// Where the epoch stands in a message's head.
const EPOCH_BYTES: std::ops::Range<usize> = 36..44;
