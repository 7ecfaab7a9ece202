//! What a flush makes true: claims, promises, blocks, certificates and evidence count from then on.
//!
//! Invariant: nothing counts before the flush that covers it, and a superseded block never does.

use io_oi_record::{Hash, Sequence};

use crate::appends::Entry;
use crate::event::AppendIndex;
use crate::machine::Machine;

impl Machine {
    /// Everything through this append is flushed.
    pub(crate) fn handle_durable(&mut self, through: AppendIndex) {
        while let Some(entry) = self.appends.flushed(through) {
            match entry {
                Entry::Claim(epoch) => self.handle_claim_durable(epoch),
                Entry::Block(last, hash) => self.handle_block_durable(last, hash),
                Entry::Grant(epoch, candidate) => self.handle_promise_durable(epoch, candidate),
                Entry::Certificate(last) => self.handle_certificate_durable(last),
                Entry::Reports(count) => self.voting.kept = count,
                Entry::Silent => {}
            }
        }
    }

    /// A block that was superseded before its flush was done says nothing. [P-35]
    fn handle_block_durable(&mut self, last: Sequence, hash: Hash) {
        let link = self.consensus.chain().ending_at(last);
        let is_superseded = link.is_none_or(|link| link.tip.hash != hash);
        if is_superseded || last <= self.consensus.own_durable() {
            return;
        }
        let before = self.consensus.committed();
        self.consensus.handle_own_durable(last);
        if planted!(self, CommitsAlone) && self.is_leading() {
            self.consensus.learn_committed(last);
        }
        self.commit_due |= self.is_leading() && self.consensus.committed() > before;
        self.following.owes_ack = true;
        self.note_whole();
        self.try_vote();
    }
}
