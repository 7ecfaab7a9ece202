//! What the commands do to one key's value: pure, so that the same edit can be tried on a newer value.
//!
//! Invariant: an edit that keeps the value says nothing of a write, and an edit that fails keeps it.

use io_oi_record::limits::VALUE_BYTES_MAX;

use crate::error::CommandError;
use crate::number::integer;

/// One change of one key. `B` holds the bytes: borrowed from the request, or kept while the edit waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edit<B> {
    /// Writes a value.
    Set { value: B, when: When, gives: Gives },
    /// Removes the key: 1 when it was there.
    Delete,
    /// Removes the key and gives what it held.
    Take,
    /// Writes behind the value: the new length.
    Append(B),
    /// Writes over the value from an offset on: the new length.
    SetRange { offset: usize, bytes: B },
    /// Adds to a number: the sum.
    Add(i64),
}

/// What must hold for a `Set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// `NX`
    Absent,
    /// `XX`
    Present,
}

/// What a `Set` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// `OK`, or nothing when the condition did not hold.
    Ok,
    /// What the key held before.
    Old,
    /// Whether it wrote, as a number.
    Done,
}

/// What becomes of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Keep,
    Put(Vec<u8>),
    Delete,
}

/// What the command answers for this key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    Nil,
    Integer(i64),
    Bulk(Vec<u8>),
    Failed(CommandError),
}

impl<B: AsRef<[u8]>> Edit<B> {
    /// Whether the value before does not matter: neither to what is written nor to what is answered.
    pub(crate) fn is_blind(&self) -> bool {
        matches!(self, Edit::Set { when: When::Always, gives: Gives::Ok, .. })
    }

    /// How many bytes it carries.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Edit::Set { value: bytes, .. } | Edit::Append(bytes) | Edit::SetRange { bytes, .. } => {
                bytes.as_ref().len()
            }
            Edit::Delete | Edit::Take | Edit::Add(_) => 0,
        }
    }

    /// With bytes of its own.
    pub(crate) fn kept(&self) -> Edit<Box<[u8]>> {
        match self {
            Edit::Set { value, when, gives } => {
                Edit::Set { value: value.as_ref().into(), when: *when, gives: *gives }
            }
            Edit::Delete => Edit::Delete,
            Edit::Take => Edit::Take,
            Edit::Append(bytes) => Edit::Append(bytes.as_ref().into()),
            Edit::SetRange { offset, bytes } => {
                Edit::SetRange { offset: *offset, bytes: bytes.as_ref().into() }
            }
            Edit::Add(number) => Edit::Add(*number),
        }
    }

    /// What it does to `old`.
    pub(crate) fn apply(&self, old: Option<&[u8]>) -> (Change, Answer) {
        match self {
            Edit::Set { value, when, gives } => set(value.as_ref(), *when, *gives, old),
            Edit::Delete if old.is_none() => (Change::Keep, Answer::Integer(0)),
            Edit::Delete => (Change::Delete, Answer::Integer(1)),
            Edit::Take => match old {
                None => (Change::Keep, Answer::Nil),
                Some(old) => (Change::Delete, Answer::Bulk(old.to_vec())),
            },
            Edit::Append(bytes) => {
                let old = old.unwrap_or_default();
                write_over(old, old.len(), bytes.as_ref())
            }
            Edit::SetRange { offset, bytes } => match (old, bytes.as_ref()) {
                (old, []) => (Change::Keep, Answer::Integer(old.map_or(0, |old| old.len() as i64))),
                (old, bytes) => write_over(old.unwrap_or_default(), *offset, bytes),
            },
            Edit::Add(number) => add(*number, old).unwrap_or_else(failed),
        }
    }
}

fn set(value: &[u8], when: When, gives: Gives, old: Option<&[u8]>) -> (Change, Answer) {
    let is_done = match when {
        When::Always => true,
        When::Absent => old.is_none(),
        When::Present => old.is_some(),
    };
    let answer = match gives {
        Gives::Ok if is_done => Answer::Ok,
        Gives::Ok => Answer::Nil,
        Gives::Old => old.map_or(Answer::Nil, |old| Answer::Bulk(old.to_vec())),
        Gives::Done => Answer::Integer(is_done.into()),
    };
    (if is_done { Change::Put(value.to_vec()) } else { Change::Keep }, answer)
}

/// Zeros stand between the old end and an offset behind it. Nothing new of no length leaves the value as it is.
fn write_over(old: &[u8], offset: usize, bytes: &[u8]) -> (Change, Answer) {
    let end = offset.saturating_add(bytes.len());
    if end > VALUE_BYTES_MAX {
        return failed(CommandError::ValueTooLong);
    }
    let mut new = old.to_vec();
    new.resize(old.len().max(end), 0);
    new[offset..end].copy_from_slice(bytes);
    let length = new.len() as i64;
    (Change::Put(new), Answer::Integer(length))
}

fn add(number: i64, old: Option<&[u8]>) -> Result<(Change, Answer), CommandError> {
    let old = old.map_or(Some(0), integer).ok_or(CommandError::NotInteger)?;
    let sum = old.checked_add(number).ok_or(CommandError::Overflow)?;
    Ok((Change::Put(sum.to_string().into_bytes()), Answer::Integer(sum)))
}

fn failed(error: CommandError) -> (Change, Answer) {
    (Change::Keep, Answer::Failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &[u8]) -> Change {
        Change::Put(bytes.to_vec())
    }

    fn edit(edit: Edit<&[u8]>, old: Option<&[u8]>) -> (Change, Answer) {
        let answer = edit.apply(old);
        assert_eq!(edit.kept().apply(old), answer, "waiting changes nothing");
        answer
    }

    fn set_edit(when: When, gives: Gives) -> Edit<&'static [u8]> {
        Edit::Set { value: b"new", when, gives }
    }

    #[test]
    fn a_set_is_done_when_its_condition_holds() {
        use {Gives as G, When as W};
        let old: Option<&[u8]> = Some(b"old");
        let gave_old = Answer::Bulk(b"old".to_vec());
        assert_eq!(edit(set_edit(W::Always, G::Ok), old), (put(b"new"), Answer::Ok));
        assert_eq!(edit(set_edit(W::Absent, G::Ok), old), (Change::Keep, Answer::Nil));
        assert_eq!(edit(set_edit(W::Absent, G::Ok), None), (put(b"new"), Answer::Ok));
        assert_eq!(edit(set_edit(W::Present, G::Ok), None), (Change::Keep, Answer::Nil));
        assert_eq!(edit(set_edit(W::Absent, G::Old), old), (Change::Keep, gave_old.clone()));
        assert_eq!(edit(set_edit(W::Always, G::Old), old), (put(b"new"), gave_old));
        assert_eq!(edit(set_edit(W::Always, G::Old), None), (put(b"new"), Answer::Nil));
        assert_eq!(edit(set_edit(W::Absent, G::Done), old), (Change::Keep, Answer::Integer(0)));
        assert_eq!(edit(set_edit(W::Absent, G::Done), None), (put(b"new"), Answer::Integer(1)));
    }

    #[test]
    fn numbers_are_added_within_their_bounds() {
        assert_eq!(edit(Edit::Add(1), None), (put(b"1"), Answer::Integer(1)));
        assert_eq!(edit(Edit::Add(-3), Some(b"1")), (put(b"-2"), Answer::Integer(-2)));
        let overflow = (Change::Keep, Answer::Failed(CommandError::Overflow));
        assert_eq!(edit(Edit::Add(1), Some(b"9223372036854775807")), overflow);
        assert_eq!(edit(Edit::Add(-1), Some(b"-9223372036854775808")), overflow);
        let not_one = (Change::Keep, Answer::Failed(CommandError::NotInteger));
        for old in ["", "one", " 1", "1.5", "01"] {
            assert_eq!(edit(Edit::Add(1), Some(old.as_bytes())), not_one, "{old}");
        }
    }

    #[test]
    fn bytes_are_written_behind_and_over() {
        assert_eq!(edit(Edit::Append(b"cd"), Some(b"ab")), (put(b"abcd"), Answer::Integer(4)));
        assert_eq!(
            edit(Edit::Append(b""), None),
            (put(b""), Answer::Integer(0)),
            "as Redis: the key is there then"
        );
        let range = |offset, bytes| Edit::SetRange { offset, bytes };
        assert_eq!(edit(range(1, b"X".as_slice()), Some(b"abc")), (put(b"aXc"), Answer::Integer(3)));
        assert_eq!(edit(range(3, b"X".as_slice()), Some(b"a")), (put(b"a\0\0X"), Answer::Integer(4)));
        assert_eq!(edit(range(3, b"".as_slice()), Some(b"a")), (Change::Keep, Answer::Integer(1)));
        assert_eq!(edit(range(3, b"".as_slice()), None), (Change::Keep, Answer::Integer(0)));
        let too_long = (Change::Keep, Answer::Failed(CommandError::ValueTooLong));
        assert_eq!(edit(range(VALUE_BYTES_MAX, b"X".as_slice()), Some(b"a")), too_long);
        assert_eq!(edit(range(usize::MAX, b"X".as_slice()), Some(b"a")), too_long);
    }

    #[test]
    fn what_is_removed_was_there() {
        assert_eq!(edit(Edit::Delete, Some(b"a")), (Change::Delete, Answer::Integer(1)));
        assert_eq!(edit(Edit::Delete, None), (Change::Keep, Answer::Integer(0)));
        assert_eq!(edit(Edit::Take, Some(b"a")), (Change::Delete, Answer::Bulk(b"a".to_vec())));
        assert_eq!(edit(Edit::Take, None), (Change::Keep, Answer::Nil));
    }
}
