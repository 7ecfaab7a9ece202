//! Nodes whose disk is not their own past: they neither vote nor lead, and every later boot knows it.
//!
//! Invariant: between finding that and its being durable in the promise file, the machine hears nobody and appends nothing. What
//! it reads from others afterwards would hide in its own log what the log lacked. [P-44]

use io_oi_record::Epoch;

use crate::machine::Machine;
use crate::status::{MuteReason, Notice, PastLost};

/// Why this node is mute, if it is, and whether the promise file says so.
#[derive(Debug)]
pub(crate) struct Muteness {
    reason: Option<MuteReason>,
    note: Note,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    /// Nothing has to be kept.
    None,
    Owed(PastLost),
    /// It is on its way into the promise file.
    Asked,
    Kept,
}

impl Muteness {
    /// As the promise file has it.
    pub(crate) fn of(past_lost: Option<PastLost>) -> Self {
        Self {
            reason: past_lost.map(MuteReason::PastLost),
            note: if past_lost.is_some() { Note::Kept } else { Note::None },
        }
    }

    pub(crate) fn reason(&self) -> Option<MuteReason> {
        self.reason
    }

    /// Whether the promise file does not say yet what it has to.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.note, Note::Owed(_) | Note::Asked)
    }

    /// What the promise file has to be told, once.
    pub(crate) fn next_to_keep(&mut self) -> Option<PastLost> {
        let Note::Owed(past_lost) = self.note else { return None };
        self.note = Note::Asked;
        Some(past_lost)
    }

    pub(crate) fn handle_kept(&mut self) {
        assert_eq!(self.note, Note::Asked, "the promise file keeps what it was asked to");
        self.note = Note::Kept;
    }

    fn owe(&mut self, past_lost: PastLost) {
        if self.note == Note::None {
            self.note = Note::Owed(past_lost);
        }
    }
}

impl Machine {
    /// The log is read; the newest epoch that it shows is `found`, the promise file names `promised`. Of a damaged log it is
    /// known what it lost, and it makes up for that. [P-44, P-46]
    pub(crate) fn look_for_lost_past(&mut self, promised: Epoch, found: Epoch) {
        let past_lost = match self.consensus.unclaimed() {
            _ if self.muteness.note == Note::Kept => None,
            _ if promised > found && self.lost.is_none() => Some(PastLost::Promise { promised, found }),
            Some(epoch) => Some(PastLost::Claim { epoch }),
            None => None,
        };
        match (past_lost, self.mute()) {
            // A quorum by itself does not start at all then: it appends nothing that could hide it, and the right log may
            // still be put back.
            (Some(past_lost), _) if self.is_alone() => self.fall_mute(MuteReason::PastLost(past_lost)),
            (Some(past_lost), _) => self.lose_past(past_lost),
            (None, Some(reason)) => self.fall_mute(reason),
            (None, None) => {}
        }
    }

    /// The disk is not this node's own past: so it is for good. [P-44]
    pub(crate) fn lose_past(&mut self, past_lost: PastLost) {
        self.muteness.owe(past_lost);
        self.fall_mute(MuteReason::PastLost(past_lost));
    }

    /// It neither votes nor leads from now on. [P-44]
    pub(crate) fn fall_mute(&mut self, reason: MuteReason) {
        let led = self.is_leading().then(|| self.epoch());
        if let Some(led) = led {
            self.consensus.step_down();
            self.after_leading(led);
        }
        self.consensus.mute();
        self.muteness.reason = Some(reason);
        self.notices.push(Notice::Mute { reason });
    }
}
