//! The gateway's side of the store: one client, and what was begun through it and has no answer yet.
//!
//! Invariants:
//! - an answer that tells of a write is given only when the write is as durable as asked for; one that tells of no write is
//!   given only on a value that is (or, as configured, visible on this box);
//! - edits of one key that look at its value wait for each other here, and what waits together is decided by one record: the
//!   edits follow each other on the newest value, and a compare-and-set takes the result or nothing. A refusal by an
//!   arbitrator is a judgement of that one record, so the edits behind it are then proposed one by one;
//! - what was begun for one shard first is in its ring first.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use io_oi_client::{
    AttachError, Client, Durability, Expected, Meta, Options, Outcome, PutError, ReadError, Receipt,
    RefusalCode, Sequence, ShardId, Ticket, Visible,
};
use io_oi_record::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use slab::Slab;

use crate::edit::{Answer, Change, Edit};
use crate::error::CommandError;

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteAnswer {
    /// When a quorum has flushed it. Reads give committed values.
    #[default]
    Committed,
    /// When it is visible on this box; a crash may take it back. Reads give the newest value.
    Local,
}

impl WriteAnswer {
    fn durability(self) -> Durability {
        match self {
            WriteAnswer::Committed => Durability::DiskQuorum,
            WriteAnswer::Local => Durability::Local,
        }
    }
}

/// What one command wants changed.
pub(crate) struct Plan<'a> {
    /// Key and edit, in the order of the command.
    pub(crate) parts: Vec<(&'a [u8], Edit<&'a [u8]>)>,
    pub(crate) gather: Gather,
}

/// How the answers of all keys make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gather {
    /// There is but one; or all say the same.
    Last,
    /// Numbers are added up.
    Sum,
}

impl<'a> Plan<'a> {
    pub(crate) fn one(key: &'a [u8], edit: Edit<&'a [u8]>) -> Self {
        Self { parts: vec![(key, edit)], gather: Gather::Last }
    }
}

/// A command that waits for its answers.
struct Errand {
    parts_open: usize,
    gather: Gather,
    answer: Answer,
    /// Whoever waits for it.
    waiter: u64,
}

/// A part that waits, with bytes of its own.
struct Part {
    errand: usize,
    edit: Edit<Box<[u8]>>,
    /// What it counts in `Store::waiting_bytes`.
    bytes: usize,
}

/// A key whose edits wait for each other.
#[derive(Default)]
struct KeyWork {
    queue: VecDeque<Part>,
    /// What the record under way decides, and what it will be answered with.
    deciding: Vec<(Part, Answer)>,
    /// So many are proposed one by one.
    singly: usize,
}

/// What a receipt is for.
enum Flight {
    Blind { errand: usize },
    Key(Box<[u8]>),
}

/// See the head of the file.
pub(crate) struct Store {
    client: Client,
    write: WriteAnswer,
    errands: Slab<Errand>,
    flights: HashMap<Ticket, Flight>,
    keys: HashMap<Box<[u8]>, KeyWork>,
    /// Keys whose next step had to wait: for room in the ring, or for a tentative value to be decided.
    unsettled: Vec<Box<[u8]>>,
    /// Parts that found no room in the ring, oldest first.
    backlog: VecDeque<(Box<[u8]>, Part)>,
    /// Who waits for an errand that is over.
    finished: Vec<u64>,
    /// A shard has forgotten the session: nothing is ever taken under it again.
    is_expired: bool,
    /// Bytes of all parts that wait.
    waiting_bytes: usize,
    receipts: Vec<(Ticket, Receipt)>,
    value: Vec<u8>,
}

/// Whether a key can exist at all.
pub(crate) fn is_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}

impl Store {
    /// Attaches to the node, without patience: who waits for a node does so by calling again.
    pub(crate) fn attach(socket: &Path, write: WriteAnswer) -> Result<Self, AttachError> {
        let options =
            Options { name: "RESP gateway".to_owned(), handshake: HANDSHAKE_PATIENCE, ..Options::default() };
        Ok(Self {
            client: Client::attach_with(socket, options)?,
            write,
            errands: Slab::new(),
            flights: HashMap::new(),
            keys: HashMap::new(),
            unsettled: Vec::new(),
            backlog: VecDeque::new(),
            finished: Vec::new(),
            is_expired: false,
            waiting_bytes: 0,
            receipts: Vec::new(),
            value: Vec::new(),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Why nothing can be begun any more, if so: a new store is to take over, after `give_up`.
    pub(crate) fn why_over(&self) -> Option<&str> {
        let expired = self.is_expired.then_some("a shard has forgotten the session");
        self.client.lost_reason().or(expired)
    }

    pub(crate) fn shard_of(&self, key: &[u8]) -> ShardId {
        self.client.shard_of(key)
    }

    /// Whether something was begun that has no answer yet: then `poll` must be called soon.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.errands.is_empty()
    }

    /// Whether an errand can be begun without growing a queue that does not move.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting_bytes < WAITING_BYTES_MAX
    }

    /// The value that readers of the gateway see.
    pub(crate) fn read(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Meta>, CommandError> {
        if !is_key(key) {
            value.clear();
            return Ok(None);
        }
        let read = match self.write {
            WriteAnswer::Committed => self.client.get_committed(key, value),
            WriteAnswer::Local => self.client.get(key, value),
        };
        read.map_err(CommandError::Read)
    }

    /// Begins an errand; `take_finished` names its waiter when it is over.
    pub(crate) fn begin(&mut self, plan: &Plan<'_>, waiter: u64) -> usize {
        let errand = self.errands.insert(Errand {
            parts_open: plan.parts.len(),
            gather: plan.gather,
            answer: if plan.gather == Gather::Sum { Answer::Integer(0) } else { Answer::Ok },
            waiter,
        });
        for (key, edit) in &plan.parts {
            match check(key, edit) {
                Err(error) => self.finish_part(errand, Answer::Failed(error)),
                Ok(()) if !self.backlog.is_empty() || !self.try_begin(errand, key, edit) => {
                    let part = self.part(errand, edit);
                    self.backlog.push_back(((*key).into(), part));
                }
                Ok(()) => {}
            }
        }
        errand
    }

    /// Takes what has come, and goes on with everything that can go on. Never waits.
    pub(crate) fn poll(&mut self) {
        let mut receipts = std::mem::take(&mut self.receipts);
        self.client.poll(|ticket, receipt| receipts.push((ticket, *receipt)));
        for (ticket, receipt) in receipts.drain(..) {
            self.settle(ticket, &receipt);
        }
        self.receipts = receipts;
        for key in std::mem::take(&mut self.unsettled) {
            self.decide(&key);
        }
        while let Some((key, part)) = self.backlog.pop_front() {
            if !self.try_begin(part.errand, &key, &part.edit) {
                self.backlog.push_front((key, part));
                break;
            }
            self.waiting_bytes -= part.bytes;
        }
    }

    /// Somebody one of whose errands is over; its answer is to be taken with `take_answer`.
    pub(crate) fn take_finished(&mut self) -> Option<u64> {
        self.finished.pop()
    }

    /// Whether an errand is over.
    pub(crate) fn is_finished(&self, errand: usize) -> bool {
        self.errands.get(errand).is_some_and(|errand| errand.parts_open == 0)
    }

    /// The answer of an errand that is over.
    pub(crate) fn take_answer(&mut self, errand: usize) -> Answer {
        self.errands.remove(errand).answer
    }

    /// Nobody waits for this errand any more: it goes on, and its answer is dropped.
    pub(crate) fn forget(&mut self, errand: usize) {
        if self.is_finished(errand) {
            self.errands.remove(errand);
        } else {
            self.errands[errand].waiter = NOBODY;
        }
    }

    /// Ends the session: nothing that has no answer will ever get one through it.
    pub(crate) fn give_up(&mut self) {
        let parts = self.keys.drain().flat_map(|(_, work)| {
            work.deciding
                .into_iter()
                .map(|(part, _)| part.errand)
                .chain(work.queue.into_iter().map(|part| part.errand))
        });
        let blind = self.flights.drain().filter_map(|(_, flight)| match flight {
            Flight::Blind { errand } => Some(errand),
            Flight::Key(_) => None,
        });
        let waiting = self.backlog.drain(..).map(|(_, part)| part.errand);
        let lost: Vec<usize> = parts.chain(blind).chain(waiting).collect();
        self.unsettled.clear();
        self.waiting_bytes = 0;
        for errand in lost {
            self.finish_part(errand, Answer::Failed(CommandError::OutcomeUnknown));
        }
    }

    /// Puts one part on its way; false when it must wait for room.
    fn try_begin<B: AsRef<[u8]>>(&mut self, errand: usize, key: &[u8], edit: &Edit<B>) -> bool {
        if self.keys.contains_key(key) {
            let part = self.part(errand, edit);
            self.keys.get_mut(key).expect("it was there a moment ago").queue.push_back(part);
            return true;
        }
        match edit {
            Edit::Set { value, .. } if edit.is_blind() => self.put(errand, key, value.as_ref()),
            edit => {
                let queue = VecDeque::from([self.part(errand, edit)]);
                self.keys.insert(key.into(), KeyWork { queue, ..KeyWork::default() });
                self.decide(key);
                true
            }
        }
    }

    fn put(&mut self, errand: usize, key: &[u8], value: &[u8]) -> bool {
        match self.client.put_with(key, value, self.write.durability()) {
            Ok(ticket) => {
                self.flights.insert(ticket, Flight::Blind { errand });
            }
            Err(error) if passes(&error) => return false,
            Err(error) => self.finish_part(errand, Answer::Failed(CommandError::of_put(&error))),
        }
        true
    }

    /// Proposes the next record of a key whose edits wait, unless one is under way.
    fn decide(&mut self, key: &[u8]) {
        let Some(mut work) = self.keys.remove(key) else { return };
        let mut value = std::mem::take(&mut self.value);
        while work.deciding.is_empty() && !work.queue.is_empty() {
            if !self.propose(key, &mut work, &mut value) {
                self.unsettled.push(key.into());
                break;
            }
        }
        self.value = value;
        if !work.deciding.is_empty() || !work.queue.is_empty() {
            self.keys.insert(key.into(), work);
        }
    }

    /// One step of `decide`; false when it must be tried again later.
    fn propose(&mut self, key: &[u8], work: &mut KeyWork, value: &mut Vec<u8>) -> bool {
        let base = match self.client.get(key, value) {
            Ok(base) => base,
            Err(error) => {
                for part in work.queue.drain(..) {
                    self.finish(part, Answer::Failed(CommandError::Read(error.clone())));
                }
                return true;
            }
        };
        let count = if work.singly > 0 { 1 } else { EDITS_MAX };
        let folded = Folded::of(&work.queue, count, base.map(|_| value.as_slice()));
        let submitted = match &folded.change {
            Change::Keep if !self.is_decided(key, base) => return false,
            Change::Keep => {
                for answer in folded.answers {
                    let part = work.queue.pop_front().expect("as many answers as parts");
                    work.singly = work.singly.saturating_sub(1);
                    self.finish(part, answer);
                }
                return true;
            }
            Change::Put(new) => {
                self.client.compare_and_set_with(key, expected(base), new, self.write.durability())
            }
            Change::Delete => {
                self.client.compare_and_delete_with(key, expected(base), self.write.durability())
            }
        };
        match submitted {
            Ok(ticket) => {
                work.deciding = work.queue.drain(..folded.answers.len()).zip(folded.answers).collect();
                self.flights.insert(ticket, Flight::Key(key.into()));
                true
            }
            Err(error) if passes(&error) => false,
            Err(error) => {
                for part in work.queue.drain(..folded.answers.len()) {
                    self.finish(part, Answer::Failed(CommandError::of_put(&error)));
                }
                true
            }
        }
    }

    /// Whether what was read may be told to somebody as it is.
    fn is_decided(&mut self, key: &[u8], base: Option<Meta>) -> bool {
        match (self.write, base) {
            (WriteAnswer::Local, _) => true,
            (WriteAnswer::Committed, Some(meta)) => meta.stage == Visible::Committed,
            // A key may be away by a deletion that nobody has decided yet.
            (WriteAnswer::Committed, None) => {
                matches!(
                    self.client.get_committed(key, &mut Vec::new()),
                    Ok(None) | Err(ReadError::KeyLength { .. })
                )
            }
        }
    }

    fn settle(&mut self, ticket: Ticket, receipt: &Receipt) {
        self.is_expired |= matches!(
            receipt.outcome,
            Outcome::Refused(RefusalCode::SessionExpired | RefusalCode::SessionUnknown)
        );
        match self.flights.remove(&ticket) {
            // Of a session that was given up, or counted twice: its errands have their answers.
            None => {}
            Some(Flight::Blind { errand }) => self.finish_part(errand, answer_of(receipt, Answer::Ok)),
            Some(Flight::Key(key)) => {
                let Some(work) = self.keys.get_mut(&key) else { return };
                let deciding = std::mem::take(&mut work.deciding);
                match receipt.outcome {
                    Outcome::Refused(RefusalCode::PreconditionFailed) => put_back(work, deciding),
                    Outcome::Refused(_) if deciding.len() > 1 => {
                        work.singly = deciding.len();
                        put_back(work, deciding);
                    }
                    _ => {
                        work.singly = work.singly.saturating_sub(deciding.len());
                        for (part, answer) in deciding {
                            self.finish(part, answer_of(receipt, answer));
                        }
                    }
                }
                self.decide(&key);
            }
        }
    }

    fn part<B: AsRef<[u8]>>(&mut self, errand: usize, edit: &Edit<B>) -> Part {
        let bytes = size_of::<Part>() + edit.bytes();
        self.waiting_bytes += bytes;
        Part { errand, edit: edit.kept(), bytes }
    }

    fn finish(&mut self, part: Part, answer: Answer) {
        self.waiting_bytes -= part.bytes;
        self.finish_part(part.errand, answer);
    }

    fn finish_part(&mut self, errand: usize, answer: Answer) {
        let open = &mut self.errands[errand];
        open.answer = match (open.gather, std::mem::replace(&mut open.answer, Answer::Ok), answer) {
            // The first failure stands for all.
            (_, Answer::Failed(error), _) | (_, _, Answer::Failed(error)) => Answer::Failed(error),
            (Gather::Sum, Answer::Integer(sum), Answer::Integer(more)) => Answer::Integer(sum + more),
            (_, _, answer) => answer,
        };
        open.parts_open -= 1;
        if open.parts_open == 0 {
            let waiter = open.waiter;
            if waiter == NOBODY {
                self.errands.remove(errand);
            } else {
                self.finished.push(waiter);
            }
        }
    }
}

/// Edits that follow each other on one value.
struct Folded {
    change: Change,
    answers: Vec<Answer>,
}

impl Folded {
    /// At most `count` of them; all answers hold if the change does, the ones of edits that kept the value too.
    fn of(queue: &VecDeque<Part>, count: usize, base: Option<&[u8]>) -> Self {
        let mut folded = Self { change: Change::Keep, answers: Vec::new() };
        for part in queue.iter().take(count) {
            let now = match &folded.change {
                Change::Keep => base,
                Change::Put(bytes) => Some(bytes.as_slice()),
                Change::Delete => None,
            };
            let (change, answer) = part.edit.apply(now);
            folded.answers.push(answer);
            match change {
                Change::Keep => {}
                // What was not there, and is not there now, needs no record.
                Change::Delete if base.is_none() => folded.change = Change::Keep,
                change => folded.change = change,
            }
        }
        folded
    }
}

fn check(key: &[u8], edit: &Edit<&[u8]>) -> Result<(), CommandError> {
    match key.len() {
        0 => return Err(CommandError::KeyEmpty),
        1..=KEY_BYTES_MAX => {}
        _ => return Err(CommandError::KeyTooLong),
    }
    match edit {
        Edit::Set { value, .. } if value.len() > VALUE_BYTES_MAX => Err(CommandError::ValueTooLong),
        _ => Ok(()),
    }
}

fn expected(base: Option<Meta>) -> Expected {
    base.map_or(Expected::Absent, |meta| Expected::Sequence(Sequence(meta.sequence.0)))
}

fn put_back(work: &mut KeyWork, deciding: Vec<(Part, Answer)>) {
    for (part, _) in deciding.into_iter().rev() {
        work.queue.push_front(part);
    }
}

fn answer_of(receipt: &Receipt, accepted: Answer) -> Answer {
    match receipt.outcome {
        Outcome::Accepted => accepted,
        Outcome::Refused(code) => Answer::Failed(CommandError::of_refusal(code)),
    }
}

/// Whether it is worth trying again by itself.
fn passes(error: &PutError) -> bool {
    matches!(error, PutError::Full { .. } | PutError::NodeAway | PutError::SessionLost)
}

/// Waits for no errand.
const NOBODY: u64 = u64::MAX;
/// Most edits that one record decides.
const EDITS_MAX: usize = 1024;
/// While so much waits, for room in the ring or for its key, no further command is begun.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// The node is this very process.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(1);
