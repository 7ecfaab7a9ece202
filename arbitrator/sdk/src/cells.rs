//! How cells and writes stand in the byte lists of the contract. `arbitrator/wit/README.md` draws them.
//!
//! Invariant: whatever the bytes are, a reader ends, never panics, and says whether they were well-shaped; what a writer
//! wrote, a reader reads back the same.

/// Bytes in front of the key of a write: key length u16, flags u16, value length u32.
const WRITE_HEAD_BYTES: usize = 8;
/// Bytes in front of the key of a cell: as of a write, then the sequence u64.
const CELL_HEAD_BYTES: usize = 16;

/// Flag of a write that removes the key, and of a cell whose key does not exist.
const FLAG_ABSENT: u16 = 1;

/// One key written or removed: a proposal is one, effects are any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its new value; empty when it is removed.
    pub value: &'a [u8],
    /// Whether it is removed.
    pub is_delete: bool,
}

impl<'a> Write<'a> {
    /// The write that fills `bytes` exactly.
    #[must_use]
    pub fn only(bytes: &'a [u8]) -> Option<Write<'a>> {
        let (write, rest) = Write::first(bytes)?;
        rest.is_empty().then_some(write)
    }

    /// The write at the front of `bytes`, and what stands behind it.
    #[must_use]
    pub fn first(bytes: &'a [u8]) -> Option<(Write<'a>, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<WRITE_HEAD_BYTES>()?;
        let Payload { key, value, is_absent: is_delete, rest } = Payload::behind(*head, rest)?;
        Some((Write { key, value, is_delete }, rest))
    }

    /// Length of the encoding.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        WRITE_HEAD_BYTES + self.key.len() + self.value.len()
    }

    /// Writes the encoding to the front of `out` and returns its length; `None` when there is no room.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        encode(out, head(self.key, self.value, self.is_delete)?, &[], self.key, self.value)
    }
}

/// One cell of the state that a judge reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value; `None` when the key does not exist.
    pub value: Option<&'a [u8]>,
    /// The sequence that wrote it; 0 when the key does not exist.
    pub sequence: u64,
}

impl<'a> Cell<'a> {
    /// The cell at the front of `bytes`, and what stands behind it.
    #[must_use]
    pub fn first(bytes: &'a [u8]) -> Option<(Cell<'a>, &'a [u8])> {
        let (head, rest) = bytes.split_first_chunk::<WRITE_HEAD_BYTES>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let Payload { key, value, is_absent, rest } = Payload::behind(*head, rest)?;
        let value = if is_absent { None } else { Some(value) };
        Some((Cell { key, value, sequence: u64::from_le_bytes(*sequence) }, rest))
    }

    /// Length of the encoding.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        CELL_HEAD_BYTES + self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    /// Writes the encoding to the front of `out` and returns its length; `None` when there is no room.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let value = self.value.unwrap_or(&[]);
        let head = head(self.key, value, self.value.is_none())?;
        encode(out, head, &self.sequence.to_le_bytes(), self.key, value)
    }
}

/// Reads the cells of a state in their order.
#[derive(Clone, Copy, Debug)]
pub struct CellReader<'a> {
    rest: &'a [u8],
}

impl<'a> CellReader<'a> {
    /// Reads from the first byte of a state.
    #[must_use]
    pub const fn new(state: &'a [u8]) -> Self {
        CellReader { rest: state }
    }

    /// Whether everything was read: what is left is no cell.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for CellReader<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        let (cell, rest) = Cell::first(self.rest)?;
        self.rest = rest;
        Some(cell)
    }
}

/// Reads effects in their order.
#[derive(Clone, Copy, Debug)]
pub struct WriteReader<'a> {
    rest: &'a [u8],
}

impl<'a> WriteReader<'a> {
    /// Reads from the first byte of effects.
    #[must_use]
    pub const fn new(effects: &'a [u8]) -> Self {
        WriteReader { rest: effects }
    }

    /// Whether everything was read: what is left is no write.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for WriteReader<'a> {
    type Item = Write<'a>;

    fn next(&mut self) -> Option<Write<'a>> {
        let (write, rest) = Write::first(self.rest)?;
        self.rest = rest;
        Some(write)
    }
}

/// Collects the cells of a state: the host's side, and that of tests.
#[derive(Debug)]
pub struct CellWriter<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> CellWriter<'a> {
    /// Writes into `bytes` from its front.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        CellWriter { bytes, length: 0 }
    }

    /// Adds a cell; `false` when there is no room for it.
    pub fn push(&mut self, cell: &Cell<'_>) -> bool {
        let written = self.bytes.get_mut(self.length..).and_then(|room| cell.encode(room));
        self.length += written.unwrap_or(0);
        written.is_some()
    }

    /// What was written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// Collects the writes that take effect together with an accepted proposal.
#[derive(Debug)]
pub struct Effects<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> Effects<'a> {
    /// Writes into `bytes` from its front.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Effects { bytes, length: 0 }
    }

    /// Adds a key and its new value; `false` when there is no room.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.push(&Write { key, value, is_delete: false })
    }

    /// Adds the removal of a key; `false` when there is no room.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.push(&Write { key, value: &[], is_delete: true })
    }

    /// What was written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// Takes back everything.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    fn push(&mut self, write: &Write<'_>) -> bool {
        let written = self.bytes.get_mut(self.length..).and_then(|room| write.encode(room));
        self.length += written.unwrap_or(0);
        written.is_some()
    }
}

/// Key and value behind a head, whether its flag is set, and what follows.
struct Payload<'a> {
    key: &'a [u8],
    value: &'a [u8],
    is_absent: bool,
    rest: &'a [u8],
}

impl<'a> Payload<'a> {
    /// `None` when the shape is wrong.
    #[inline]
    fn behind(head: [u8; WRITE_HEAD_BYTES], bytes: &'a [u8]) -> Option<Payload<'a>> {
        let key_bytes = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let flags = u16::from_le_bytes([head[2], head[3]]);
        let value_bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let is_absent = flags == FLAG_ABSENT;
        if flags > FLAG_ABSENT || (is_absent && value_bytes != 0) || key_bytes == 0 {
            return None;
        }
        let (key, rest) = bytes.split_at_checked(key_bytes)?;
        let (value, rest) = rest.split_at_checked(value_bytes)?;
        Some(Payload { key, value, is_absent, rest })
    }
}

fn head(key: &[u8], value: &[u8], is_absent: bool) -> Option<[u8; WRITE_HEAD_BYTES]> {
    let key_bytes = u16::try_from(key.len()).ok().filter(|bytes| *bytes > 0)?.to_le_bytes();
    let value_bytes = u32::try_from(value.len()).ok()?.to_le_bytes();
    let flags = u16::from(is_absent).to_le_bytes();
    let (k, v) = (key_bytes, value_bytes);
    Some([k[0], k[1], flags[0], flags[1], v[0], v[1], v[2], v[3]])
}

fn encode(
    out: &mut [u8],
    head: [u8; WRITE_HEAD_BYTES],
    more: &[u8],
    key: &[u8],
    value: &[u8],
) -> Option<usize> {
    let mut length = 0;
    for part in [&head, more, key, value] {
        let end = length + part.len();
        out.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn what_was_written_reads_back(
            writes in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..8),
        ) {
            let mut room = vec![0; 1024];
            let mut effects = Effects::new(&mut room);
            for (key, value, is_delete) in &writes {
                let is_written = if *is_delete { effects.delete(key) } else { effects.put(key, value) };
                prop_assert!(is_written);
            }
            let mut reader = WriteReader::new(effects.as_slice());
            for (key, value, is_delete) in &writes {
                let value: &[u8] = if *is_delete { &[] } else { value };
                prop_assert_eq!(reader.next(), Some(Write { key, value, is_delete: *is_delete }));
            }
            prop_assert!(reader.next().is_none() && reader.is_at_end());
        }

        #[test]
        fn cells_read_back(
            cells in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), any::<u64>()), 0..8),
        ) {
            let mut room = vec![0; 1024];
            let mut writer = CellWriter::new(&mut room);
            let cells: Vec<Cell<'_>> = cells
                .iter()
                .map(|(key, value, sequence)| Cell { key, value: value.as_deref(), sequence: *sequence })
                .collect();
            prop_assert!(cells.iter().all(|cell| writer.push(cell)));
            let mut reader = CellReader::new(writer.as_slice());
            prop_assert_eq!(reader.by_ref().collect::<Vec<_>>(), cells);
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut writes = WriteReader::new(&bytes);
            let read: usize = writes.by_ref().map(|write| write.encoded_bytes()).sum();
            prop_assert!(read <= bytes.len());
            prop_assert_eq!(writes.is_at_end(), read == bytes.len());
            let mut cells = CellReader::new(&bytes);
            let read: usize = cells.by_ref().map(|cell| cell.encoded_bytes()).sum();
            prop_assert_eq!(cells.is_at_end(), read == bytes.len());
        }
    }

    #[test]
    fn a_write_without_room_changes_nothing() {
        let mut room = [0; 12];
        let mut effects = Effects::new(&mut room);
        assert!(effects.put(b"k", b"v"));
        assert!(!effects.put(b"k", b"v"));
        assert_eq!(WriteReader::new(effects.as_slice()).count(), 1);
    }
}
