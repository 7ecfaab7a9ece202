//! What was taken back never happened: any prefix of any log gives the same table, however far it had gone before.

use std::collections::BTreeMap;
use std::vec::Vec;

use io_oi_record::{NodeTag, Precondition, RefusalCode};
use proptest::prelude::*;

use super::*;

const SESSIONS_MAX: usize = 4;
const WINDOW: usize = 3;
/// Session ids that the tests draw from: more than the table holds.
const IDS: u32 = 10;

fn table() -> Sessions {
    Sessions::new(SESSIONS_MAX, WINDOW, 16)
}

fn session(counter: u32) -> SessionId {
    SessionId { node: NodeTag(7), boot: 1, counter }
}

/// One thing that a leader might sequence.
#[derive(Clone, Copy, Debug)]
struct Step {
    counter: u32,
    operation: Operation,
    /// How far above the session's newest number.
    skip: u64,
    is_refused: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        3 => Just(Operation::OpenSession),
        1 => Just(Operation::CloseSession),
        8 => Just(Operation::Put),
        1 => Just(Operation::Govern),
        1 => Just(Operation::StartEpoch),
    ];
    let step = (0..IDS, operation, 1..4u64, any::<bool>())
        .prop_map(|(counter, operation, skip, is_refused)| Step { counter, operation, skip, is_refused });
    proptest::collection::vec(step, 1..120)
}

/// Turns wishes into a log that every table accepts: what is not fresh is left out.
fn log_of(steps: &[Step]) -> Vec<Record<'static>> {
    let (mut table, mut log, mut newest) = (table(), Vec::new(), BTreeMap::new());
    for step in steps {
        let is_counted = step.operation.is_counted();
        let highest = newest.entry(step.counter).or_insert(0);
        let session_sequence = if is_counted { *highest + step.skip } else { 0 };
        let refusal = Verdict::Refuse(RefusalCode::PreconditionFailed);
        let record = Record {
            sequence: Sequence(log.len() as u64 + 1),
            session: session(step.counter),
            session_sequence: SessionSequence(session_sequence),
            operation: step.operation,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            verdict: if step.is_refused { refusal } else { Verdict::Accept },
            key: if step.operation.has_key() { b"key" } else { b"" },
            value: b"",
            effects: io_oi_record::Effects::NONE,
        };
        if apply(&mut table, &record).is_ok() {
            *highest = session_sequence.max(*highest);
            log.push(record);
        }
    }
    log
}

fn apply(table: &mut Sessions, record: &Record<'_>) -> Result<(), NotFresh> {
    table.apply(record, Epoch(1 + record.sequence.0 / 10), Nanos(record.sequence.0 * 7))
}

fn table_of(log: &[Record<'_>]) -> Sessions {
    let mut table = table();
    log.iter().for_each(|record| apply(&mut table, record).expect("the log was made so"));
    table
}

/// Everything that anybody can learn from a table.
fn face(table: &Sessions) -> (usize, u64, Vec<SessionId>, Vec<Standing>) {
    let mut open: Vec<SessionId> = table.open().collect();
    open.sort_unstable();
    let mut standings = Vec::new();
    for counter in 0..IDS {
        for operation in [Operation::OpenSession, Operation::CloseSession] {
            standings.push(table.standing(session(counter), operation, SessionSequence(0)));
        }
        for number in 1..400 {
            standings.push(table.standing(session(counter), Operation::Put, SessionSequence(number)));
        }
    }
    (table.count(), table.evicted_count(), open, standings)
}

/// Two tables that look alike also go on alike: who is evicted next is part of the state.
fn assert_same(mut one: Sessions, mut other: Sessions, sequence: u64) {
    assert_eq!(face(&one), face(&other));
    for more in 1..=SESSIONS_MAX as u64 {
        let open = Record {
            sequence: Sequence(sequence + more),
            session: session(1000 + more as u32),
            session_sequence: SessionSequence(0),
            operation: Operation::OpenSession,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            verdict: Verdict::Accept,
            key: b"",
            value: b"",
            effects: io_oi_record::Effects::NONE,
        };
        apply(&mut one, &open).expect("never seen");
        apply(&mut other, &open).expect("never seen");
        assert_eq!(face(&one), face(&other), "after {more} more sessions");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn taking_back_any_suffix_leaves_the_table_of_the_prefix(
        steps in steps(),
        keep in any::<prop::sample::Index>(),
        settle in any::<prop::sample::Index>(),
    ) {
        let log = log_of(&steps);
        let kept = keep.index(log.len() + 1);
        let settled = settle.index(kept + 1);
        let mut table = table();
        for (at, record) in log.iter().enumerate() {
            apply(&mut table, record).expect("the log was made so");
            if at < settled {
                table.settle_through(record.sequence);
            }
        }
        for record in log[kept..].iter().rev() {
            prop_assert_eq!(table.undo_last(), record.sequence);
        }
        prop_assert_eq!(table.uncommitted_count(), kept - settled);
        assert_same(table, table_of(&log[..kept]), kept as u64);
    }

    /// A follower that was led astray and back, several times, while the commit point moves on.
    #[test]
    fn a_rewritten_history_leaves_no_trace(
        first in steps(),
        second in steps(),
        keep in any::<prop::sample::Index>(),
    ) {
        let log = log_of(&first);
        let kept = keep.index(log.len() + 1);
        let mut table = table_of(&log);
        log[kept..].iter().for_each(|_| { table.undo_last(); });
        let mut other = table_of(&log[..kept]);
        other.settle_through(Sequence(kept as u64));
        let mut end = kept as u64;
        for (at, record) in log_of(&second).iter().enumerate() {
            let record = Record { sequence: Sequence(kept as u64 + 1 + at as u64), ..*record };
            prop_assert_eq!(apply(&mut table, &record), apply(&mut other, &record));
            if table.journal.newest() == Some(record.sequence) {
                end = record.sequence.0;
            }
        }
        assert_same(table, other, end);
    }
}

#[test]
fn limbo_is_bounded_and_emptied_by_commits() {
    let mut table = table();
    let open = |sequence: u64| Record {
        sequence: Sequence(sequence),
        session: session(sequence as u32),
        session_sequence: SessionSequence(0),
        operation: Operation::OpenSession,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: b"",
        value: b"",
        effects: io_oi_record::Effects::NONE,
    };
    let full = (SESSIONS_MAX + LIMBO_MAX) as u64;
    for sequence in 1..=full {
        assert!(table.has_room_to_open(), "before {sequence}");
        apply(&mut table, &open(sequence)).expect("never seen");
    }
    assert!(!table.has_room_to_open());
    assert_eq!((table.count(), table.evicted_count()), (SESSIONS_MAX, LIMBO_MAX as u64));
    table.settle_through(Sequence(SESSIONS_MAX as u64));
    assert!(!table.has_room_to_open(), "the first opens evicted nobody");
    table.settle_through(Sequence(SESSIONS_MAX as u64 + 1));
    assert!(table.has_room_to_open());
    // A log that is read back may hold more than a leader would have let in.
    for sequence in full + 1..full + 100 {
        apply(&mut table, &open(sequence)).expect("never seen");
    }
    for _ in SESSIONS_MAX as u64 + 1..full + 99 {
        table.undo_last();
    }
    assert_eq!(table.state(session(SESSIONS_MAX as u32 + 1)), SessionState::Open);
    assert_eq!(table.state(session(1)), SessionState::Unknown, "its eviction is committed");
    assert_eq!(table.state(session(2)), SessionState::Open, "its eviction never happened");
}

/// The forwarded open record of an evicted session came a second time and the copy of its put took effect again
/// (simulator seed 33167 of three nodes).
#[test]
fn an_evicted_session_is_not_opened_again() {
    let opens = |counters: std::ops::RangeInclusive<u32>| -> Vec<Step> {
        let open = |counter| Step { counter, operation: Operation::OpenSession, skip: 1, is_refused: false };
        counters.map(open).collect()
    };
    let open_standing = |table: &Sessions, id| table.standing(id, Operation::OpenSession, SessionSequence(0));
    let log = log_of(&opens(2..=SESSIONS_MAX as u32 + 3));
    let mut table = table_of(&log);
    let other_node = SessionId { node: NodeTag(8), ..session(1) };
    let next_boot = SessionId { boot: 2, ..session(1) };
    for gone in 1..=3 {
        assert_eq!(open_standing(&table, session(gone)), Standing::Unknown, "{gone}");
    }
    assert_eq!(open_standing(&table, other_node), Standing::Fresh);
    assert_eq!(open_standing(&table, next_boot), Standing::Fresh);
    table.undo_last();
    assert_eq!(open_standing(&table, session(2)), Standing::Unknown);
    assert!(
        matches!(open_standing(&table, session(3)), Standing::Answered(_)),
        "its eviction never happened"
    );
    table.undo_last();
    assert!(matches!(open_standing(&table, session(2)), Standing::Answered(_)));
    assert_eq!(open_standing(&table, session(1)), Standing::Fresh, "nobody is evicted");
}

#[test]
#[should_panic(expected = "only records that are not committed are taken back")]
fn what_is_committed_is_never_taken_back() {
    let mut table = table_of(&log_of(&[Step {
        counter: 1,
        operation: Operation::OpenSession,
        skip: 1,
        is_refused: false,
    }]));
    table.settle_through(Sequence(1));
    table.undo_last();
}

#[test]
fn an_operators_change_under_a_nodes_own_session_needs_no_open_session() {
    let mut table = table();
    let govern = Record {
        sequence: Sequence(1),
        session: session(0),
        session_sequence: SessionSequence(1),
        operation: Operation::Govern,
        precondition: Precondition::None,
        durability: Durability::DiskQuorum,
        verdict: Verdict::Accept,
        key: b"",
        value: b"signed",
        effects: io_oi_record::Effects::NONE,
    };
    assert_eq!(apply(&mut table, &govern), Ok(()));
    let client = Record { sequence: Sequence(2), session: session(1), ..govern };
    assert_eq!(apply(&mut table, &client), Err(NotFresh));
    assert_eq!(apply(&mut table, &Record { sequence: Sequence(2), ..govern }), Ok(()));
    assert_eq!((table.undo_last(), table.undo_last()), (Sequence(2), Sequence(1)));
}
