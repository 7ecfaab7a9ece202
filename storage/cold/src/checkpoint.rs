//! What a start needs instead of the log before a place: the machine's state there, where batches and blocks stand, and the
//! place itself, each as bytes that this room does not look into.
//!
//! Invariant: a checkpoint is used as a whole or not at all, and the log says everything that it says. Two are kept: while
//! the newer one is written, and should it turn out damaged, there is the other. FORMAT.md draws the bytes.

use std::io;

use crate::footer::{u32_at, u64_at};
use crate::shelf::{Shelf, clear, put};

/// Version of the format that this build writes and reads.
pub const CHECKPOINT_VERSION: u32 = 1;
/// First bytes of every checkpoint.
pub const CHECKPOINT_MAGIC: [u8; 8] = *b"io_oiCKP";

/// What a log has told through the end of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The segment.
    pub segment: u32,
    /// Where the log is taken up, in the log's own words.
    pub resume: Vec<u8>,
    /// Where blocks stand, in the log's own words.
    pub blocks: Vec<u8>,
    /// The machine's state, in its own words.
    pub state: Vec<u8>,
}

/// Why a checkpoint is not used: an older one is, or the whole log.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("the checkpoint cannot be read ({0})")]
    Read(#[from] io::Error),
    /// The first bytes are no checkpoint's.
    #[error("the file is no checkpoint")]
    Magic,
    /// Another version.
    #[error("the checkpoint is of version {found}, this build reads version {CHECKPOINT_VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Its checksum or a length does not fit, or its name.
    #[error("the checkpoint is damaged")]
    Damaged,
}

impl Checkpoint {
    /// As it stands in its file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let parts = [&self.resume, &self.blocks, &self.state];
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(HEAD_BYTES + all + SUM_BYTES);
        out.extend_from_slice(&CHECKPOINT_MAGIC);
        out.extend_from_slice(&CHECKPOINT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(&(part.len() as u64).to_le_bytes()));
        parts.iter().for_each(|part| out.extend_from_slice(part));
        let sum = blake3::hash(&out);
        out.extend_from_slice(sum.as_bytes());
        out
    }

    /// Reads a whole file.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.get(..8) != Some(&CHECKPOINT_MAGIC[..]) {
            return Err(CheckpointError::Magic);
        }
        if bytes.len() < HEAD_BYTES + SUM_BYTES {
            return Err(CheckpointError::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != CHECKPOINT_VERSION {
            return Err(CheckpointError::Version { found: version });
        }
        let (body, sum) = bytes.split_at(bytes.len() - SUM_BYTES);
        if blake3::hash(body).as_bytes() != sum {
            return Err(CheckpointError::Damaged);
        }
        let mut rest = &body[HEAD_BYTES..];
        let mut part = |number: usize| {
            let length = usize::try_from(u64_at(body, 16 + 8 * number)).ok()?;
            let (part, left) = rest.split_at_checked(length)?;
            rest = left;
            Some(part.to_vec())
        };
        let parts = (part(0), part(1), part(2));
        let (Some(resume), Some(blocks), Some(state)) = parts else { return Err(CheckpointError::Damaged) };
        if !rest.is_empty() {
            return Err(CheckpointError::Damaged);
        }
        Ok(Self { segment: u32_at(body, 12), resume, blocks, state })
    }

    /// Puts it on the shelf; then of the older ones all but the newest is removed.
    pub fn put(&self, shelf: &mut impl Shelf) -> io::Result<()> {
        put(shelf, &name_of(self.segment), &self.encode())?;
        let older = kept(shelf)?.into_iter().filter(|segment| *segment < self.segment);
        for segment in older.skip(KEPT - 1) {
            shelf.remove(&name_of(segment))?;
        }
        Ok(())
    }

    /// Reads the one of this segment.
    pub fn read(shelf: &mut impl Shelf, segment: u32) -> Result<Self, CheckpointError> {
        let name = name_of(segment);
        let mut bytes = vec![0; usize::try_from(shelf.len(&name)?).map_err(|_| CheckpointError::Damaged)?];
        shelf.read(&name, 0, &mut bytes)?;
        let read = Self::decode(&bytes)?;
        if read.segment == segment { Ok(read) } else { Err(CheckpointError::Damaged) }
    }
}

/// Removes a checkpoint that is of no use.
pub fn forget(shelf: &mut impl Shelf, segment: u32) -> io::Result<()> {
    shelf.remove(&name_of(segment))
}

/// The segments of the checkpoints that are there, the newest first.
pub fn kept(shelf: &mut impl Shelf) -> io::Result<Vec<u32>> {
    let number = |name: String| name.strip_prefix(NAME).and_then(|number| number.parse().ok());
    let mut segments: Vec<u32> = clear(shelf)?.into_iter().filter_map(number).collect();
    segments.sort_unstable_by(|left, right| right.cmp(left));
    Ok(segments)
}

fn name_of(segment: u32) -> String {
    format!("{NAME}{segment:08}")
}

const NAME: &str = "checkpoint-";
const KEPT: usize = 2;
const HEAD_BYTES: usize = 40;
const SUM_BYTES: usize = 32;
