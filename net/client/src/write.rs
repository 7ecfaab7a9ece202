//! Writing: every call puts one proposal into the ring and hands back its ticket.

use io_oi_record::{Durability, Operation, Outcome, Precondition, Receipt, ShardId};

use std::time::Duration;

use crate::channel::Draft;
use crate::socket::deadline_after;
use crate::{Client, Expected, PutError, Ticket, WriteError};

impl Client {
    /// Writes `value` under `key`; the receipt comes at `Durability::DiskQuorum`.
    ///
    /// The value is visible to every reader on this box, as tentative, as soon as the shard has taken the proposal
    /// from the ring: usually well under a microsecond later, but not before this call returns. A `get` by this
    /// client right after `put` may therefore still see the older version. From its own receipt on, at whatever
    /// durability, this client never reads an older version. Who needs that at once writes with
    /// `Durability::Local` and waits for that receipt: it stands for "visible on this box".
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    #[inline]
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Ticket, PutError> {
        self.put_with(key, value, Durability::DiskQuorum)
    }

    /// As [`Client::put`], with the receipt at the durability asked for.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    #[inline]
    pub fn put_with(&mut self, key: &[u8], value: &[u8], durability: Durability) -> Result<Ticket, PutError> {
        let precondition = Precondition::None;
        self.submit(&Draft { operation: Operation::Put, precondition, durability, key, value })
    }

    /// Deletes `key`. Deleting an absent key is accepted.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    #[inline]
    pub fn delete(&mut self, key: &[u8]) -> Result<Ticket, PutError> {
        self.delete_with(key, Durability::DiskQuorum)
    }

    /// As [`Client::delete`], with the receipt at the durability asked for.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    #[inline]
    pub fn delete_with(&mut self, key: &[u8], durability: Durability) -> Result<Ticket, PutError> {
        let precondition = Precondition::None;
        self.submit(&Draft { operation: Operation::Delete, precondition, durability, key, value: &[] })
    }

    /// Writes `value` only if the key's newest version is the expected one when the log reaches the proposal. A
    /// miss is a receipt: refused, `PreconditionFailed`.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    #[inline]
    pub fn compare_and_set(
        &mut self,
        key: &[u8],
        expected: Expected,
        value: &[u8],
    ) -> Result<Ticket, PutError> {
        self.compare_and_set_with(key, expected, value, Durability::DiskQuorum)
    }

    /// As [`Client::compare_and_set`], with the receipt at the durability asked for.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    #[inline]
    pub fn compare_and_set_with(
        &mut self,
        key: &[u8],
        expected: Expected,
        value: &[u8],
        durability: Durability,
    ) -> Result<Ticket, PutError> {
        let precondition = precondition_of(expected);
        self.submit(&Draft { operation: Operation::Put, precondition, durability, key, value })
    }

    /// Deletes `key` only if its newest version is the expected one.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    pub fn compare_and_delete_with(
        &mut self,
        key: &[u8],
        expected: Expected,
        durability: Durability,
    ) -> Result<Ticket, PutError> {
        let precondition = precondition_of(expected);
        self.submit(&Draft { operation: Operation::Delete, precondition, durability, key, value: &[] })
    }

    /// Submits a signed governance record to one shard; its operator's signature is the authority, not this client's.
    /// Every governance record goes to every shard, shard 0 first: it settles which of two operators was faster.
    ///
    /// # Errors
    /// See [`PutError`]; nothing was submitted then.
    pub fn govern(&mut self, shard: ShardId, signed: &[u8]) -> Result<Ticket, PutError> {
        let (precondition, durability) = (Precondition::None, Durability::DiskQuorum);
        self.submit_to(
            shard,
            &Draft { operation: Operation::Govern, precondition, durability, key: &[], value: signed },
        )
    }

    /// Writes and waits for the receipt in one call, at most `patience`.
    ///
    /// # Errors
    /// See [`WriteError`]: not submitted, no receipt in time, or refused.
    pub fn put_and_wait(
        &mut self,
        key: &[u8],
        value: &[u8],
        durability: Durability,
        patience: Duration,
    ) -> Result<Receipt, WriteError> {
        let deadline = deadline_after(patience);
        let ticket = self.put_with(key, value, durability)?;
        let receipt = self.wait(ticket, deadline)?;
        match receipt.outcome {
            Outcome::Accepted => Ok(receipt),
            Outcome::Refused(code) => Err(WriteError::Refused { code }),
        }
    }
}

fn precondition_of(expected: Expected) -> Precondition {
    match expected {
        Expected::Absent => Precondition::Absent,
        Expected::Sequence(sequence) if sequence.is_none() => Precondition::Absent,
        Expected::Sequence(sequence) => Precondition::SequenceIs(sequence),
    }
}
