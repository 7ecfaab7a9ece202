//! Evidence reaches every member: told at once, and again until it is kept.
//!
//! Invariant: a report is acknowledged only when it stands durably in the log here, so no crash loses it between two members.
//! [P-103]

use io_oi_consensus::{ReportRefused, accused_of};
use io_oi_record::NodeId;
use io_oi_record::evidence::SignedEvidence;
use io_oi_record::limits::BARS_MAX;
use io_oi_record::message::{EvidenceKept, Message};

use crate::event::Lane;
use crate::machine::Machine;
use crate::peers::{Peer, To};
use crate::poll::Step;

const _: () = assert!(BARS_MAX <= u64::BITS as usize, "a bit for each report");

impl Machine {
    /// Every report goes to every member at once, and to those that do not keep it again after a while. [P-103]
    pub(crate) fn next_report(&mut self) -> Option<Step> {
        let held = self.voting.watch.held();
        let owes = |peer: &Peer| (0..held.len()).find(|place| (peer.told | peer.keeps) >> place & 1 == 0);
        let (to, place) = self.peers.all.iter().find_map(|peer| Some((peer.node, owes(peer)?)))?;
        let encoded = held[place].encode().expect("accepted evidence is within its limits");
        let accused = accused_of(&held[place].evidence.proof);
        let is_told_once = accused == to || accused == self.own_node();
        let peer = self.peers.find(to).expect("it was found just now");
        peer.told |= 1 << place;
        if is_told_once {
            peer.keeps |= 1 << place; // Whoever is convicted need not agree, and gets no answer.
        }
        let again_at = self.now.mono.saturating_add(self.timers.election_ns_max);
        self.voting.tell_at.get_or_insert(again_at);
        let epoch = self.epoch();
        let bytes = self.write(epoch, &Message::Evidence(&encoded));
        Some(Step::Send { to, lane: Lane::Urgent, bytes })
    }

    /// Time went by: who has not said that it keeps a report is told again. [P-103]
    pub(crate) fn elapse_telling(&mut self) {
        if self.voting.tell_at.is_some_and(|at| self.now.mono >= at) {
            self.voting.tell_at = None;
            self.peers.all.iter_mut().for_each(|peer| peer.told = 0);
        }
    }

    /// Another node's report. [P-103]
    pub(crate) fn handle_evidence(&mut self, from: NodeId, bytes: &[u8]) {
        let Ok(report) = SignedEvidence::decode(bytes) else {
            self.counters.messages_refused += 1;
            return;
        };
        let accused = accused_of(&report.evidence.proof);
        let is_settled = match self.believe(report, false) {
            Ok(()) => false, // Acknowledged once it is durable, when it is told again.
            Err(ReportRefused::Repeated { .. }) => self.keeps(accused),
            // Whoever judges finds it out by itself; nobody else may believe it.
            Err(ReportRefused::NotJudged | ReportRefused::Full) => true,
            Err(_) => false,
        };
        if is_settled {
            let epoch = self.epoch();
            let message = Message::EvidenceKept(EvidenceKept { accused });
            self.peers.post(To::One(from), Lane::Urgent, epoch, message);
        }
    }

    /// Whether evidence against this key stands durably in the log.
    fn keeps(&self, accused: NodeId) -> bool {
        let mut kept = self.voting.watch.held().iter().take(self.voting.kept);
        kept.any(|report| accused_of(&report.evidence.proof) == accused)
    }

    /// A member need not be told any more. [P-103]
    pub(crate) fn handle_evidence_kept(&mut self, from: NodeId, accused: NodeId) {
        let held = self.voting.watch.held();
        let place = held.iter().position(|report| accused_of(&report.evidence.proof) == accused);
        if let (Some(place), Some(peer)) = (place, self.peers.find(from)) {
            peer.keeps |= 1 << place;
        }
    }
}
