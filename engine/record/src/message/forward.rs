//! Proposals on their way to the leader: each with its session, one behind the other.
//!
//! Invariant: a `Forwarded` holds at least one proposal, and every one in it decodes.

use crate::codec::Noun;
use crate::error::{DecodeError, EncodeError};
use crate::ids::{NodeTag, SessionId};
use crate::limits::{FORWARD_BYTES_MAX, PROPOSAL_BYTES_MAX};
use crate::proposal::Proposal;

/// Bytes in front of each proposal: the session, then the proposal's length.
pub const FORWARD_ENTRY_HEAD_BYTES: usize = SessionId::BYTES + 4;

/// Checked entries, borrowed from their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded<'a> {
    entries: &'a [u8],
    count: u32,
}

impl<'a> Forwarded<'a> {
    /// Reads entries that fill `bytes` exactly and checks every proposal. Allocates nothing.
    pub fn decode(bytes: &'a [u8]) -> Result<Forwarded<'a>, DecodeError> {
        let (what, found) = ("the list of forwarded proposals", bytes.len());
        if found == 0 {
            return Err(DecodeError::Limit(EncodeError::Empty { what }));
        }
        if found > FORWARD_BYTES_MAX {
            return Err(DecodeError::Limit(EncodeError::TooLong { what, found, max: FORWARD_BYTES_MAX }));
        }
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            let (_, proposal, behind) = split_entry(rest)?;
            Proposal::decode(proposal)?;
            rest = behind;
            count += 1;
        }
        Ok(Forwarded { entries: bytes, count })
    }

    /// Writes one entry to the front of `out` and returns its length; entries written one behind the other are what
    /// `decode` reads. Allocates nothing.
    pub fn encode_entry(
        session: SessionId,
        proposal: &Proposal<'_>,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let (needed, found) = (Self::entry_bytes(proposal), out.len());
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { needed, found })?;
        let (head, body) = out.split_at_mut(FORWARD_ENTRY_HEAD_BYTES);
        let proposal_bytes = proposal.encode(body)?;
        head[..SessionId::BYTES].copy_from_slice(&session.to_bytes());
        head[SessionId::BYTES..].copy_from_slice(&(proposal_bytes as u32).to_le_bytes());
        Ok(needed)
    }

    /// Length of one entry.
    #[must_use]
    pub const fn entry_bytes(proposal: &Proposal<'_>) -> usize {
        FORWARD_ENTRY_HEAD_BYTES + proposal.encoded_bytes()
    }

    /// How many proposals.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The encoded entries.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.entries
    }

    /// Session and proposal of each entry, in order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Proposal<'a>)> + use<'a> {
        let mut rest = self.entries;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (session, proposal, behind) = split_entry(rest).expect("entries were checked before");
            rest = behind;
            Some((session, Proposal::decode(proposal).expect("proposals were checked before")))
        })
    }
}

fn split_entry(bytes: &[u8]) -> Result<(SessionId, &[u8], &[u8]), DecodeError> {
    let noun = Noun::Forward;
    let Some((head, rest)) = bytes.split_first_chunk::<FORWARD_ENTRY_HEAD_BYTES>() else {
        return Err(DecodeError::TooShort { noun, needed: FORWARD_ENTRY_HEAD_BYTES, found: bytes.len() });
    };
    let [n0, n1, n2, n3, n4, n5, n6, n7, b0, b1, b2, b3, c0, c1, c2, c3, p0, p1, p2, p3] = *head;
    let session = SessionId {
        node: NodeTag(u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7])),
        boot: u32::from_le_bytes([b0, b1, b2, b3]),
        counter: u32::from_le_bytes([c0, c1, c2, c3]),
    };
    let proposal_bytes = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
    if proposal_bytes > PROPOSAL_BYTES_MAX {
        return Err(DecodeError::TooLong { noun, found: proposal_bytes, max: PROPOSAL_BYTES_MAX });
    }
    match rest.split_at_checked(proposal_bytes) {
        Some((proposal, behind)) => Ok((session, proposal, behind)),
        None => {
            let named = FORWARD_ENTRY_HEAD_BYTES + proposal_bytes;
            Err(DecodeError::LengthMismatch { noun, named, found: bytes.len() })
        }
    }
}
