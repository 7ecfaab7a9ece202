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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 5_000;

    /// Reads all of it in pieces of these sizes, taking frames whenever there are some.
    fn read(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>, FrameFault> {
        let mut reader = FrameReader::new(Lane::Bulk, MAX);
        let mut frame = FrameBytes::default();
        let mut frames = Vec::new();
        let mut rest = Bytes::copy_from_slice(bytes);
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(1).clamp(1, rest.len());
            reader.push(rest.split_to(size));
            // Every other time the reader is left alone, as by a busy shard.
            if size % 2 == 0 || rest.is_empty() {
                while reader.next(&mut frame)? {
                    frames.push(frame.bytes().to_vec());
                }
            }
            let waiting: usize = reader.chunks.iter().map(Bytes::len).sum();
            assert_eq!(reader.held, waiting);
            assert!(reader.chunks.iter().all(|chunk| !chunk.is_empty()));
            assert!(reader.assembled.capacity() <= 2 * bytes.len().max(8), "room grows with what came");
        }
        Ok(frames)
    }

    fn written(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = greeting(Lane::Bulk).to_vec();
        for frame in frames {
            bytes.extend_from_slice(&encode(frame));
        }
        bytes
    }

    proptest! {
        #[test]
        fn whatever_the_packets_the_frames_are_the_same(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 0..12),
            sizes in prop::collection::vec(1_usize..900, 1..20),
        ) {
            prop_assert_eq!(read(&written(&frames), &sizes), Ok(frames));
        }

        #[test]
        fn any_bytes_are_frames_or_a_fault(
            bytes in prop::collection::vec(any::<u8>(), 0..3_000),
            sizes in prop::collection::vec(1_usize..300, 1..8),
        ) {
            let mut greeted = greeting(Lane::Bulk).to_vec();
            greeted.extend_from_slice(&bytes);
            if let Ok(frames) = read(&greeted, &sizes) {
                let carried: usize = frames.iter().map(|frame| LENGTH_BYTES + frame.len()).sum();
                prop_assert!(carried <= bytes.len());
                prop_assert!(written(&frames)[GREETING_BYTES..] == bytes[..carried]);
            }
            if bytes.len() >= GREETING_BYTES && bytes[..GREETING_BYTES] != greeting(Lane::Bulk) {
                prop_assert_eq!(read(&bytes, &sizes), Err(FrameFault::Greeting));
            }
        }

        #[test]
        fn a_flipped_bit_never_yields_a_frame_that_is_too_long(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..5),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = written(&frames);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            match read(&bytes, &[7, 40, 3]) {
                Ok(found) => prop_assert!(found.iter().all(|frame| (1..=MAX).contains(&frame.len()))),
                Err(FrameFault::Greeting) => prop_assert!(bit / 8 < GREETING_BYTES),
                Err(FrameFault::Length { found, max }) => prop_assert!(found == 0 || found > max),
            }
        }
    }

    #[test]
    fn lengths_at_their_limits() {
        for (length, is_allowed) in
            [(0, false), (1, true), (MAX, true), (MAX + 1, false), (u32::MAX as usize, false)]
        {
            let mut bytes = greeting(Lane::Bulk).to_vec();
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
            bytes.resize(bytes.len() + length.min(MAX), 9);
            match read(&bytes, &[1_000]) {
                Ok(frames) => assert!(is_allowed && frames.len() == 1 && frames[0].len() == length),
                Err(fault) => assert!(!is_allowed && fault == FrameFault::Length { found: length, max: MAX }),
            }
        }
    }

    #[test]
    fn a_full_queue_takes_nothing_of_a_frame() {
        let mut queue = SendQueue::default();
        assert!(queue.push(&[1; 96], 200));
        assert!(!queue.push(&[2; 97], 200));
        assert_eq!((queue.bytes, queue.chunks.len()), (100, 1));
        assert!(queue.push(&[3; 96], 200));
    }
}
