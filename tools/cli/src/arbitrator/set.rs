//! `io_oi arbitrator set`: an operator writes a key himself, a cell that its judge lets nobody else write.
//!
//! Invariant: it is a decision like every other, signed under the next number; the judge is told who writes, and its refusal is
//! the answer.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use io_oi_record::governance::Change;
use io_oi_record::{Durability, Operation, Precondition, Proposal, Sequence, SessionSequence};

use crate::args::arbitrator::Set;
use crate::bytes::escaped;
use crate::data::{form_bytes, key_object, standard_input};
use crate::failure::Failure;
use crate::governance::{decide_with, say};
use crate::output::Output;
use crate::view::View;

/// Writes or removes the key.
pub(super) fn set(output: Output, socket: &Path, set: &Set) -> Result<(), Failure> {
    let key = form_bytes(&set.key, &set.form)?;
    let value = match &set.value {
        None => Vec::new(),
        Some(value) if value.as_bytes() == b"-" => standard_input(&set.form)?,
        Some(value) => form_bytes(value, &set.form)?,
    };
    let write = Proposal {
        // The number of the decision is what counts.
        session_sequence: SessionSequence(1),
        operation: if set.delete { Operation::Delete } else { Operation::Put },
        precondition: match set.condition.if_sequence {
            None => Precondition::None,
            Some(sequence) => Precondition::SequenceIs(Sequence(sequence)),
        },
        durability: Durability::DiskQuorum,
        key: &key,
        value: &value,
    };
    let signed = Change::write(&write).map_err(|error| Failure::Usage { what: error.to_string() })?;
    let decided = decide_with(&View::at(socket), &set.operator, &signed.0, &signed.1)?;
    let does = if set.delete { "is removed" } else { "is written" };
    say(output, &format!("`{}` {does}", escaped(&key)), &decided, key_object(&key, &set.form))
}
