//! The eight checkers, and the witness who asks them about everything that happens.
//!
//! Invariant: the first finding stands; what happens after it explains nothing.

mod agreement;
mod flushed;
mod once;
mod progress;
mod reads;
mod receipts;
mod signing;
mod verdicts;

use io_oi_history::{History, sessions::View};
use io_oi_record::{Block, BlockHeader, Epoch, Hash, NodeId, Receipt, Sequence, SessionId};

pub(crate) use self::progress::Standing;
pub(crate) use self::receipts::is_for_good;
pub(crate) use self::signing::Signing;
use crate::hot::Hot;
use crate::oracle::Truth;

/// What a checker says: nothing, or what is wrong.
pub(crate) type Finding = Result<(), String>;

/// The part of a message that checkers care about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    /// A header was signed by the leader of its epoch; `is_own` when the sender is that leader.
    Sealed { epoch: Epoch, last: Sequence, hash: Hash, is_own: bool },
    /// A signed vote.
    Voted { voter: usize, epoch: Epoch, sequence: Sequence, hash: Hash },
    /// A signed ballot.
    Stood { candidate: usize, epoch: Epoch, tip: Hash },
    /// A signed grant.
    Granted { voter: usize, epoch: Epoch, candidate: NodeId },
    /// "Durable here through."
    Acknowledged { through: Sequence, hash: Hash },
    /// Anything else.
    Other,
}

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker.
    pub checker: &'static str,
    /// When, in nanoseconds since the world began.
    pub time_ns: u64,
    /// What it saw.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", crate::story::Moment(self.time_ns), self.checker, self.what)
    }
}

/// Sees everything, and asks the checkers.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) truth: Truth,
    pub(crate) history: History,
    pub(crate) views: Vec<View>,
    /// A bit for each node that votes.
    pub(crate) voters: u32,
    /// Who voted before the newest change.
    voters_before: u32,
    /// A bit for each node that lies by plan: nobody believes what it says.
    pub(crate) liars: u32,
    receipts: receipts::Receipts,
    signing: signing::Signing,
    verdicts: verdicts::Verdicts,
    once: once::Once,
    flushed: flushed::Flushed,
    violation: Option<Violation>,
}

impl Witness {
    /// A witness of a cluster with these voters, a bit each.
    pub(crate) fn of(voters: u32) -> Self {
        Self { voters, voters_before: voters, ..Self::default() }
    }

    /// The voters change, one at a time.
    pub(crate) fn change_voters(&mut self, voters: u32) {
        (self.voters, self.voters_before) = (voters, self.voters);
    }

    /// What was found first.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// Notes a finding of one checker.
    pub(crate) fn note(&mut self, time: u64, checker: &'static str, finding: Finding) {
        if let Err(what) = finding {
            self.violation.get_or_insert(Violation { checker, time_ns: time, what });
        }
    }

    /// A node commits a block. Says whether it is news to everybody.
    pub(crate) fn block_committed(&mut self, time: u64, node: usize, hash: Hash, bytes: &[u8]) -> bool {
        let block = match Block::decode(bytes) {
            Ok(block) => block,
            Err(error) => {
                self.note(
                    time,
                    "agreement",
                    Err(format!("n{node} commits bytes that are no block: {error}")),
                );
                return false;
            }
        };
        let header = &block.header;
        let agreed = agreement::check(&self.truth, node, header, hash);
        let is_news = agreed.is_ok() && header.first_sequence > self.truth.through();
        self.note(time, "agreement", agreed);
        if is_news {
            self.decide(time, node, header, hash, &block);
        }
        is_news
    }

    fn decide(&mut self, time: u64, node: usize, header: &BlockHeader, hash: Hash, block: &Block<'_>) {
        self.note(
            time,
            "flushed",
            self.flushed.check_commit(node, header, hash, [self.voters, self.voters_before]),
        );
        let known = self.truth.through();
        self.truth.decide(header, hash, block);
        for place in known.0..self.truth.through().0 {
            let record = &self.truth.records()[place as usize];
            let once = self.once.check_record(record);
            let verdict = verdicts::Verdicts::check_record(&self.truth, record);
            self.note(time, "once", once);
            self.note(time, "verdicts", verdict);
        }
    }

    /// A node gives a receipt.
    pub(crate) fn receipt(&mut self, time: u64, node: usize, session: SessionId, receipt: &Receipt) {
        let finding = once::Once::check_receipt(&self.receipts, session, receipt);
        self.note(time, "once", finding);
        let finding = self.receipts.check(&self.truth, node, session, receipt);
        self.note(time, "receipts", finding);
    }

    /// A node shows a version as committed.
    pub(crate) fn shown(
        &mut self,
        time: u64,
        node: usize,
        key: &[u8],
        sequence: Sequence,
        value: Option<&[u8]>,
    ) {
        self.note(time, "reads", reads::check_shown(&self.truth, node, key, sequence, value));
    }

    /// A message leaves a node.
    pub(crate) fn said(&mut self, time: u64, from: usize, said: &Said) {
        // A header that a liar signed may be passed on by honest members.
        let is_hearsay = self.liars != 0 && matches!(said, Said::Sealed { .. });
        if self.liars & 1 << from != 0 || is_hearsay {
            return;
        }
        let finding = self.signing.check(from, said);
        self.note(time, "signing", finding);
        self.note(time, "flushed", self.flushed.check_said(from, said));
        self.flushed.note_said(from, said);
    }

    /// A node tells its state hash.
    pub(crate) fn state_hash(&mut self, time: u64, node: usize, sequence: Sequence, hash: Hash) {
        let finding = self.verdicts.check_hash(node, sequence, hash);
        self.note(time, "verdicts", finding);
    }

    pub(crate) fn block_durable(&mut self, node: usize, hash: Hash) {
        self.flushed.block(node, hash);
    }

    pub(crate) fn block_taken_back(&mut self, node: usize, hash: Hash) {
        self.flushed.block_taken_back(node, hash);
    }

    pub(crate) fn promise_durable(&mut self, node: usize, epoch: Epoch, is_claim: bool) {
        self.flushed.promise(node, epoch, is_claim);
    }

    /// The disk of a node lost what it had; the node knows that through `known`.
    pub(crate) fn disk_lost(&mut self, node: usize, known: Sequence) {
        self.flushed.forget(node, known);
    }

    /// Some time after the last fault.
    pub(crate) fn resumed(&mut self, time: u64, before: Sequence, waited_ns: u64) {
        self.note(time, "progress", progress::check_resumed(before, self.truth.through(), waited_ns));
    }

    /// The run is over.
    pub(crate) fn ended(&mut self, time: u64, nodes: &[Standing], waiting: &[String]) {
        self.note(time, "progress", progress::check_level(self.truth.through(), nodes));
        self.note(time, "progress", progress::check_answered(waiting));
        self.note(time, "receipts", self.receipts.check_all(&self.truth));
        self.note(time, "reads", reads::check_views(&self.views));
        self.note(time, "reads", reads::check_history(&self.history));
    }

    /// A node that has a lease shows less than another one has shown.
    pub(crate) fn lease_is_stale(&mut self, time: u64, nodes: [usize; 2], shown: [Sequence; 2]) {
        let [holder, other] = nodes;
        let what = format!(
            "n{holder} has a lease and shows through {}, n{other} has shown {} as committed",
            shown[0], shown[1]
        );
        self.note(time, "reads", Err(what));
    }

    /// Whether a node bars a member that lied.
    pub(crate) fn convicted(&mut self, time: u64, node: usize, liar: usize, knows: bool) {
        let finding = if knows { Ok(()) } else { Err(format!("n{node} does not bar n{liar}, which lied")) };
        self.note(time, "signing", finding);
    }

    /// A round trip after two headers of a liar had reached honest nodes, this one does not bar it.
    pub(crate) fn convicted_late(&mut self, time: u64, node: usize, liar: usize, waited_ns: u64) {
        let what = format!("n{node} does not bar n{liar} {waited_ns} ns after its second header arrived");
        self.note(time, "signing", Err(what));
    }

    /// Whether a node is silent exactly if its disk was rolled back.
    pub(crate) fn silence(&mut self, time: u64, node: usize, is_right: bool, mute: &str) {
        let finding = if is_right { Ok(()) } else { Err(format!("n{node} ends with mute {mute}")) };
        self.note(time, "signing", finding);
    }

    /// What a node shows at the end.
    pub(crate) fn shows_at_end(&mut self, time: u64, node: usize, hot: &Hot, committed: Sequence) {
        self.note(time, "verdicts", verdicts::Verdicts::check_shown(&self.truth, node, hot, committed));
    }
}
