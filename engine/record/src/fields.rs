//! State in a row of fields: how a machine's memory gets into a file of this node's own, and back.
//!
//! Invariant: what is read is within the bytes and within the bound that the reader names; nothing is allocated for a count
//! that the bytes left could not fill. All numbers are little-endian. This is no format of the wire: a version in front of
//! the fields says what they are, and a program that does not know it reads the log instead.

use alloc::vec::Vec;

use crate::ids::{Epoch, Nanos};
use crate::ids::{Hash, NodeId, Sequence};

/// Why fields are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The bytes end inside a field.
    #[error("the state is cut short: drop it and read the log")]
    Cut,
    /// Bytes are left behind the last field.
    #[error("the state has {bytes} bytes too many: drop it and read the log")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// A field's value is one that no machine writes.
    #[error("the state cannot be: {what}. Drop it and read the log")]
    Wrong {
        /// Which rule it breaks.
        what: &'static str,
    },
}

/// Refuses a field when `holds` is false.
pub const fn field_rule(holds: bool, what: &'static str) -> Result<(), FieldError> {
    if holds { Ok(()) } else { Err(FieldError::Wrong { what }) }
}

/// Takes fields, one behind the other.
#[derive(Debug, Default)]
pub struct FieldWriter {
    bytes: Vec<u8>,
}

impl FieldWriter {
    /// No field yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// The fields so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes of a length that the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// One bit, as a byte.
    pub fn flag(&mut self, flag: bool) {
        self.bytes.push(u8::from(flag));
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    /// How many elements follow.
    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// A sequence.
    pub fn sequence(&mut self, sequence: Sequence) {
        self.number(sequence.0);
    }

    /// An epoch.
    pub fn epoch(&mut self, epoch: Epoch) {
        self.number(epoch.0);
    }

    /// A time.
    pub fn nanos(&mut self, nanos: Nanos) {
        self.number(nanos.0);
    }

    /// Something that may be absent.
    pub fn option<T>(&mut self, option: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(option.is_some());
        if let Some(value) = option {
            write(self, value);
        }
    }
}

/// Hands fields out in the order in which they were written.
#[derive(Debug, Clone)]
pub struct FieldReader<'a> {
    left: &'a [u8],
}

impl<'a> FieldReader<'a> {
    /// All fields of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// The last field was read.
    pub const fn finish(self) -> Result<(), FieldError> {
        if self.left.is_empty() { Ok(()) } else { Err(FieldError::Long { bytes: self.left.len() }) }
    }

    /// Bytes of a known length.
    pub fn raw(&mut self, bytes: usize) -> Result<&'a [u8], FieldError> {
        let (taken, left) = self.left.split_at_checked(bytes).ok_or(FieldError::Cut)?;
        self.left = left;
        Ok(taken)
    }

    /// As many bytes as an array has.
    pub fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], FieldError> {
        let (taken, left) = self.left.split_first_chunk().ok_or(FieldError::Cut)?;
        self.left = left;
        Ok(*taken)
    }

    /// One bit.
    pub fn flag(&mut self) -> Result<bool, FieldError> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(FieldError::Wrong { what: "a flag is 0 or 1" }),
        }
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, FieldError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// How many elements of at least `element_bytes` each follow; the bytes left have room for all of them.
    pub fn count(&mut self, count_max: usize, element_bytes: usize) -> Result<usize, FieldError> {
        let count = usize::try_from(self.number()?).map_err(|_| FieldError::Cut)?;
        field_rule(count <= count_max, "there are more elements than a machine holds")?;
        if count > self.left.len() / element_bytes.max(1) {
            return Err(FieldError::Cut);
        }
        Ok(count)
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self, bytes_max: usize) -> Result<&'a [u8], FieldError> {
        let count = self.count(bytes_max, 1)?;
        self.raw(count)
    }

    /// A sequence.
    pub fn sequence(&mut self) -> Result<Sequence, FieldError> {
        self.number().map(Sequence)
    }

    /// An epoch.
    pub fn epoch(&mut self) -> Result<Epoch, FieldError> {
        self.number().map(Epoch)
    }

    /// A time.
    pub fn nanos(&mut self) -> Result<Nanos, FieldError> {
        self.number().map(Nanos)
    }

    /// A hash.
    pub fn hash(&mut self) -> Result<Hash, FieldError> {
        self.array().map(Hash)
    }

    /// A node.
    pub fn node(&mut self) -> Result<NodeId, FieldError> {
        self.array().map(NodeId)
    }

    /// Something that may be absent.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A list of at most `count_max` elements of at least `element_bytes` each.
    pub fn list<T>(
        &mut self,
        count_max: usize,
        element_bytes: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, FieldError> {
        let count = self.count(count_max, element_bytes)?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let mut fields = FieldWriter::new();
        fields.option(Some(7), |fields, number: u64| fields.number(number));
        fields.option(None::<u64>, FieldWriter::number);
        fields.bytes(b"key");
        let bytes = fields.into_bytes();
        let mut reader = FieldReader::new(&bytes);
        assert_eq!(reader.option(FieldReader::number), Ok(Some(7)));
        assert_eq!(reader.option(FieldReader::number), Ok(None));
        assert_eq!(
            reader.clone().bytes(2),
            Err(FieldError::Wrong { what: "there are more elements than a machine holds" })
        );
        assert_eq!(reader.bytes(3), Ok(&b"key"[..]));
        assert_eq!(reader.finish(), Ok(()));
        for length in 0..bytes.len() {
            let mut reader = FieldReader::new(&bytes[..length]);
            let read = reader.option(FieldReader::number).and_then(|_| reader.option(FieldReader::number));
            assert_eq!(read.and_then(|_| reader.bytes(3)), Err(FieldError::Cut), "{length} bytes");
        }
    }

    /// A count that claims more than there is must not be believed before memory is taken for it.
    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        let mut fields = FieldWriter::new();
        fields.number(1 << 40);
        fields.number(0);
        let bytes = fields.into_bytes();
        assert_eq!(FieldReader::new(&bytes).count(usize::MAX, 8), Err(FieldError::Cut));
        assert_eq!(FieldReader::new(&bytes[8..]).list(4, 8, FieldReader::number), Ok(Vec::new()));
        assert_eq!(FieldReader::new(&bytes[8..]).finish(), Err(FieldError::Long { bytes: 8 }));
        assert!(FieldReader::new(&[2]).flag().is_err());
    }
}
