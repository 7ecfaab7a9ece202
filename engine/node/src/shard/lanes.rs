//! The clients of one shard: their rings, and what they are still owed.
//!
//! Invariants:
//! - a frame is taken from a lane only while its receipt ring has room for the answer to it and to everything taken
//!   before, so a receipt always finds room;
//! - a lane is forgotten only when everything taken from it is answered, so a session that comes back starts clean.

use std::sync::Arc;

use io_oi_record::limits::{CLIENTS_MAX, RECEIPT_BYTES};
use io_oi_record::{Receipt, SessionId};
use io_oi_shm::hot::PinsHandle;
use io_oi_shm::ring::{Consumer, Producer};

use crate::mail::ClientId;
use crate::rights::Rights;

/// A lane's place in the table; stays the same while the client is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneSlot(u16);

/// How far a lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Its session is not open yet; `is_submitted` once the log has been asked.
    Opening { is_submitted: bool },
    /// At work.
    Open,
    /// Holds nonsense: not read any more; housekeeping will say goodbye.
    Broken,
    /// The client is gone; what it left behind is still taken, up to this many frames.
    Draining { frames_left: u32 },
    /// Nothing is taken any more; waiting for the last answers.
    Leaving,
}

/// One client in one shard.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) client: ClientId,
    pub(super) session: SessionId,
    pub(super) state: LaneState,
    pub(super) rights: Arc<Rights>,
    proposals: Consumer,
    receipts: Producer,
    pins: PinsHandle,
    /// Frames taken and not answered yet.
    unanswered: usize,
}

/// What the table has to be told of a new client.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) client: ClientId,
    pub(super) session: SessionId,
    /// Its session is opened through the log first.
    pub(super) is_new: bool,
    pub(super) rights: Arc<Rights>,
    pub(super) proposals: Consumer,
    pub(super) receipts: Producer,
    pub(super) pins: PinsHandle,
}

/// What a look into a lane brought.
#[derive(Debug)]
pub(super) enum Taken {
    /// This many bytes of one frame.
    Frame(usize),
    /// Nothing, or nothing that could be answered now.
    Nothing,
    /// The ring is corrupt.
    Corrupt(String),
}

/// All lanes of one shard.
#[derive(Debug)]
pub(super) struct Lanes {
    slots: Vec<Option<Lane>>,
    /// Slots in use, in no order.
    used: Vec<LaneSlot>,
    /// Sorted by session.
    by_session: Vec<(SessionId, LaneSlot)>,
    /// The lane that was answered last: blocks answer many proposals of one client in a row.
    answered_last: Option<(SessionId, LaneSlot)>,
    /// The lane that is looked at first, so that the first in the table is not always the best served.
    first: usize,
    /// Lanes that are on their way out.
    leaving: usize,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..CLIENTS_MAX).map(|_| None).collect(),
            used: Vec::with_capacity(CLIENTS_MAX),
            by_session: Vec::with_capacity(CLIENTS_MAX),
            answered_last: None,
            first: 0,
            leaving: 0,
        }
    }

    /// Takes a client in. Housekeeping never lets in more than there is room for, nor a session twice.
    pub(super) fn add(&mut self, newcomer: Newcomer) -> LaneSlot {
        let Newcomer { client, session, is_new, rights, proposals, receipts, pins } = newcomer;
        let free = self.slots.iter().position(Option::is_none).expect("housekeeping bounds the clients");
        let slot = LaneSlot(free as u16);
        let state = if is_new { LaneState::Opening { is_submitted: false } } else { LaneState::Open };
        self.slots[free] =
            Some(Lane { client, session, state, rights, proposals, receipts, pins, unanswered: 0 });
        let place = self.by_session.partition_point(|(other, _)| *other < session);
        let is_twice = self.by_session.get(place).is_some_and(|(other, _)| *other == session);
        assert!(!is_twice, "a session is attached once at a time");
        self.by_session.insert(place, (session, slot));
        self.used.push(slot);
        slot
    }

    /// Forgets a client and gives back what it has pinned.
    pub(super) fn remove(&mut self, slot: LaneSlot) -> (ClientId, PinsHandle) {
        let lane = self.slots[usize::from(slot.0)].take().expect("a lane is removed once");
        self.used.retain(|other| *other != slot);
        self.by_session.retain(|(_, other)| *other != slot);
        self.answered_last = None;
        if self.first >= self.used.len() {
            self.first = 0;
        }
        if matches!(lane.state, LaneState::Draining { .. } | LaneState::Leaving) {
            self.leaving -= 1;
        }
        (lane.client, lane.pins)
    }

    pub(super) fn get(&self, slot: LaneSlot) -> &Lane {
        self.slots[usize::from(slot.0)].as_ref().expect("a slot in use holds a lane")
    }

    pub(super) fn get_mut(&mut self, slot: LaneSlot) -> &mut Lane {
        self.slots[usize::from(slot.0)].as_mut().expect("a slot in use holds a lane")
    }

    pub(super) fn find_client(&self, client: ClientId) -> Option<LaneSlot> {
        self.used.iter().copied().find(|slot| self.get(*slot).client == client)
    }

    pub(super) fn find_session(&mut self, session: SessionId) -> Option<LaneSlot> {
        if let Some((last, slot)) = self.answered_last
            && last == session
        {
            return Some(slot);
        }
        let place = self.by_session.binary_search_by_key(&session, |(session, _)| *session).ok()?;
        self.answered_last = Some(self.by_session[place]);
        Some(self.by_session[place].1)
    }

    pub(super) fn count(&self) -> usize {
        self.used.len()
    }

    /// The lane to look at in the `index`-th place of this turn.
    #[inline]
    pub(super) fn in_turn(&self, index: usize) -> LaneSlot {
        let place = self.first + index;
        self.used[if place < self.used.len() { place } else { place - self.used.len() }]
    }

    /// Another lane comes first in the next turn.
    #[inline]
    pub(super) fn rotate(&mut self) {
        self.first += 1;
        if self.first >= self.used.len() {
            self.first = 0;
        }
    }

    /// The client is gone: takes what it left in whole frames, then nothing.
    pub(super) fn start_leaving(&mut self, slot: LaneSlot) {
        let lane = self.get_mut(slot);
        let state = match lane.state {
            LaneState::Open => LaneState::Draining { frames_left: FRAMES_DRAINED_MAX },
            LaneState::Draining { .. } | LaneState::Leaving => return,
            LaneState::Opening { .. } | LaneState::Broken => LaneState::Leaving,
        };
        lane.state = state;
        self.leaving += 1;
    }

    /// A lane that is drained and owed nothing, if there is one.
    pub(super) fn next_gone(&self) -> Option<LaneSlot> {
        if self.leaving == 0 {
            return None;
        }
        let is_gone = |lane: &Lane| lane.state == LaneState::Leaving && lane.unanswered == 0;
        self.used.iter().copied().find(|slot| is_gone(self.get(*slot)))
    }

    /// Whether a frame waits that could be taken and answered. A client that leaves its receipts unread waits for
    /// itself.
    pub(super) fn has_frames(&mut self) -> bool {
        self.slots.iter_mut().flatten().any(|lane| lane.frames_answerable() > 0 && lane.proposals.has_frame())
    }
}

impl Lane {
    /// How many frames may be taken now without running out of room for their receipts.
    #[inline]
    pub(super) fn frames_answerable(&mut self) -> usize {
        match self.state {
            LaneState::Open if !self.proposals.has_frame() => 0,
            LaneState::Open => self.receipts.free_frames(RECEIPT_BYTES).saturating_sub(self.unanswered),
            LaneState::Draining { frames_left } => frames_left as usize,
            _ => 0,
        }
    }

    /// Takes the oldest frame; from here on it is owed an answer.
    #[inline]
    pub(super) fn take(&mut self, frame: &mut [u8]) -> Taken {
        match self.proposals.pop(frame) {
            Ok(Some(bytes)) => {
                self.unanswered += 1;
                if let LaneState::Draining { frames_left } = &mut self.state {
                    *frames_left -= 1;
                }
                Taken::Frame(bytes)
            }
            Ok(None) => {
                if matches!(self.state, LaneState::Draining { .. }) {
                    self.state = LaneState::Leaving;
                }
                Taken::Nothing
            }
            Err(corrupt) => Taken::Corrupt(corrupt.to_string()),
        }
    }

    /// Counts a proposal that the node submits on the client's behalf.
    pub(super) fn note_submitted(&mut self) {
        self.unanswered += 1;
    }

    /// One proposal less to answer. Gives the receipt to the client when there still is one. Says whether it was delivered.
    #[inline]
    pub(super) fn answer(&mut self, receipt: &Receipt) -> bool {
        assert!(self.unanswered > 0, "every receipt answers one frame");
        self.unanswered -= 1;
        match self.state {
            LaneState::Open | LaneState::Broken => {
                // A client that wrote nonsense over its own ring loses its own receipt, nothing else.
                self.receipts.push(&receipt.encode()).is_ok()
            }
            LaneState::Opening { .. } | LaneState::Draining { .. } | LaneState::Leaving => false,
        }
    }
}

/// A dead client's ring holds at most this many frames of ours; a fork of it that goes on writing is not served.
const FRAMES_DRAINED_MAX: u32 = 1 << 20;
