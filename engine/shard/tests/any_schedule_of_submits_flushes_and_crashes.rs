//! Random schedules against a simple oracle: nothing acknowledged is lost, everything happens at most once, a retry
//! gets the answer of the first, sequences are dense, and nothing is said or signed too early.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use io_oi_consensus::{EpochClaim, Seal};
use io_oi_record::{
    Block, Durability, Epoch, Operation, Precondition, Proposal, Receipt, Sequence, SessionId,
    SessionSequence,
};
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{Event, LogKind};
use proptest::prelude::*;
use support::*;

const SESSIONS: u32 = 3;
const KEYS: [&[u8]; 3] = [b"a", b"bb", b"ccc"];

#[derive(Clone, Debug)]
enum Action {
    Submit { session: u32, gap: u64, key: usize, is_delete: bool, precondition: u8, durability: Durability },
    Retry { session: u32, back: u64 },
    CloseSession { session: u32 },
    Flush { entries: u64 },
    Elapse { ns: u64 },
    Crash { kept: u64 },
    CleanRestart,
}

fn action() -> impl Strategy<Value = Action> {
    let durability = prop_oneof![
        1 => Just(Durability::Local),
        1 => Just(Durability::MemQuorum),
        6 => Just(Durability::DiskQuorum),
        2 => Just(Durability::Certified),
    ];
    let submit = (1..=SESSIONS, 1..4u64, 0..KEYS.len(), any::<bool>(), 0..4u8, durability);
    prop_oneof![
        20 => submit.prop_map(|(session, gap, key, is_delete, precondition, durability)| {
            Action::Submit { session, gap, key, is_delete, precondition, durability }
        }),
        8 => (1..=SESSIONS, 0..12u64).prop_map(|(session, back)| Action::Retry { session, back }),
        1 => (1..=SESSIONS).prop_map(|session| Action::CloseSession { session }),
        8 => (1..4u64).prop_map(|entries| Action::Flush { entries }),
        3 => (0..20_000_000u64).prop_map(|ns| Action::Elapse { ns }),
        2 => (0..4u64).prop_map(|kept| Action::Crash { kept }),
        1 => Just(Action::CleanRestart),
    ]
}

/// What a client knows about one proposal that it made.
type Name = (SessionId, SessionSequence);

struct Checked {
    world: World,
    boot: u32,
    highest: BTreeMap<u32, u64>,
    made: BTreeMap<Name, (usize, bool, u8, Durability)>,
    /// The first receipt with a place, per proposal.
    answered: BTreeMap<Name, Receipt>,
    submitted: usize,
    replied: usize,
}

impl Checked {
    fn boot() -> Self {
        let mut world = World::boot();
        world.settle();
        for counter in 1..=SESSIONS {
            world.open(counter);
        }
        world.replies.clear();
        let (highest, made, answered) = Default::default();
        Self { world, boot: 1, highest, made, answered, submitted: 0, replied: 0 }
    }

    fn perform(&mut self, action: &Action) {
        match *action {
            Action::Submit { session, gap, key, is_delete, precondition, durability } => {
                let highest = self.highest.entry(session).or_default();
                *highest += gap;
                let name = (support::session(session), SessionSequence(*highest));
                self.made.insert(name, (key, is_delete, precondition, durability));
                self.submit(session, name);
            }
            Action::Retry { session, back } => {
                let highest = self.highest.get(&session).copied().unwrap_or(0);
                let name = (support::session(session), SessionSequence(highest.saturating_sub(back)));
                if self.made.contains_key(&name) {
                    self.submit(session, name);
                }
            }
            Action::CloseSession { session } => {
                if self.world.machine.is_ready() {
                    self.submitted += 1;
                    self.world.handle(Event::close_session(support::session(session)));
                }
            }
            Action::Flush { entries } => {
                let through = self.world.durable + entries.min(self.world.unflushed());
                self.world.flush_through(through);
            }
            Action::Elapse { ns } => {
                self.world.now = self.world.now.saturating_add(ns);
                self.world.handle(Event::Elapsed);
            }
            Action::Crash { kept } => self.crash(kept),
            Action::CleanRestart => {
                self.world.close();
                self.world.settle();
                assert!(self.world.machine.is_closed());
                self.check();
                self.crash(0);
            }
        }
        self.check();
    }

    fn submit(&mut self, session: u32, name: Name) {
        if !self.world.machine.is_ready() {
            return;
        }
        let (key, is_delete, precondition, durability) = self.made[&name];
        let precondition = match precondition {
            0 => Precondition::Absent,
            1 => Precondition::SequenceIs(Sequence(name.1.0 + 3)),
            _ => Precondition::None,
        };
        let value = name.1.0.to_le_bytes();
        let proposal = match is_delete {
            true => Proposal { precondition, durability, ..delete(name.1.0, KEYS[key]) },
            false => Proposal { precondition, durability, ..put(name.1.0, KEYS[key], &value) },
        };
        self.submitted += 1;
        self.world.submit(session, &proposal);
    }

    /// The process dies; of what was not flushed, the first `kept` entries happen to be on the disk.
    fn crash(&mut self, kept: u64) {
        let kept = self.world.durable + kept.min(self.world.unflushed());
        let mut log = std::mem::take(&mut self.world.log);
        log.truncate(self.world.recovered + kept as usize);
        let survivors = names_in(&log);
        for (name, receipt) in &self.answered {
            let is_promised = receipt.durability >= Durability::DiskQuorum;
            assert!(!is_promised || survivors.contains(name), "{receipt:?} was acknowledged and lost");
        }
        self.answered.retain(|name, _| survivors.contains(name));
        self.boot += 1;
        let boots_from = log.len();
        let world = World::boot_on(self.boot, log).expect("our own log is sound");
        assert_eq!(world.machine.counters().signatures, 0, "nothing is signed before the claim is durable");
        assert_eq!(world.log.len(), boots_from + 1, "nothing but the claim goes to the log at first");
        self.world = world;
        (self.submitted, self.replied) = (0, 0);
    }

    fn check(&mut self) {
        self.check_replies();
        self.check_seals();
    }

    fn check_replies(&mut self) {
        let (on_disk, certified) = durable_points(&self.world);
        for (session, receipt) in std::mem::take(&mut self.world.replies) {
            self.replied += 1;
            if receipt.sequence.is_none() || receipt.session_sequence.is_none() {
                continue;
            }
            let name = (session, receipt.session_sequence);
            let first = *self.answered.entry(name).or_insert(receipt);
            assert_eq!(receipt, first, "a retry gets the answer of the first");
            let needed = match receipt.durability {
                Durability::Local | Durability::MemQuorum => Sequence::NONE,
                Durability::DiskQuorum => receipt.sequence,
                Durability::Certified => receipt.sequence,
            };
            assert!(needed <= on_disk, "{receipt:?} was given before its flush, durable through {on_disk}");
            let is_certified = receipt.durability == Durability::Certified;
            assert!(!is_certified || needed <= certified, "{receipt:?} was given before its certificate");
        }
    }

    /// A seal exists only in an epoch whose claim had been flushed.
    fn check_seals(&self) {
        let flushed = self.world.recovered + self.world.durable as usize;
        let claimed: BTreeSet<Epoch> = self.world.log[..flushed]
            .iter()
            .filter(|frame| frame.kind == LogKind::Claim)
            .map(|frame| EpochClaim::decode(&frame.bytes).expect("whole").epoch)
            .collect();
        for frame in self.world.log.iter().filter(|frame| frame.kind == LogKind::Seal) {
            let epoch = Seal::decode(&frame.bytes).expect("whole").epoch;
            assert!(claimed.contains(&epoch), "epoch {epoch} was signed in before its claim was durable");
        }
    }

    /// Everything flushed: every submission of this boot is answered, the hot tier is what the log says.
    fn finish(mut self) {
        self.world.settle();
        self.world.close();
        self.world.settle();
        self.check();
        assert!(self.world.machine.is_closed() && self.world.machine.is_idle());
        assert_eq!(self.replied, self.submitted, "every submission has exactly one answer");
        let mut state: BTreeMap<_, (Sequence, Option<Vec<u8>>)> = BTreeMap::new();
        let (mut next, mut seen) = (Sequence::FIRST, BTreeSet::new());
        for frame in self.world.log.iter().filter(|frame| frame.kind == LogKind::Block) {
            for record in Block::decode(&frame.bytes).expect("whole").records() {
                assert_eq!(record.sequence, next, "sequences are dense");
                next = next.next();
                if !record.operation.has_key() {
                    continue;
                }
                assert!(seen.insert((record.session, record.session_sequence)), "{record:?} came twice");
                let newest = state.get(record.key).filter(|(_, value)| value.is_some());
                let verdict = precondition_verdict(&record.proposal(), newest.map(|(sequence, _)| *sequence));
                assert_eq!(record.verdict, verdict, "judged in log order, across crashes: {record:?}");
                if record.verdict.is_accepted() {
                    let value = (record.operation == Operation::Put).then(|| record.value.to_vec());
                    state.insert(record.key.to_vec(), (record.sequence, value));
                }
            }
        }
        assert_eq!(self.world.committed, state);
        assert_eq!(self.world.machine.committed().next(), next, "everything is committed");
        for ((session, session_sequence), receipt) in &self.answered {
            let is_there = seen.contains(&(*session, *session_sequence));
            assert!(is_there, "{receipt:?} has a place but no record");
        }
    }
}

/// Through which sequence this boot's flushes cover blocks, and seals.
fn durable_points(world: &World) -> (Sequence, Sequence) {
    let (mut on_disk, mut certified) = (Sequence::NONE, Sequence::NONE);
    for frame in &world.log[..world.recovered + world.durable as usize] {
        match frame.kind {
            LogKind::Block => on_disk = Block::decode(&frame.bytes).expect("whole").header.last_sequence(),
            LogKind::Seal => certified = Seal::decode(&frame.bytes).expect("whole").last_sequence,
            _ => {}
        }
    }
    (on_disk, certified)
}

fn names_in(log: &[Frame]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for frame in log.iter().filter(|frame| frame.kind == LogKind::Block) {
        let block = Block::decode(&frame.bytes).expect("whole");
        names.extend(block.records().map(|record| (record.session, record.session_sequence)));
    }
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 96 } else { 2_000 }))]

    #[test]
    fn any_schedule_keeps_every_promise(actions in prop::collection::vec(action(), 1..120)) {
        let mut checked = Checked::boot();
        for action in &actions {
            checked.perform(action);
        }
        checked.finish();
    }

    #[test]
    fn the_same_events_give_the_same_effects(actions in prop::collection::vec(action(), 1..60)) {
        let traces = [0, 1].map(|_| {
            let mut checked = Checked::boot();
            let mut trace = Vec::new();
            for action in &actions {
                checked.world.keeps_trace = true;
                checked.perform(action);
                trace.append(&mut checked.world.trace);
            }
            (trace, checked.world.log)
        });
        prop_assert!(traces[0] == traces[1]);
    }
}

/// A retry came after its block had been sealed and before the time for a vote: the machine closed, and left it waiting.
#[test]
fn who_waits_for_a_certificate_has_it_before_the_log_is_closed() {
    let put = |session, gap, durability| Action::Submit {
        session,
        gap,
        key: 0,
        is_delete: false,
        precondition: 0,
        durability,
    };
    let actions = [
        put(1, 1, Durability::Local),
        put(3, 1, Durability::Certified),
        Action::Flush { entries: 2 },
        Action::Crash { kept: 2 },
        Action::Flush { entries: 1 },
        Action::Retry { session: 3, back: 0 },
    ];
    let mut checked = Checked::boot();
    actions.iter().for_each(|action| checked.perform(action));
    assert_eq!(checked.submitted, 1, "the retry found its record in the log");
    checked.finish();
}
