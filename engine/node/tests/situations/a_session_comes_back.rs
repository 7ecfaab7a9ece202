//! Sessions: resumed by their token, held by one client at a time, at most once for ever.

use io_oi_record::attach::{AttachRefusal, Resume};
use io_oi_record::token::SessionToken;
use io_oi_record::{
    Durability, Operation, Outcome, Precondition, Proposal, RefusalCode, Sequence, SessionSequence,
};

use crate::raw::{Inside, RawClient};
use crate::support::NodeProcess;

fn push(inside: &mut Inside, session_sequence: u64, precondition: Precondition, value: &[u8]) {
    let proposal = Proposal {
        session_sequence: SessionSequence(session_sequence),
        operation: Operation::Put,
        precondition,
        durability: Durability::DiskQuorum,
        key: b"k",
        value,
    };
    let mut frame = vec![0; proposal.encoded_bytes()];
    proposal.encode(&mut frame).unwrap();
    inside.lane.proposals.push(&frame).unwrap();
}

fn resume_of(inside: &Inside) -> Resume {
    Resume { session: inside.welcome.session, token: inside.welcome.token }
}

#[test]
fn a_retry_after_kill_and_restart_gets_its_first_answer_and_takes_effect_once() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["idle=yield"]; // A raw client rings no bell.
    let node = NodeProcess::start(dir.path(), &settings);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    push(&mut inside, 1, Precondition::Absent, b"first");
    let first = inside.receipt_for(1);
    assert_eq!(first.outcome, Outcome::Accepted);
    push(&mut inside, 5, Precondition::None, b"second");
    let second = inside.receipt_for(5);
    let resume = resume_of(&inside);
    node.kill();

    let node = NodeProcess::start(dir.path(), &settings);
    let mut inside = RawClient::attach(&node.socket, Some(resume)).unwrap();
    assert_eq!(inside.welcome.session, resume.session);
    push(&mut inside, 1, Precondition::Absent, b"first");
    assert_eq!(inside.receipt_for(1), first);
    push(&mut inside, 3, Precondition::None, b"passed over");
    assert_eq!(inside.receipt_for(3).outcome, Outcome::Refused(RefusalCode::NotAccepted));
    push(&mut inside, 5, Precondition::None, b"second");
    assert_eq!(inside.receipt_for(5), second);
    push(&mut inside, 6, Precondition::SequenceIs(second.sequence), b"third");
    assert_eq!(
        inside.receipt_for(6).outcome,
        Outcome::Accepted,
        "nothing came between: nothing was repeated"
    );
    node.stop();
}

#[test]
fn a_retry_is_answered_as_before_even_when_there_is_no_room_for_anything_new() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=yield", "hot.entries_max=100"]);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    push(&mut inside, 1, Precondition::None, b"first");
    let first = inside.receipt_for(1);
    let mut client = node.attach();
    let mut refused = 0;
    for key in 0..200u32 {
        let receipt = crate::support::put(&mut client, &key.to_le_bytes(), b"x");
        match receipt.outcome {
            Outcome::Accepted => {}
            Outcome::Refused(RefusalCode::HotTierFull) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0, "the hot tier of 100 keys took 200");
    crate::support::eventually("the board shows a full table", || {
        crate::support::counter(&client, "hot_entries_now") == 100
    });
    push(&mut inside, 1, Precondition::None, b"first");
    assert_eq!(inside.receipt_for(1), first);
    // What is there may still change, and what goes makes room.
    assert!(crate::support::put(&mut client, b"k", b"changed").is_accepted());
    let ticket = client.delete(b"k").unwrap();
    assert!(client.wait(ticket, crate::support::soon()).unwrap().is_accepted());
    assert!(crate::support::put(&mut client, b"new", b"x").is_accepted());
    node.stop();
}

#[test]
fn a_session_is_given_back_only_to_its_token_and_only_when_free() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=yield"]);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    let resume = resume_of(&inside);
    let forged = Resume { token: SessionToken([7; 32]), ..resume };
    assert_eq!(RawClient::attach(&node.socket, Some(forged)).err(), Some(AttachRefusal::ResumeRefused));
    assert_eq!(RawClient::attach(&node.socket, Some(resume)).err(), Some(AttachRefusal::SessionInUse));
    push(&mut inside, 1, Precondition::None, b"v");
    let before = inside.receipt_for(1);
    drop(inside);
    let mut inside = RawClient::attach(&node.socket, Some(resume)).unwrap();
    push(&mut inside, 1, Precondition::None, b"v");
    assert_eq!(inside.receipt_for(1), before);
    node.stop();
}

#[test]
fn a_closed_session_stays_closed() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path(), &["idle=yield"]);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    let close = Proposal {
        session_sequence: SessionSequence(0),
        operation: Operation::CloseSession,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        key: b"",
        value: b"",
    };
    let mut frame = vec![0; close.encoded_bytes()];
    close.encode(&mut frame).unwrap();
    inside.lane.proposals.push(&frame).unwrap();
    let receipt = inside.receipt_for(0);
    assert!(receipt.is_accepted() && receipt.sequence > Sequence::NONE);
    push(&mut inside, 1, Precondition::None, b"late");
    assert_eq!(inside.receipt_for(1).outcome, Outcome::Refused(RefusalCode::SessionExpired));
    let resume = resume_of(&inside);
    drop(inside);
    assert_eq!(RawClient::attach(&node.socket, Some(resume)).err(), Some(AttachRefusal::ResumeRefused));
    node.stop();
}

#[test]
fn a_session_that_nobody_comes_back_for_is_closed_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["idle=yield", "resume_s=1"];
    let node = NodeProcess::start(dir.path(), &settings);
    let mut inside = RawClient::attach(&node.socket, None).unwrap();
    let resume = resume_of(&inside);
    push(&mut inside, 1, Precondition::None, b"v");
    assert!(inside.receipt_for(1).is_accepted());
    let mut attached = node.attach();
    let is_closed = |node: &NodeProcess, resume: Resume| {
        // Coming back starts the time anew: the looks are further apart than that.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        RawClient::attach(&node.socket, Some(resume)).err() == Some(AttachRefusal::ResumeRefused)
    };
    drop(inside);
    crate::support::eventually("the dead session is closed", || is_closed(&node, resume));
    assert!(crate::support::put(&mut attached, b"other", b"v").is_accepted());
    let inside = RawClient::attach(&node.socket, None).unwrap();
    let resume = resume_of(&inside);
    node.kill();
    let node = NodeProcess::start(dir.path(), &settings);
    crate::support::eventually("a session of an earlier boot is closed", || is_closed(&node, resume));
    node.stop();
}
