//! The effects, performed.
//!
//! Invariants:
//! - a write is shown only after admission made sure of its room, so showing never fails while the shard runs;
//! - the lease is taken back from readers before the word leaves that lets another node lead;
//! - an append starts its flush at once when one can be started, before anything else is done with the block.

use std::collections::VecDeque;

use io_oi_record::limits::{EFFECTS_MAX, RECORD_BYTES_MAX};
use io_oi_record::published::{PUBLISHED_HEAD_BYTES, Published};
use io_oi_record::{
    BlockHeader, Effects, Epoch, Nanos, Noun, Now, Outcome, Proposal, Receipt, Record, RefusalCode, Sequence,
    SessionId, ShardId, Verdict,
};
use io_oi_shard::hearing::{Case, Cells, Found};
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{AppendIndex, Effect, Event, JudgeOrigin, Lane, LogKind, Machine, PublishStage, Seating};
use io_oi_shm::{HashSeed, feed, hash_key, hot, shard_of};
use io_oi_wal::{BlockIndex, BlockPlace, Frame, FrameKind, LogIndex, NotAPlace, Wal};

use super::admission::{Gate, Surroundings};
use super::answers::Governing;
use super::board::{Board, Tally};
use super::clerk::Clerk;
use super::judges::Judges;
use super::lanes::{LaneSlot, LaneState, Lanes};
use super::peers::Peers;
use crate::mail::{Notice, Notices};

/// Everything that one shard touches.
pub(super) struct World {
    pub(super) shard: ShardId,
    pub(super) keys: KeySpace,
    pub(super) judges: Judges,
    pub(super) hot: hot::Writer,
    pub(super) feed: feed::Writer,
    pub(super) wal: Wal,
    pub(super) lanes: Lanes,
    pub(super) gate: Gate,
    pub(super) tally: Tally,
    pub(super) board: Board,
    pub(super) notices: Notices,
    /// The other nodes; a cluster of one that names no address has none.
    pub(super) peers: Option<Peers>,
    pub(super) clerk: Clerk,
    pub(super) governing: Governing,
    /// Where the log holds which block, for those who fell behind.
    blocks: BlockIndex,
    /// When the machine wants to be told that time went by, on the monotonic clock.
    pub(super) wake_at: Option<Nanos>,
    promises: Promises,
    /// Blocks asked for that the log does not hold.
    missed: VecDeque<Sequence>,
    /// The proposal being submitted went through admission a moment ago.
    is_admitted: bool,
    /// The log's number of the machine's append 0: the log counts its own marks, too.
    log_base: Option<u64>,
    /// Made durable by a poll that `append` had to make.
    durable_early: Option<LogIndex>,
    feed_frame: Box<[u8]>,
    /// Why the shard cannot go on.
    pub(super) fault: Option<String>,
}

/// Which keys belong to a shard.
#[derive(Clone, Copy)]
pub(super) struct KeySpace {
    pub(super) shard: ShardId,
    pub(super) shards: u16,
    pub(super) seed: HashSeed,
}

impl KeySpace {
    #[inline]
    fn holds(&self, key: &[u8]) -> bool {
        self.shards == 1 || shard_of(hash_key(&self.seed, key), self.shards) == self.shard.get()
    }
}

/// The parts that a world is made of.
pub(super) struct Parts {
    pub(super) keys: KeySpace,
    pub(super) judges: Judges,
    pub(super) hot: hot::Writer,
    pub(super) feed: feed::Writer,
    pub(super) wal: Wal,
    pub(super) blocks: BlockIndex,
    pub(super) peers: Option<Peers>,
    pub(super) clerk: Clerk,
    pub(super) gate: Gate,
    pub(super) tally: Tally,
    pub(super) board: Board,
    pub(super) notices: Notices,
}

impl World {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { keys, judges, hot, feed, wal, blocks, peers, clerk, gate, tally, board, notices } = parts;
        Self {
            shard: keys.shard,
            keys,
            judges,
            hot,
            feed,
            wal,
            lanes: Lanes::new(),
            gate,
            tally,
            board,
            notices,
            peers,
            clerk,
            governing: Governing::default(),
            blocks,
            wake_at: None,
            promises: Promises::default(),
            missed: VecDeque::new(),
            is_admitted: false,
            log_base: None,
            durable_early: None,
            feed_frame: vec![0; FEED_FRAME_BYTES_MAX].into_boxed_slice(),
            fault: None,
        }
    }

    /// Performs everything that the machine owes, and lets it go: network first, then disk.
    #[inline]
    pub(super) fn drain(&mut self, machine: &mut Machine, now: Now) {
        self.perform_all(machine, now);
        self.push_out();
    }

    /// Performs everything that the machine owes. What waits for company waits until `push_out`.
    #[inline]
    pub(super) fn perform_all(&mut self, machine: &mut Machine, now: Now) {
        loop {
            while let Some(effect) = machine.poll_effect() {
                if let Effect::Judge {
                    sequence,
                    epoch,
                    time,
                    seed,
                    session,
                    proposal,
                    is_operator,
                    seating,
                    origin,
                } = effect
                {
                    let case = Case { sequence, epoch, time, seed, session, proposal, is_operator };
                    let event = match self.admit_judged(origin, &case) {
                        Ok(()) => self.judge(&case, seating, origin),
                        Err(code) => Event::Declined { sequence, code },
                    };
                    machine.handle(now, event);
                } else {
                    self.perform(effect);
                }
            }
            let Some(sequence) = self.missed.pop_front() else { break };
            machine.handle(now, Event::Fetched { sequence, bytes: None });
        }
        self.is_admitted = false;
    }

    /// Sends what waits, and begins the flush of what is in the log.
    #[inline]
    pub(super) fn push_out(&mut self) {
        if let Some(peers) = &mut self.peers {
            peers.flush_sent();
        }
        self.wal.submit();
    }

    /// The next proposal to be judged went through admission just now.
    #[inline]
    pub(super) fn note_admitted(&mut self) {
        self.is_admitted = true;
    }

    /// Room for what comes from elsewhere, or has waited since it was admitted. A leader's block has its place already.
    #[inline]
    fn admit_judged(&mut self, origin: JudgeOrigin, case: &Case<'_>) -> Result<(), RefusalCode> {
        // What an operator signed was let in as governance: there may be no room for what it writes.
        let was_admitted = std::mem::take(&mut self.is_admitted) && !case.is_operator;
        if origin == JudgeOrigin::Follower || was_admitted || self.is_elsewhere(case) {
            return Ok(());
        }
        self.note_log_room();
        self.gate.admit_to_order(&case.proposal, HotAndKeys { hot: &mut self.hot, keys: &self.keys })
    }

    /// Whether it is an operator's write to a key of another shard: it stands in the log of every one.
    #[inline]
    fn is_elsewhere(&self, case: &Case<'_>) -> bool {
        case.is_operator && !self.keys.holds(case.proposal.key)
    }

    /// Whether a proposal that was never seen may be sequenced.
    #[inline]
    pub(super) fn admit(&mut self, proposal: &Proposal<'_>, slot: LaneSlot) -> Result<(), RefusalCode> {
        self.note_log_room();
        let rights = &self.lanes.get(slot).rights;
        self.gate.admit(proposal, rights, HotAndKeys { hot: &mut self.hot, keys: &self.keys })
    }

    /// Whether the log has room for the opening or closing of a session.
    pub(super) fn admit_session(&mut self) -> Result<(), RefusalCode> {
        self.note_log_room();
        self.gate.admit_session()
    }

    /// Lets the gate know how much room the log has now: with nobody writing, nobody else would.
    #[inline]
    pub(super) fn note_log_room(&mut self) {
        self.gate.note_log_room(self.wal.room_bytes() as u64);
    }

    /// What has become durable since the last call, in the machine's count: flushed, and promised where it is a promise.
    #[inline]
    pub(super) fn poll_log(&mut self) -> Option<AppendIndex> {
        let early = self.durable_early.take();
        match self.wal.poll() {
            Ok(through) => {
                if let (Some(through), Some(base)) = (through.or(early), self.log_base) {
                    // Before the machine's first append the log may flush a mark of its own.
                    self.promises.note_flushed(through.0.saturating_sub(base));
                    while let Some(epoch) = self.promises.next_for_file() {
                        self.clerk.promise(epoch);
                    }
                }
            }
            Err(failed) => {
                self.fail(failed.to_string());
                return None;
            }
        }
        self.promises.next_durable()
    }

    /// The clerk has made a promise durable, or could not.
    #[cold]
    pub(super) fn promised(&mut self, epoch: Epoch, result: Result<(), String>) {
        match result {
            Ok(()) => self.promises.note_promised(epoch),
            Err(what) => self.fail(what),
        }
    }

    /// Where the log holds the chain's block with this sequence.
    pub(super) fn locate(&self, sequence: Sequence) -> Option<BlockPlace> {
        self.wal.locate(&self.blocks, sequence.get())
    }

    /// The shard cannot go on; the first reason counts.
    pub(super) fn fail(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    fn perform(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Judge { .. } => unreachable!("a judge effect is answered by `drain`"),
            Effect::Append { index, kind, epoch, sequence, bytes } => {
                self.append(index, kind, epoch, sequence, bytes)
            }
            Effect::Send { to, lane, bytes } => match &mut self.peers {
                Some(peers) => {
                    if bytes.first() == Some(&(Noun::HandOver as u8)) {
                        self.board.void_lease();
                    }
                    peers.send(to, lane, bytes);
                    if lane == Lane::Bulk {
                        // A block leaves before the machine signs it: that takes longer than the way to the peer.
                        peers.flush_sent();
                    }
                }
                None => self.tally.frames_unsent += 1,
            },
            Effect::Publish { stage: PublishStage::Tentative, epoch, time, record } => {
                self.publish_tentative(epoch, time, &record);
            }
            Effect::Publish { stage: PublishStage::Committed, epoch, time, record } => {
                self.publish_committed(epoch, time, &record);
            }
            Effect::Publish { stage: PublishStage::Withdrawn, record, .. } => {
                for write in record.writes() {
                    self.hot.discard_tentative(write.key, hot::Sequence(record.sequence.get()));
                }
                self.tally.withdrawn += 1;
            }
            Effect::Fetch { sequence } => match self.locate(sequence) {
                Some(place) => self.clerk.fetch(sequence, place),
                None => self.missed.push_back(sequence),
            },
            Effect::KeepMute { past_lost } => self.clerk.keep_mute(past_lost),
            Effect::Reply { session, receipt } => self.reply(session, &receipt),
            Effect::Wake { at } => self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at))),
        }
    }

    #[inline]
    fn judge(&mut self, case: &Case<'_>, seating: Seating<'_>, origin: JudgeOrigin) -> Event<'_> {
        let sequence = case.sequence;
        if self.is_elsewhere(case) {
            let verdict = Verdict::Refuse(RefusalCode::WrongShard);
            return Event::Judged { sequence, verdict, effects: Effects::NONE };
        }
        let newest = self.hot.newest(case.proposal.key).filter(|newest| !newest.deleted);
        let newest = newest.map(|newest| Sequence(newest.stamp.sequence.0));
        let (verdict, effects) = match precondition_verdict(&case.proposal, newest) {
            Verdict::Accept => {
                let mut cells = HotCells { hot: &self.hot, keys: &self.keys };
                self.judges.judge(case, seating, &mut cells)
            }
            refused => (refused, Effects::NONE),
        };
        let must_fit = origin != JudgeOrigin::Follower && !effects.is_empty();
        if must_fit && !has_room_for_writes(&mut self.hot, case, verdict, effects) {
            return Event::Declined { sequence, code: RefusalCode::HotTierFull };
        }
        Event::Judged { sequence, verdict, effects }
    }

    fn append(&mut self, index: AppendIndex, kind: LogKind, epoch: Epoch, sequence: Sequence, bytes: &[u8]) {
        let frame =
            Frame { kind: FrameKind(kind as u8), epoch: epoch.get(), sequence: sequence.get(), bytes };
        let taken = loop {
            match self.wal.append(frame) {
                // Two blocks and their seals fit a buffer: this is a long queue behind a slow flush, and it ends.
                Err(io_oi_wal::AppendError::BatchFull) => match self.wal.poll() {
                    Ok(through) => {
                        self.durable_early = through.or(self.durable_early);
                        self.wal.submit();
                        rustix::thread::sched_yield();
                    }
                    Err(failed) => return self.fail(failed.to_string()),
                },
                Err(error) => return self.fail(error.to_string()),
                Ok(taken) => break taken,
            }
        };
        let base = *self.log_base.get_or_insert_with(|| taken.0 - index.0);
        assert_eq!(taken.0, base + index.0, "the log and the machine count appends alike");
        if kind == LogKind::Block {
            note_block(&mut self.blocks, sequence, taken, bytes);
        }
        if kind.is_promise() {
            self.promises.wait_for(index, epoch);
        }
        if kind.is_urgent() {
            self.push_out();
        }
    }

    fn publish_tentative(&mut self, epoch: Epoch, time: Nanos, record: &Record<'_>) {
        for write in record.writes() {
            let shown = self.hot.publish_tentative(write.key, write.value, stamp(epoch, time, record));
            if let Err(full) = shown {
                return self.fail(format!("a write that was admitted found no room in the hot tier: {full}"));
            }
        }
    }

    fn publish_committed(&mut self, epoch: Epoch, time: Nanos, record: &Record<'_>) {
        for write in record.writes() {
            let shown = self.hot.publish_committed(write.key, write.value, stamp(epoch, time, record));
            if let Err(full) = shown {
                return self.fail(full.to_string());
            }
        }
        let bytes = encode_feed_frame(epoch, time, record, &mut self.feed_frame);
        self.feed.publish(&self.feed_frame[..bytes]);
        self.tally.published += 1;
    }

    #[inline]
    fn reply(&mut self, session: SessionId, receipt: &Receipt) {
        self.tally.receipts += 1;
        self.tally.note_outcome(receipt.outcome);
        let Some(slot) = self.lanes.find_session(session) else {
            if session.counter == 0
                && let Some(notice) = self.governing.notice(receipt)
            {
                return self.notices.send(notice);
            }
            self.tally.receipts_undelivered += 1;
            return;
        };
        let lane = self.lanes.get_mut(slot);
        let is_opening = matches!(lane.state, LaneState::Opening { .. });
        if !lane.answer(receipt) && !is_opening {
            self.tally.receipts_undelivered += 1;
        }
        if is_opening {
            self.opened(slot, receipt.outcome);
        }
    }

    /// The log has opened the session of a new client, or there was no room to ask it.
    #[cold]
    pub(super) fn opened(&mut self, slot: LaneSlot, outcome: Outcome) {
        let lane = self.lanes.get_mut(slot);
        let (state, result) = match outcome {
            Outcome::Accepted => (LaneState::Open, Ok(())),
            Outcome::Refused(code) => (LaneState::Broken, Err(code)),
        };
        lane.state = state;
        self.notices.send(Notice::Attached { client: lane.client, result });
    }
}

/// Promises on their way to the disk, and what may not be reported before they are there. The log goes first: a promise
/// that after a crash stood in the file alone would look like a log that was rolled back. [P-20]
#[derive(Debug, Default)]
struct Promises {
    waiting: VecDeque<(AppendIndex, Epoch)>,
    /// How many of those the file has been asked for: the oldest ones.
    asked: usize,
    flushed: u64,
    reported: u64,
}

impl Promises {
    fn wait_for(&mut self, index: AppendIndex, epoch: Epoch) {
        self.waiting.push_back((index, epoch));
    }

    #[inline]
    fn note_flushed(&mut self, through: u64) {
        self.flushed = self.flushed.max(through);
    }

    /// The next promise that stands in the log and goes to the file.
    #[inline]
    fn next_for_file(&mut self) -> Option<Epoch> {
        let (index, epoch) = *self.waiting.get(self.asked)?;
        (index.0 <= self.flushed).then(|| {
            self.asked += 1;
            epoch
        })
    }

    fn note_promised(&mut self, epoch: Epoch) {
        while self.asked > 0 && self.waiting.front().is_some_and(|(_, waiting)| *waiting <= epoch) {
            self.waiting.pop_front();
            self.asked -= 1;
        }
    }

    /// The newest append that may be reported and has not been.
    #[inline]
    fn next_durable(&mut self) -> Option<AppendIndex> {
        let before = self.waiting.front().map_or(u64::MAX, |(index, _)| index.0 - 1);
        let through = self.flushed.min(before);
        if through <= self.reported {
            return None;
        }
        self.reported = through;
        Some(AppendIndex(through))
    }
}

/// Notes where a block stands in the log. The frame carries its last sequence, the header its first.
pub(super) fn note_block(blocks: &mut BlockIndex, last: Sequence, at: LogIndex, bytes: &[u8]) {
    let (header, _) = BlockHeader::decode_first(bytes).expect("the machine appends whole blocks");
    blocks.note_block(header.first_sequence.get(), last.get(), at, bytes.len());
}

/// The index that a checkpoint carries.
pub(super) fn block_index_from(bytes: &[u8]) -> Result<BlockIndex, NotAPlace> {
    BlockIndex::decode(FrameKind(LogKind::Block as u8), INDEX_ENTRIES_MAX, bytes)
}

/// An index for [`note_block`].
pub(super) fn block_index() -> BlockIndex {
    BlockIndex::new(FrameKind(LogKind::Block as u8), INDEX_ENTRIES_MAX)
}

/// What admission looks at.
struct HotAndKeys<'a> {
    hot: &'a mut hot::Writer,
    keys: &'a KeySpace,
}

impl Surroundings for HotAndKeys<'_> {
    #[inline]
    fn has_hot_room(&mut self, key: &[u8], value_bytes: usize) -> bool {
        self.hot.room_for(key, value_bytes).is_ok()
    }

    #[inline]
    fn owns(&self, key: &[u8]) -> bool {
        self.keys.holds(key)
    }
}

/// Whether everything that an accepted proposal writes can be shown: admission has looked at its own key alone.
#[cold]
fn has_room_for_writes(
    hot: &mut hot::Writer,
    case: &Case<'_>,
    verdict: Verdict,
    effects: Effects<'_>,
) -> bool {
    let record = Record::of(case.sequence, case.session, &case.proposal, verdict).with_effects(effects);
    let mut writes: [(&[u8], Option<&[u8]>); EFFECTS_MAX + 1] = [(&[], None); EFFECTS_MAX + 1];
    let mut count = 0;
    for (place, write) in writes.iter_mut().zip(record.writes()) {
        *place = (write.key, write.value);
        count += 1;
    }
    hot.room_for_all(writes[..count].iter().copied()).is_ok()
}

/// What an arbitrator is shown: the newest versions, those of the records before it that are not decided yet included.
struct HotCells<'a> {
    hot: &'a hot::Writer,
    keys: &'a KeySpace,
}

impl Cells for HotCells<'_> {
    fn owns(&self, key: &[u8]) -> bool {
        self.keys.holds(key)
    }

    #[inline]
    fn read(&mut self, key: &[u8], out: &mut [u8]) -> Found {
        match self.hot.read_newest(key, out) {
            Ok(None) => Found::Absent,
            Ok(Some((bytes, stamp))) => Found::Value { bytes, sequence: Sequence(stamp.sequence.0) },
            Err(_) => Found::TooLong,
        }
    }
}

/// The hot tier's words for a record's place.
pub(super) fn stamp(epoch: Epoch, time: Nanos, record: &Record<'_>) -> hot::Stamp {
    hot::Stamp {
        sequence: hot::Sequence(record.sequence.get()),
        epoch: hot::Epoch(epoch.get()),
        time_ns: time.get(),
    }
}

/// What subscribers read.
fn encode_feed_frame(epoch: Epoch, time: Nanos, record: &Record<'_>, out: &mut [u8]) -> usize {
    Published { epoch, time, record: *record }
        .encode(out)
        .expect("a committed record is well-shaped and fits")
}

/// Longest frame of the feed.
pub(super) const FEED_FRAME_BYTES_MAX: usize = PUBLISHED_HEAD_BYTES + RECORD_BYTES_MAX;
/// One in 64 KiB of log, thinned out beyond 4 GiB.
const INDEX_ENTRIES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_a_promise_is_reported_before_the_promise_is_kept() {
        let mut promises = Promises::default();
        promises.wait_for(AppendIndex(2), Epoch(7));
        promises.note_flushed(1);
        assert_eq!((promises.next_for_file(), promises.next_durable()), (None, Some(AppendIndex(1))));
        promises.note_flushed(4);
        assert_eq!((promises.next_for_file(), promises.next_for_file()), (Some(Epoch(7)), None));
        assert_eq!(promises.next_durable(), None);
        promises.wait_for(AppendIndex(5), Epoch(8));
        promises.note_promised(Epoch(7));
        assert_eq!(promises.next_durable(), Some(AppendIndex(4)));
        assert_eq!(promises.next_for_file(), None, "the log goes first");
        promises.note_flushed(6);
        assert_eq!((promises.next_for_file(), promises.next_durable()), (Some(Epoch(8)), None));
        promises.note_promised(Epoch(8));
        assert_eq!(promises.next_durable(), Some(AppendIndex(6)));
        assert_eq!(promises.next_durable(), None);
    }

    #[test]
    fn a_promise_that_the_file_was_not_asked_for_is_not_kept_by_another_one() {
        let mut promises = Promises::default();
        promises.wait_for(AppendIndex(1), Epoch(3));
        promises.note_flushed(1);
        assert_eq!(promises.next_for_file(), Some(Epoch(3)));
        promises.wait_for(AppendIndex(2), Epoch(3)); // The same epoch once more: its own flush counts.
        promises.note_promised(Epoch(3));
        assert_eq!(promises.next_durable(), Some(AppendIndex(1)));
        promises.note_flushed(2);
        assert_eq!((promises.next_durable(), promises.next_for_file()), (None, Some(Epoch(3))));
        promises.note_promised(Epoch(3));
        assert_eq!(promises.next_durable(), Some(AppendIndex(2)));
    }
}
