//! Sessions: at most once, the same answer again, gaps, the window, the table's limit.

mod support;

use io_oi_record::limits::{SESSION_WINDOW, SESSIONS_MAX};
use io_oi_record::{Durability, Operation, Precondition, Proposal, RefusalCode, Sequence, SessionSequence};
use io_oi_shard::{Event, Origin, ProposalState, SessionState};
use support::*;

#[test]
fn a_retry_of_a_decided_proposal_gets_the_same_receipt_and_no_new_record() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    world.settle();
    let first = world.only_reply();
    let last = world.machine.last_sequence();
    world.put(1, 1, b"key", b"value");
    assert_eq!(world.only_reply(), first);
    assert_eq!(world.machine.last_sequence(), last);
}

#[test]
fn a_retry_of_a_refused_proposal_is_refused_again_even_when_it_would_pass_now() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    world.submit(1, &put_if(2, b"key", b"other", Precondition::Absent));
    world.submit(1, &delete(3, b"key"));
    world.settle();
    let first = world.take_replies()[1];
    world.submit(1, &put_if(2, b"key", b"other", Precondition::Absent));
    assert_eq!(world.only_reply(), first);
    assert_eq!(refused(&first), Some(RefusalCode::PreconditionFailed));
}

#[test]
fn a_retry_of_a_proposal_in_flight_is_answered_together_with_the_first() {
    for durability in [Durability::DiskQuorum, Durability::Certified] {
        let mut world = World::leading();
        for _ in 0..3 {
            world.submit(1, &put_at(1, b"key", b"value", durability)); // [P-63]
        }
        assert_eq!(world.replies, []);
        assert_eq!(world.judged.iter().filter(|sequence| sequence.0 == 3).count(), 1);
        world.settle();
        let receipts = world.take_replies();
        assert_eq!(receipts.len(), 3);
        assert!(receipts.iter().all(|receipt| *receipt == receipts[0] && receipt.is_accepted()));
        assert_eq!(world.machine.last_sequence(), Sequence(3));
    }
}

#[test]
fn a_retry_after_a_restart_gets_the_receipt_of_before() {
    let mut world = World::leading();
    for (number, durability) in (1..).zip(Durability::ALL) {
        world.submit(1, &put_at(number, b"key", b"value", durability));
    }
    world.settle();
    let mut first = world.take_replies();
    first.sort_by_key(|receipt| receipt.session_sequence);
    let mut world = World::boot_on(2, world.log).expect("sound");
    world.settle();
    assert_eq!(world.take_replies(), [], "nobody of this boot waits for anything");
    for (number, durability) in (1..).zip(Durability::ALL) {
        world.submit(1, &put_at(number, b"key", b"value", durability));
    }
    world.settle();
    let mut again = world.take_replies();
    again.sort_by_key(|receipt| receipt.session_sequence);
    assert_eq!(again, first); // [P-62]
}

#[test]
fn a_decided_proposal_is_answered_by_a_node_that_does_not_lead_or_is_closing() {
    let mut world = World::leading();
    world.put(1, 1, b"key", b"value");
    world.settle();
    let first = world.only_reply();
    let mut world = World::boot_on(2, world.log).expect("sound");
    assert!(!world.machine.is_leading());
    world.submit_anyway(1, &put(1, b"key", b"value"));
    assert_eq!(world.replies, [], "durable, but not known to be committed yet");
    world.submit_anyway(1, &put(2, b"key", b"fresh"));
    assert_eq!(refused(&world.only_reply()), Some(RefusalCode::NotLeader));
    world.settle();
    assert_eq!(world.only_reply(), first);
    world.close();
    world.submit_anyway(1, &put(1, b"key", b"value"));
    assert_eq!(world.only_reply(), first);
    world.submit_anyway(1, &put(2, b"key", b"fresh"));
    assert_eq!(refused(&world.only_reply()), Some(RefusalCode::ShuttingDown));
}

#[test]
fn a_number_that_was_passed_over_is_never_accepted_later() {
    let mut world = World::leading();
    world.put(1, 5, b"key", b"value");
    world.settle();
    world.take_replies();
    world.put(1, 3, b"key", b"value");
    let receipt = world.only_reply();
    assert_eq!((refused(&receipt), receipt.sequence), (Some(RefusalCode::NotAccepted), Sequence::NONE)); // [P-61]
    assert_eq!(world.machine.proposal_state(session(1), SessionSequence(3)), ProposalState::Seen);
    assert_eq!(world.machine.proposal_state(session(1), SessionSequence(6)), ProposalState::Fresh);
    assert_eq!(world.machine.proposal_state(session(2), SessionSequence(6)), ProposalState::NoSession);
}

#[test]
fn an_answer_older_than_the_window_is_forgotten_and_said_to_be() {
    let mut world = World::leading();
    let window = SESSION_WINDOW as u64;
    for number in 1..=window + 2 {
        world.put(1, 2 * number, b"key", b"value");
    }
    world.settle();
    world.take_replies();
    for (number, expected) in [
        (2, Some(RefusalCode::AnswerForgotten)),
        (4, Some(RefusalCode::AnswerForgotten)),
        (5, Some(RefusalCode::NotAccepted)),
        (6, None),
        (2 * (window + 2), None),
    ] {
        world.put(1, number, b"key", b"value");
        assert_eq!(refused(&world.only_reply()), expected, "number {number}");
    }
}

#[test]
fn a_session_is_known_from_its_open_record_to_its_close_record() {
    let mut world = World::leading();
    world.put(2, 1, b"key", b"value");
    assert_eq!(refused(&world.only_reply()), Some(RefusalCode::SessionUnknown));
    assert_eq!(world.machine.session_state(session(2)), SessionState::Unknown);
    world.open(2);
    let opened = world.only_reply();
    assert!(opened.is_accepted() && opened.session_sequence.is_none());
    world.open(2);
    assert_eq!(world.only_reply(), opened, "opening again gets the first answer");
    assert_eq!(world.machine.session_state(session(2)), SessionState::Open);
    world.put(2, 1, b"key", b"value");
    world.handle(Event::close_session(session(2)));
    world.settle();
    assert!(world.take_replies().iter().all(|receipt| receipt.is_accepted()));
    assert_eq!(world.machine.session_state(session(2)), SessionState::Closed);
    for proposal in [put(1, b"key", b"value"), put(2, b"key", b"value")] {
        world.submit(2, &proposal);
        assert_eq!(refused(&world.only_reply()), Some(RefusalCode::SessionExpired));
    }
    world.handle(Event::open_session(session(2)));
    assert_eq!(refused(&world.only_reply()), Some(RefusalCode::SessionExpired));
}

#[test]
fn a_client_opens_closes_and_starts_nothing_through_its_lane() {
    let mut world = World::leading();
    let last = world.machine.last_sequence();
    for operation in [Operation::OpenSession, Operation::CloseSession, Operation::StartEpoch] {
        let proposal = Proposal { operation, ..put(1, b"", b"") };
        world.submit(1, &proposal); // [P-64]
        assert_eq!(refused(&world.only_reply()), Some(RefusalCode::Malformed));
        let proposal = Proposal { operation: Operation::StartEpoch, ..put(1, b"", b"") };
        world.handle(Event::Submitted { origin: Origin::Node, session: session(1), proposal });
        assert_eq!(refused(&world.only_reply()), Some(RefusalCode::Malformed));
    }
    assert_eq!(world.machine.last_sequence(), last);
    assert_eq!(world.machine.session_state(session(1)), SessionState::Open);
}

#[test]
fn a_misshapen_proposal_is_refused_without_a_place() {
    let mut world = World::leading();
    let long_key = [1; 513];
    let long_value = vec![1; 64 * 1024 + 1];
    for (proposal, code) in [
        (put(1, b"", b"v"), RefusalCode::KeyEmpty),
        (put(1, &long_key, b"v"), RefusalCode::KeyTooLong),
        (put(1, b"k", &long_value), RefusalCode::ValueTooLong),
        (put(0, b"k", b"v"), RefusalCode::Malformed),
        (Proposal { value: b"v", ..delete(1, b"k") }, RefusalCode::Malformed),
    ] {
        world.submit(1, &proposal);
        let receipt = world.only_reply();
        assert_eq!((refused(&receipt), receipt.sequence), (Some(code), Sequence::NONE));
    }
    world.put(1, 1, b"k", b"the number is still free");
    world.settle();
    assert!(world.only_reply().is_accepted());
}

#[test]
fn a_full_table_gives_up_the_eldest_closed_session_and_then_the_eldest_open_one() {
    let mut world = World::leading();
    for counter in 2..=SESSIONS_MAX as u32 {
        world.open(counter);
    }
    world.handle(Event::close_session(session(9)));
    world.handle(Event::close_session(session(5)));
    world.settle();
    world.put(1, 1, b"key", b"session 1 is not the eldest any more");
    world.settle();
    let open_more = |world: &mut World, counter: u32| {
        world.open(counter);
        let state = |counter| world.machine.session_state(session(counter));
        [9, 5, 2, 3].map(|counter| state(counter) == SessionState::Unknown)
    };
    let first_new = SESSIONS_MAX as u32 + 1;
    assert_eq!(open_more(&mut world, first_new), [true, false, false, false]); // [P-65]
    assert_eq!(open_more(&mut world, first_new + 1), [true, true, false, false]);
    assert_eq!(open_more(&mut world, first_new + 2), [true, true, true, false]);
    assert_eq!(open_more(&mut world, first_new + 3), [true, true, true, true]);
    assert_eq!(world.machine.session_counts(), (SESSIONS_MAX, 4));
    for counter in [1, 4, 6, first_new, first_new + 3] {
        assert_eq!(world.machine.session_state(session(counter)), SessionState::Open, "session {counter}");
    }
    let reread = World::boot_on(2, world.log).expect("sound");
    assert_eq!(reread.machine.session_counts(), (SESSIONS_MAX, 4), "the table is a function of the log");
    assert_eq!(reread.machine.session_state(session(3)), SessionState::Unknown);
}
