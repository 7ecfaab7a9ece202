//! Clients that write and read all the time, and the record of what they were told.
//!
//! Every client is a thread with a session of its own on one node. It puts, compares and sets, and reads a few shared
//! keys, and puts a key of its own now and then, which must never be missing again once it was acknowledged.
//!
//! Invariant: what was answered is recorded as it was answered; what was not answered stays unknown, and is asked
//! for again when the faults are over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use io_oi_client::{
    Client, Durability, Expected, Options, Outcome, PutError, Receipt, RefusalCode, Sequence, Ticket,
    WaitError,
};
use io_oi_history::sessions::View;
use io_oi_history::{Answer, Call, Condition, History, OperationId};

use crate::support::Random;

/// Clients at work.
pub(crate) struct Workload {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    begun: Instant,
    stops: AtomicBool,
    accepted: AtomicU64,
    record: Mutex<Record>,
}

/// What the clients did and saw.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) history: History,
    pub(crate) views: Vec<View>,
    /// Accepted writes in the order of their answers: shard, sequence, key, value, called, answered.
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) refused: u64,
    pub(crate) lost_sessions: u64,
}

/// One acknowledged write.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) place: (u16, u64),
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) called_ns: u64,
    pub(crate) answered_ns: u64,
}

impl Workload {
    /// One client for each socket.
    pub(crate) fn start(sockets: impl IntoIterator<Item = PathBuf>) -> Self {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            stops: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            record: Mutex::default(),
        });
        let spawn = |(number, socket)| {
            let shared = shared.clone();
            std::thread::spawn(move || Worker::new(number, socket, shared).run())
        };
        let threads = (0..).zip(sockets).map(spawn).collect();
        Self { shared, threads }
    }

    /// Acknowledged writes so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Ends the work once everything that was submitted has its answer: the faults must be over.
    pub(crate) fn finish(self) -> Record {
        self.shared.stops.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("a client of the workload died: its message stands above");
        }
        std::mem::take(&mut self.shared.record.lock().unwrap())
    }
}

/// A proposal whose answer has not come yet.
struct Open {
    ticket: Ticket,
    operation: OperationId,
    key: Vec<u8>,
    value: Vec<u8>,
    called_ns: u64,
}

struct Worker {
    number: u64,
    socket: PathBuf,
    shared: Arc<Shared>,
    client: Option<Client>,
    attached_count: u64,
    random: Random,
    made: u64,
    /// The newest version of each key that this client knows of.
    known: BTreeMap<Vec<u8>, Sequence>,
    late: Vec<Open>,
}

impl Worker {
    fn new(number: u64, socket: PathBuf, shared: Arc<Shared>) -> Self {
        Self {
            number,
            socket,
            shared,
            client: None,
            attached_count: 0,
            random: Random::seeded(),
            made: 0,
            known: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    fn run(mut self) {
        while !self.stops() {
            match self.client.is_some() {
                true => self.do_one_thing(),
                false => self.attach(),
            }
            std::thread::sleep(Duration::from_micros(500 + self.random.below(4_000)));
        }
        self.collect_late_answers();
    }

    fn attach(&mut self) {
        let options = Options {
            patience: Duration::from_millis(500),
            handshake: Duration::from_millis(500),
            reattach: HANG_GUARD,
            ..Options::default()
        };
        if let Ok(client) = Client::attach_with(&self.socket, options) {
            self.client = Some(client);
            self.attached_count += 1;
        }
    }

    fn do_one_thing(&mut self) {
        let key = format!("shared/{}", self.random.below(SHARED_KEYS)).into_bytes();
        match self.random.below(8) {
            0 => self.put_own_key(),
            1 | 2 => self.put(key, Condition::None),
            3 | 4 => self.compare_and_set(key),
            5 | 6 => self.read(&key),
            _ => self.look(&key),
        }
    }

    fn put_own_key(&mut self) {
        let key = format!("own/{}/{}", self.number, self.made).into_bytes();
        self.put(key, Condition::None);
    }

    fn compare_and_set(&mut self, key: Vec<u8>) {
        let condition = self.known.get(&key).map_or(Condition::Absent, |known| Condition::VersionIs(known.0));
        self.put(key, condition);
    }

    fn put(&mut self, key: Vec<u8>, condition: Condition) {
        let Some(client) = &mut self.client else { return };
        self.made += 1;
        let value = format!("{}-{}", self.number, self.made).into_bytes();
        let call = Call::Put { value: value.clone(), only_if: condition };
        let called_ns = nanos(self.shared.begun);
        let operation = self.shared.record.lock().unwrap().history.invoke(called_ns, self.number, &key, call);
        match submit(client, &key, &value, condition) {
            Ok(ticket) => {
                let open = Open { ticket, operation, key, value, called_ns };
                self.wait_for(open);
            }
            Err(error) => {
                self.answer(operation, Answer::NoEffect);
                self.not_submitted(error);
            }
        }
    }

    fn not_submitted(&mut self, error: PutError) {
        match error {
            PutError::SessionLost => self.lose_session(),
            PutError::Full { .. } | PutError::NodeAway => {
                self.client.iter_mut().for_each(Client::tend);
                std::thread::sleep(Duration::from_millis(5));
            }
            other => panic!("a put of the workload was not taken: {other}"),
        }
    }

    /// A while: a client that its node keeps waiting goes on with other work, and asks again at the end.
    fn wait_for(&mut self, open: Open) {
        let Some(client) = &mut self.client else { return };
        match client.wait(open.ticket, Instant::now() + PATIENCE) {
            Ok(receipt) => self.take_receipt(open, &receipt),
            Err(WaitError::TimedOut { .. } | WaitError::NodeAway) => self.late.push(open),
            Err(WaitError::SessionLost) => self.lose_session(),
            Err(error @ WaitError::UnknownTicket { .. }) => panic!("the receipt was lost: {error}"),
            Err(other) => panic!("a wait of the workload failed: {other}"),
        }
    }

    fn take_receipt(&mut self, open: Open, receipt: &Receipt) {
        let answer = match receipt.outcome {
            Outcome::Accepted => {
                assert!(
                    receipt.durability >= Durability::DiskQuorum,
                    "{receipt:?} is less than what was asked for"
                );
                self.known.insert(open.key.clone(), receipt.sequence);
                Answer::Accepted { version: Some(receipt.sequence.0) }
            }
            Outcome::Refused(RefusalCode::PreconditionFailed) => {
                self.known.remove(&open.key);
                Answer::Refused
            }
            // The first answer is no longer known: it may have been any.
            Outcome::Refused(RefusalCode::AnswerForgotten) => return,
            Outcome::Refused(_) => Answer::NoEffect,
        };
        let is_accepted = receipt.is_accepted();
        let answered_ns = self.answer(open.operation, answer);
        let mut record = self.shared.record.lock().unwrap();
        if is_accepted {
            self.shared.accepted.fetch_add(1, Ordering::Relaxed);
            let place = (open.ticket.shard.0, receipt.sequence.0);
            let Open { key, value, called_ns, .. } = open;
            record.accepted.push(Accepted { place, key, value, called_ns, answered_ns });
        } else {
            record.refused += 1;
        }
    }

    /// A linearizable read, where the lease allows one.
    fn read(&mut self, key: &[u8]) {
        let Some(client) = &mut self.client else { return };
        let called_ns = nanos(self.shared.begun);
        let operation =
            self.shared.record.lock().unwrap().history.invoke(called_ns, self.number, key, Call::Read);
        let mut value = Vec::new();
        let answer = match client.get_linearizable(key, &mut value) {
            Ok(Some(meta)) => Answer::Found { version: Some(meta.sequence.0), value },
            Ok(None) => Answer::Missing,
            Err(_) => Answer::NoEffect, // No lease, or no node: an answer, and none about the key.
        };
        self.answer(operation, answer);
    }

    /// A plain read: never goes back within a session on one boot of the node.
    fn look(&mut self, key: &[u8]) {
        let Some(client) = &mut self.client else { return };
        let mut value = Vec::new();
        let boot = client.incarnation();
        let Ok(found) = client.get_committed(key, &mut value) else { return };
        if client.incarnation() != boot || found.as_ref().is_some_and(|meta| !meta.fresh) {
            return;
        }
        let version = found.map_or(0, |meta| meta.sequence.0);
        if let Some(meta) = found {
            self.known.insert(key.to_vec(), meta.sequence);
        }
        let session = boot ^ (self.number << 48) ^ (self.attached_count << 32);
        let view = View { session, time_ns: nanos(self.shared.begun), key: key.to_vec(), version };
        self.shared.record.lock().unwrap().views.push(view);
    }

    fn answer(&mut self, operation: OperationId, answer: Answer) -> u64 {
        let now = nanos(self.shared.begun);
        self.shared.record.lock().unwrap().history.answer(now, operation, answer);
        now
    }

    /// Whatever was open stays unknown for ever.
    fn lose_session(&mut self) {
        self.late.clear();
        self.client = None;
        self.shared.record.lock().unwrap().lost_sessions += 1;
    }

    fn collect_late_answers(&mut self) {
        let deadline = Instant::now() + HANG_GUARD;
        for open in std::mem::take(&mut self.late) {
            let Some(client) = &mut self.client else { return };
            match client.wait(open.ticket, deadline) {
                Ok(receipt) => self.take_receipt(open, &receipt),
                Err(WaitError::SessionLost) => self.lose_session(),
                Err(error) => panic!("client {} never got its answer: {error}", self.number),
            }
        }
    }

    fn stops(&self) -> bool {
        self.shared.stops.load(Ordering::Acquire)
    }
}

fn submit(client: &mut Client, key: &[u8], value: &[u8], condition: Condition) -> Result<Ticket, PutError> {
    match condition {
        Condition::None => client.put(key, value),
        Condition::Absent => client.compare_and_set(key, Expected::Absent, value),
        Condition::VersionIs(version) => {
            client.compare_and_set(key, Expected::Sequence(Sequence(version)), value)
        }
    }
}

fn nanos(begun: Instant) -> u64 {
    begun.elapsed().as_nanos() as u64
}

impl Record {
    /// What must hold of every record, whatever happened meanwhile.
    pub(crate) fn check(&self) {
        let checked = io_oi_history::check(&self.history, STEPS_MAX).unwrap_or_else(|violation| {
            self.show(&violation);
            panic!("{violation}");
        });
        let views = io_oi_history::sessions::check(&self.views).unwrap_or_else(|error| panic!("{error}"));
        self.check_places();
        println!(
            "{} operations on {} keys linearizable in {} steps; {} accepted, {} refused, {} reads by lease, \
             {views} plain reads, {} sessions lost",
            checked.operations,
            checked.keys,
            checked.steps,
            self.accepted.len(),
            self.refused,
            self.lease_reads(),
            self.lost_sessions
        );
    }

    /// Linearizable reads that a lease allowed.
    pub(crate) fn lease_reads(&self) -> usize {
        let is_answered = |answer: &Answer| matches!(answer, Answer::Found { .. } | Answer::Missing);
        self.history.operations().iter().filter(|operation| is_answered(&operation.answer)).count()
    }

    /// One record at each place, and places follow the time that clients saw.
    fn check_places(&self) {
        let mut by_place: Vec<&Accepted> = self.accepted.iter().collect();
        by_place.sort_by_key(|accepted| accepted.place);
        for pair in by_place.windows(2) {
            assert_ne!(pair[0].place, pair[1].place, "two receipts for one place: {pair:?}");
        }
        for shard in by_place.chunk_by(|one, other| one.place.0 == other.place.0) {
            let mut earliest_answer_after = u64::MAX;
            for accepted in shard.iter().rev() {
                assert!(
                    accepted.called_ns <= earliest_answer_after,
                    "{accepted:?} was called after a later place had been acknowledged"
                );
                earliest_answer_after = earliest_answer_after.min(accepted.answered_ns);
            }
        }
    }

    fn show(&self, violation: &io_oi_history::Violation) {
        let io_oi_history::Violation::NotLinearizable { operations, stuck, .. } = violation else { return };
        let place = operations.iter().position(|operation| operation == stuck).unwrap_or(0);
        for operation in &operations[place.saturating_sub(40)..(place + 20).min(operations.len())] {
            let mark = if operation == stuck { ">>" } else { "  " };
            println!("{mark} {}", self.history.operations()[*operation]);
        }
    }

    /// Whether a write of this value was submitted and never answered.
    pub(crate) fn may_be_unanswered(&self, key: &[u8], value: &[u8]) -> bool {
        self.history.operations().iter().any(|operation| {
            let wrote = matches!(&operation.call, Call::Put { value: put, .. } if put == value);
            operation.key == key && wrote && operation.answer == Answer::Unknown
        })
    }

    /// The newest acknowledged write of each key.
    pub(crate) fn newest(&self) -> BTreeMap<&[u8], &Accepted> {
        let mut newest: BTreeMap<&[u8], &Accepted> = BTreeMap::new();
        for accepted in &self.accepted {
            let slot = newest.entry(&accepted.key).or_insert(accepted);
            if slot.place < accepted.place {
                *slot = accepted;
            }
        }
        newest
    }
}

const SHARED_KEYS: u64 = 12;
/// A client of a node without a leader goes on after this.
const PATIENCE: Duration = Duration::from_millis(1_500);
const HANG_GUARD: Duration = Duration::from_secs(90);
const STEPS_MAX: u64 = 50_000_000;
