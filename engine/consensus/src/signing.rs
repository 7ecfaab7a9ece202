//! The guard before the signing key.
//!
//! Invariant: one header per sequence and epoch is signed, in order, and only under a durable claim. [P-40, P-41]

use io_oi_record::{BlockHeader, Epoch, Hash, Sequence};

use crate::chain::ChainTip;
use crate::epoch::EpochLife;

/// Remembers the last header that this process signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SigningGuard {
    last_sequence: Sequence,
    last_hash: Hash,
    epoch: Epoch,
}

impl SigningGuard {
    /// Nothing signed; the first header of `epoch` has to continue `tip`. [P-41]
    pub(crate) fn standing_on(tip: &ChainTip, epoch: Epoch) -> Self {
        Self { last_sequence: tip.sequence, last_hash: tip.hash, epoch }
    }

    /// Lets `header` through to the key once, or says why not.
    pub(crate) fn permit(
        &mut self,
        life: &EpochLife,
        header: &BlockHeader,
        header_hash: Hash,
    ) -> Result<(), SigningRefused> {
        if !life.is_open_for_signing(header.epoch) || header.epoch != self.epoch {
            return Err(SigningRefused::EpochNotOpen { epoch: header.epoch });
        }
        let continues = header.first_sequence == self.last_sequence.next() && header.parent == self.last_hash;
        if !continues {
            let signed_through = self.last_sequence;
            return Err(SigningRefused::NotNext { first_sequence: header.first_sequence, signed_through });
        }
        self.last_sequence = header.last_sequence();
        self.last_hash = header_hash;
        Ok(())
    }
}

/// Why the key stayed in its box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningRefused {
    /// No durable claim to the epoch, or the epoch is closed. [P-40]
    #[error("epoch {epoch} is not open for signing: flush a claim to a higher epoch first")]
    EpochNotOpen {
        /// Epoch of the header.
        epoch: Epoch,
    },
    /// The header does not continue the last one signed. [P-41]
    #[error(
        "a header from sequence {first_sequence} does not continue the last one signed, through {signed_through}: \
         a second history is never signed"
    )]
    NotNext {
        /// First sequence of the refused header.
        first_sequence: Sequence,
        /// Where the last signed header ends.
        signed_through: Sequence,
    },
}
