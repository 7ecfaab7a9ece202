//! Frames on a stream: cut on one end, put together on the other. WIRE.md draws every byte.
//!
//! Invariant: nothing is allocated because a length says so; memory grows with bytes that really came.

use crate::{Lane, WIRE_VERSION};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// The bytes before a frame: its length, little-endian.
pub(crate) const LENGTH_BYTES: usize = 4;
/// The bytes before the first frame of a stream.
pub(crate) const GREETING_BYTES: usize = 8;

/// What every stream begins with.
pub(crate) fn greeting(lane: Lane) -> [u8; GREETING_BYTES] {
    let mut bytes = *b"io_oi\0\0\0";
    bytes[5] = WIRE_VERSION as u8;
    bytes[6] = lane.index() as u8;
    bytes
}

/// A frame with its length before it.
pub(crate) fn encode(frame: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(LENGTH_BYTES + frame.len());
    bytes.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    bytes.extend_from_slice(frame);
    bytes.freeze()
}

/// Why a stream's bytes are not frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    /// The stream begins with something else.
    #[error("the stream does not begin with this version's greeting for its lane")]
    Greeting,
    /// A frame of no bytes, or of too many.
    #[error("a frame says it has {found} bytes; 1 to {max} are allowed")]
    Length {
        /// What the frame says.
        found: usize,
        /// What is allowed.
        max: usize,
    },
}

/// Puts the bytes of one stream together to frames.
pub(crate) struct FrameReader {
    lane: Lane,
    frame_bytes_max: usize,
    is_greeted: bool,
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    held: usize,
    /// A frame that spans chunks is put together here; the room is used again.
    assembled: Vec<u8>,
    /// Bytes of the frame in `assembled`, once its length is known.
    wanted: Option<usize>,
}

impl FrameReader {
    pub(crate) fn new(lane: Lane, frame_bytes_max: usize) -> Self {
        FrameReader {
            lane,
            frame_bytes_max,
            is_greeted: false,
            chunks: VecDeque::new(),
            held: 0,
            assembled: Vec::new(),
            wanted: None,
        }
    }

    /// Adds what came next.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.held += bytes.len();
            self.chunks.push_back(bytes);
        }
    }

    /// Reads the greeting if it is there.
    pub(crate) fn greet(&mut self) -> Result<bool, FrameFault> {
        if !self.is_greeted && self.held >= GREETING_BYTES {
            let mut found = [0; GREETING_BYTES];
            self.copy(&mut found);
            if found != greeting(self.lane) {
                return Err(FrameFault::Greeting);
            }
            self.is_greeted = true;
        }
        Ok(self.is_greeted)
    }

    /// The next whole frame, in `frame`, whose former room is used again. False: more bytes are needed.
    pub(crate) fn next(&mut self, frame: &mut FrameBytes) -> Result<bool, FrameFault> {
        if !self.greet()? {
            return Ok(false);
        }
        let wanted = match self.wanted {
            Some(wanted) => wanted,
            None => {
                let Some(wanted) = self.read_length()? else { return Ok(false) };
                if let Some(first) = self.chunks.front_mut()
                    && first.len() >= wanted
                {
                    // The common case: the frame lies whole in one packet and is not copied.
                    frame.whole = first.split_to(wanted);
                    frame.is_whole = true;
                    self.forget(wanted);
                    return Ok(true);
                }
                self.assembled.clear();
                self.wanted = Some(wanted);
                wanted
            }
        };
        self.assemble(wanted);
        if self.assembled.len() < wanted {
            return Ok(false);
        }
        self.wanted = None;
        std::mem::swap(&mut self.assembled, &mut frame.assembled);
        frame.is_whole = false;
        Ok(true)
    }

    fn read_length(&mut self) -> Result<Option<usize>, FrameFault> {
        if self.held < LENGTH_BYTES {
            return Ok(None);
        }
        let mut length = [0; LENGTH_BYTES];
        self.copy(&mut length);
        let found = u32::from_le_bytes(length) as usize;
        if found == 0 || found > self.frame_bytes_max {
            return Err(FrameFault::Length { found, max: self.frame_bytes_max });
        }
        Ok(Some(found))
    }

    fn assemble(&mut self, wanted: usize) {
        while self.assembled.len() < wanted
            && let Some(first) = self.chunks.front_mut()
        {
            let taken = first.split_to(first.len().min(wanted - self.assembled.len()));
            self.assembled.extend_from_slice(&taken);
            self.forget(taken.len());
        }
    }

    /// Copies out so many bytes that are there.
    fn copy(&mut self, out: &mut [u8]) {
        assert!(self.held >= out.len(), "nobody copies bytes that have not come");
        let mut filled = 0;
        while filled < out.len() {
            let Some(first) = self.chunks.front_mut() else { break };
            let taken = first.split_to(first.len().min(out.len() - filled));
            out[filled..filled + taken.len()].copy_from_slice(&taken);
            filled += taken.len();
            self.forget(taken.len());
        }
    }

    /// Accounts for bytes that were split off, and drops a chunk that is used up.
    fn forget(&mut self, taken: usize) {
        self.held -= taken;
        if self.chunks.front().is_some_and(Bytes::is_empty) {
            self.chunks.pop_front();
        }
    }
}

/// Room for the newest frame.
#[derive(Default)]
pub(crate) struct FrameBytes {
    whole: Bytes,
    assembled: Vec<u8>,
    is_whole: bool,
}

impl FrameBytes {
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.is_whole { &self.whole } else { &self.assembled }
    }

    /// Lets go of the packet that the newest frame lies in.
    pub(crate) fn release(&mut self) {
        self.whole = Bytes::new();
    }
}

/// Frames on their way into a stream, as far as the stream has no room for them.
#[derive(Default)]
pub(crate) struct SendQueue {
    pub(crate) chunks: VecDeque<Bytes>,
    pub(crate) bytes: usize,
}

impl SendQueue {
    /// Takes a frame unless the queue would hold more than `bytes_max`.
    pub(crate) fn push(&mut self, frame: &[u8], bytes_max: usize) -> bool {
        let more = LENGTH_BYTES + frame.len();
        if self.bytes + more > bytes_max {
            return false;
        }
        self.push_bytes(encode(frame));
        true
    }

    pub(crate) fn push_bytes(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.chunks.push_back(bytes);
    }
}
