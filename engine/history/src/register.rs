//! One key as a sequential object: what each operation may do to it.
//!
//! Invariant: a step is allowed exactly when some sequential register could have given that answer. A version whose
//! number nobody was told may have any number that no other version has been told.

use crate::operation::{Answer, Call, Condition, Operation};

/// A key's state: the write that made its newest version, by its place in the key's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// `None` while the key does not exist.
    pub writer: Option<u32>,
}

impl Register {
    /// A key that was never written.
    pub const ABSENT: Self = Self { writer: None };

    /// The state after operation number `at` took effect here with the answer it got, or `None` if a register in this
    /// state cannot answer so.
    #[must_use]
    pub fn step(self, operations: &[&Operation], at: usize) -> Option<Self> {
        let operation = operations[at];
        match (&operation.call, &operation.answer) {
            (Call::Read, Answer::Missing) => self.writer.is_none().then_some(self),
            (Call::Read, Answer::Found { version, value }) => {
                let writer = operations[self.writer? as usize];
                let fits = written(writer) == Some(value) && may_be_equal(version_of(writer), *version);
                fits.then_some(self)
            }
            (Call::Read, _) => Some(self),
            (call, Answer::Refused) => self.may_fail(condition(call), operations).then_some(self),
            (_, Answer::NoEffect) => Some(self),
            (call, _) => {
                let after = match call {
                    Call::Put { .. } => Self { writer: Some(at as u32) },
                    _ => Self::ABSENT,
                };
                self.may_hold(condition(call), operations).then_some(after)
            }
        }
    }

    fn may_hold(self, condition: Condition, operations: &[&Operation]) -> bool {
        match (condition, self.writer) {
            (Condition::None, _) | (Condition::Absent, None) => true,
            (Condition::VersionIs(version), Some(writer)) => {
                may_be_equal(version_of(operations[writer as usize]), Some(version))
            }
            (Condition::Absent, Some(_)) | (Condition::VersionIs(_), None) => false,
        }
    }

    fn may_fail(self, condition: Condition, operations: &[&Operation]) -> bool {
        match (condition, self.writer) {
            (Condition::None, _) | (Condition::Absent, None) => false,
            (Condition::VersionIs(version), Some(writer)) => {
                version_of(operations[writer as usize]) != Some(version)
            }
            (Condition::Absent, Some(_)) | (Condition::VersionIs(_), None) => true,
        }
    }
}

fn condition(call: &Call) -> Condition {
    match call {
        Call::Read => Condition::None,
        Call::Put { only_if, .. } | Call::Delete { only_if } => *only_if,
    }
}

fn written(operation: &Operation) -> Option<&Vec<u8>> {
    match &operation.call {
        Call::Put { value, .. } => Some(value),
        _ => None,
    }
}

fn version_of(operation: &Operation) -> Option<u64> {
    match operation.answer {
        Answer::Accepted { version } => version,
        _ => None,
    }
}

fn may_be_equal(one: Option<u64>, other: Option<u64>) -> bool {
    one.is_none() || other.is_none() || one == other
}
