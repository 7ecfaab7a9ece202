//! The six effects, performed.
//!
//! Invariants:
//! - a write is shown only after admission made sure of its room, so showing never fails while the shard runs;
//! - an append starts its flush at once when one can be started, before anything else is done with the block.

use io_oi_record::limits::RECORD_BYTES_MAX;
use io_oi_record::published::{PUBLISHED_HEAD_BYTES, Published};
use io_oi_record::{
    Epoch, Nanos, Now, Operation, Outcome, Proposal, Receipt, Record, RefusalCode, Sequence, SessionId,
    ShardId, Verdict,
};
use io_oi_shard::judge::precondition_verdict;
use io_oi_shard::{AppendIndex, Effect, Event, LogKind, Machine, PublishStage};
use io_oi_shm::{HashSeed, feed, hash_key, hot, shard_of};
use io_oi_wal::{Frame, FrameKind, LogIndex, Wal};

use super::admission::{Gate, Surroundings};
use super::board::Tally;
use super::lanes::{LaneSlot, LaneState, Lanes};
use crate::judge::{Case, Judge};
use crate::mail::{Notice, Notices};

/// Everything that one shard touches.
pub(super) struct World<J> {
    pub(super) shard: ShardId,
    pub(super) keys: KeySpace,
    pub(super) judge: J,
    pub(super) hot: hot::Writer,
    pub(super) feed: feed::Writer,
    pub(super) wal: Wal,
    pub(super) lanes: Lanes,
    pub(super) gate: Gate,
    pub(super) tally: Tally,
    pub(super) notices: Notices,
    /// When the machine wants to be told that time went by.
    pub(super) wake_at: Option<Nanos>,
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
pub(super) struct Parts<J> {
    pub(super) keys: KeySpace,
    pub(super) judge: J,
    pub(super) hot: hot::Writer,
    pub(super) feed: feed::Writer,
    pub(super) wal: Wal,
    pub(super) gate: Gate,
    pub(super) tally: Tally,
    pub(super) notices: Notices,
}

impl<J: Judge> World<J> {
    pub(super) fn new(parts: Parts<J>) -> Self {
        let Parts { keys, judge, hot, feed, wal, gate, tally, notices } = parts;
        Self {
            shard: keys.shard,
            keys,
            judge,
            hot,
            feed,
            wal,
            lanes: Lanes::new(),
            gate,
            tally,
            notices,
            wake_at: None,
            log_base: None,
            durable_early: None,
            feed_frame: vec![0; FEED_FRAME_BYTES_MAX].into_boxed_slice(),
            fault: None,
        }
    }

    /// Performs everything that the machine owes.
    #[inline]
    pub(super) fn drain(&mut self, machine: &mut Machine, now: Nanos) {
        while let Some(effect) = machine.poll_effect() {
            if let Effect::Judge { sequence, epoch, time, session, proposal, .. } = effect {
                let verdict = self.judge(&Case { sequence, epoch, time, session, proposal });
                machine.handle(Now::at(now), Event::Judged { sequence, verdict });
            } else {
                self.perform(effect);
            }
        }
        self.wal.submit();
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

    /// What a flush has made durable since the last call, in the machine's count.
    pub(super) fn poll_log(&mut self) -> Option<AppendIndex> {
        let early = self.durable_early.take();
        let through = match self.wal.poll() {
            Ok(through) => through.or(early)?,
            Err(failed) => {
                self.fail(failed.to_string());
                return None;
            }
        };
        let base = self.log_base?;
        // Before the machine's first append the log may flush a mark of its own.
        through.0.checked_sub(base).filter(|index| *index > 0).map(AppendIndex)
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
            Effect::Send { to, .. } => {
                unreachable!("a group of one has nobody to send to, yet the machine sends to {to}")
            }
            Effect::Publish { stage: PublishStage::Tentative, epoch, time, record } => {
                self.publish_tentative(epoch, time, &record);
            }
            Effect::Publish { stage: PublishStage::Committed, epoch, time, record } => {
                self.publish_committed(epoch, time, &record);
            }
            Effect::Publish { stage: PublishStage::Withdrawn, record, .. } => {
                unreachable!("a group of one never withdraws, yet {} is withdrawn", record.sequence)
            }
            Effect::Fetch { sequence } => {
                unreachable!("a group of one has nobody behind, yet {sequence} is fetched")
            }
            Effect::Reply { session, receipt } => self.reply(session, &receipt),
            Effect::Wake { at } => self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at))),
        }
    }

    #[inline]
    fn judge(&mut self, case: &Case<'_>) -> Verdict {
        let newest = self.hot.newest(case.proposal.key).filter(|newest| !newest.deleted);
        let newest = newest.map(|newest| Sequence(newest.stamp.sequence.0));
        match precondition_verdict(&case.proposal, newest) {
            Verdict::Accept => self.judge.judge(case),
            refused => refused,
        }
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
        if kind.is_urgent() {
            self.wal.submit();
        }
    }

    fn publish_tentative(&mut self, epoch: Epoch, time: Nanos, record: &Record<'_>) {
        let shown = self.hot.publish_tentative(record.key, shown_value(record), stamp(epoch, time, record));
        if let Err(full) = shown {
            self.fail(format!("a write that was admitted found no room in the hot tier: {full}"));
        }
    }

    fn publish_committed(&mut self, epoch: Epoch, time: Nanos, record: &Record<'_>) {
        let shown = self.hot.publish_committed(record.key, shown_value(record), stamp(epoch, time, record));
        if let Err(full) = shown {
            return self.fail(full.to_string());
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

/// What a record leaves under its key: a value, or nothing.
pub(super) fn shown_value<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    (record.operation == Operation::Put).then_some(record.value)
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
