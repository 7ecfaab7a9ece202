//! What nodes say to each other: every message there and back, strangers and misfits refused before they are read.

use io_oi_record::limits::{
    BLOCK_BYTES_MAX, FORWARD_BYTES_MAX, MESSAGE_BYTES_MAX, SIGNED_EVIDENCE_BYTES_MAX,
};
use io_oi_record::message::{
    BallotMessage, BlockMessage, Declined, FORWARD_ENTRY_HEAD_BYTES, Forwarded, MESSAGE_HEAD_BYTES,
};
use io_oi_record::*;
use proptest::prelude::*;

use crate::corpus::*;

#[test]
fn every_message_comes_back_with_its_epoch() {
    let (cluster, shard) = message_place();
    let payloads = Payloads::new();
    let mut kinds = std::collections::BTreeSet::new();
    for (name, message) in messages(&payloads) {
        let bytes = encoded_message(&message);
        assert_eq!(Message::decode(&bytes, cluster, shard), Ok((MESSAGE_EPOCH, message)), "{name}");
        assert_eq!(bytes[0], message.noun() as u8);
        kinds.insert(bytes[0]);
    }
    assert_eq!(kinds, (64..=84).collect(), "every kind is in the corpus");
}

#[test]
fn a_message_from_elsewhere_is_refused_whatever_its_body_holds() {
    let (cluster, shard) = message_place();
    for (name, message) in messages(&Payloads::new()) {
        let mut bytes = encoded_message(&message);
        bytes[MESSAGE_HEAD_BYTES..].fill(0xEE);
        let stranger = ClusterId([9; 32]);
        assert_eq!(Message::decode(&bytes, stranger, shard), Err(MessageError::WrongCluster), "{name}");
        let other = Message::decode(&bytes, cluster, ShardId(3));
        assert_eq!(other, Err(MessageError::WrongShard { found: shard }), "{name}");
    }
}

#[test]
fn bytes_of_another_noun_are_no_message() {
    let (cluster, shard) = message_place();
    for bytes in [&b""[..], &[0], &vote().encode(), &header().encode(), &[85; 200], &[63; 200]] {
        let error = Message::decode(bytes, cluster, shard).expect_err("no message");
        assert_eq!(error, MessageError::KindUnknown { found: bytes.first().copied().unwrap_or(0) });
    }
    assert!(Message::decode(b"GET / HTTP/1.1\r\n", cluster, shard).is_err());
}

#[test]
fn what_is_inside_belongs_to_where_the_message_belongs() {
    let (cluster, shard) = message_place();
    let elsewhere = ShardId(1);
    let payloads = Payloads::new();
    let mut found = 0;
    for (name, message) in messages(&payloads) {
        let mut bytes = vec![0; message.encoded_bytes()];
        message.encode(cluster, elsewhere, MESSAGE_EPOCH, &mut bytes).expect("fits");
        let decoded = Message::decode(&bytes, cluster, elsewhere);
        let names_a_place = matches!(
            message,
            Message::Block(_)
                | Message::FetchedBlock(_)
                | Message::Vote(_)
                | Message::Header(_)
                | Message::Ballot(_)
                | Message::Grant(_)
        );
        found += usize::from(names_a_place);
        assert_eq!(decoded == Err(MessageError::Misplaced), names_a_place, "{name}");
    }
    assert_eq!(found, 7, "ballots stand in the corpus twice");
    for message in [
        Message::Grant(signed(&voter(), ballot_grant())),
        Message::Ballot(BallotMessage {
            ballot: signed(&leader(), ballot()),
            hand_over_round: Round::NONE,
            appointment: None,
        }),
    ] {
        let mut bytes = vec![0; message.encoded_bytes()];
        message.encode(cluster, shard, MESSAGE_EPOCH.next(), &mut bytes).expect("fits");
        assert_eq!(Message::decode(&bytes, cluster, shard), Err(MessageError::Misplaced));
    }
}

#[test]
fn the_longest_message_is_as_long_as_the_limit_says() {
    let long = vec![1; BLOCK_BYTES_MAX + 1];
    let (cluster, shard) = message_place();
    let mut out = vec![0; MESSAGE_BYTES_MAX + 1];
    let block = |block| {
        Message::Block(BlockMessage {
            committed: Sequence::NONE,
            round: Round::FIRST,
            wants_held: false,
            wants_votes: true,
            block,
        })
    };
    let mut encode = |message: &Message<'_>| message.encode(cluster, shard, Epoch(1), &mut out);
    assert!(encode(&block(&long[1..])).expect("within the limits") <= MESSAGE_BYTES_MAX);
    assert!(matches!(encode(&block(&long)), Err(EncodeError::TooLong { max: BLOCK_BYTES_MAX, .. })));
    assert!(matches!(encode(&block(&[])), Err(EncodeError::Empty { .. })));
    assert!(matches!(encode(&Message::FetchedBlock(&long)), Err(EncodeError::TooLong { .. })));
    let evidence = &long[..SIGNED_EVIDENCE_BYTES_MAX + 1];
    assert!(matches!(encode(&Message::Evidence(evidence)), Err(EncodeError::TooLong { .. })));
    assert!(matches!(encode(&Message::Evidence(&[])), Err(EncodeError::Empty { .. })));
    let empty = BallotMessage {
        ballot: signed(&leader(), ballot()),
        hand_over_round: Round::NONE,
        appointment: Some(&[]),
    };
    assert!(matches!(encode(&Message::Ballot(empty)), Err(EncodeError::Empty { .. })));
}

#[test]
fn a_buffer_that_is_too_short_for_a_message_is_left_alone() {
    let (cluster, shard) = message_place();
    for (name, message) in messages(&Payloads::new()) {
        let needed = message.encoded_bytes();
        let mut out = vec![0xAB; needed - 1];
        let refused = Err(EncodeError::NoRoom { needed, found: needed - 1 });
        assert_eq!(message.encode(cluster, shard, Epoch(1), &mut out), refused, "{name}");
        assert!(out.iter().all(|byte| *byte == 0xAB));
    }
}

#[test]
fn forwarded_proposals_keep_order_and_sessions() {
    let payloads = Payloads::new();
    let forwarded = messages(&payloads).into_iter().find_map(|(_, message)| match message {
        Message::Forward(forwarded) => Some(forwarded),
        _ => None,
    });
    let entries: Vec<_> = forwarded.expect("stands in the corpus").iter().collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], (session(), proposal()));
    assert_eq!(entries[1].0.counter, 13);
}

#[test]
fn a_list_of_forwarded_proposals_with_one_bad_entry_is_refused_whole() {
    let mut entries = vec![0; Forwarded::entry_bytes(&proposal())];
    Forwarded::encode_entry(session(), &proposal(), &mut entries).expect("fits");
    let good = entries.clone();
    entries.extend(&good);
    assert!(Forwarded::decode(&entries).is_ok());
    let operation_at = good.len() + FORWARD_ENTRY_HEAD_BYTES + 2;
    entries[operation_at] = 99;
    assert!(matches!(Forwarded::decode(&entries), Err(DecodeError::Invalid { noun: Noun::Proposal })));
    assert!(matches!(Forwarded::decode(&[]), Err(DecodeError::Limit(EncodeError::Empty { .. }))));
    let many = good.repeat(FORWARD_BYTES_MAX / good.len() + 1);
    assert!(matches!(
        Forwarded::decode(&many),
        Err(DecodeError::Limit(EncodeError::TooLong { max: FORWARD_BYTES_MAX, .. }))
    ));
    let mut endless = good.clone();
    endless[SessionId::BYTES..FORWARD_ENTRY_HEAD_BYTES].fill(0xFF);
    assert!(matches!(Forwarded::decode(&endless), Err(DecodeError::TooLong { noun: Noun::Forward, .. })));
}

#[test]
fn messages_go_out_and_come_back_without_allocating() {
    let (cluster, shard) = message_place();
    let payloads = Payloads::new();
    let messages = messages(&payloads);
    let mut out = vec![0; MESSAGE_BYTES_MAX];
    let counted = allocation_counter::measure(|| {
        for (_, message) in &messages {
            let bytes = message.encode(cluster, shard, MESSAGE_EPOCH, &mut out).expect("fits");
            let decoded = Message::decode(&out[..bytes], cluster, shard);
            assert!(decoded == Ok((MESSAGE_EPOCH, *message)));
            if let Ok((_, Message::Forward(forwarded))) = decoded {
                assert_eq!(forwarded.iter().count(), 2);
            }
            assert!(Message::decode(&out[..bytes - 1], cluster, shard).is_err());
        }
    });
    assert_eq!(counted.count_total, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn declined_messages_come_back(
        (node, boot, counter) in any::<(u64, u32, u32)>(),
        session_sequence in any::<u64>(),
        code in prop::sample::select(RefusalCode::ALL),
        epoch in any::<u64>(),
    ) {
        let (cluster, shard) = message_place();
        let session = SessionId { node: NodeTag(node), boot, counter };
        let message =
            Message::Declined(Declined { session, session_sequence: SessionSequence(session_sequence), code });
        let mut bytes = vec![0; message.encoded_bytes()];
        message.encode(cluster, shard, Epoch(epoch), &mut bytes).expect("fits");
        prop_assert_eq!(Message::decode(&bytes, cluster, shard), Ok((Epoch(epoch), message)));
    }

    /// Random bodies behind a true head: refused, or exactly what they say.
    #[test]
    fn random_bodies_are_never_misread(kind in 64..=83u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (cluster, shard) = message_place();
        let mut bytes = encoded_message(&messages(&Payloads::new())[10].1)[..MESSAGE_HEAD_BYTES].to_vec();
        bytes[0] = kind;
        bytes.extend(&body);
        if let Ok((epoch, message)) = Message::decode(&bytes, cluster, shard) {
            let mut again = vec![0; message.encoded_bytes()];
            prop_assert_eq!(message.encode(cluster, shard, epoch, &mut again), Ok(bytes.len()));
            prop_assert_eq!(again, bytes);
        }
    }
}
