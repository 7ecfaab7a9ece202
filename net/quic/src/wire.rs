//! One connection: its handshake, its two streams each way, and the rules of WIRE.md that quinn-proto does not know.
//!
//! Invariant: a frame is queued whole or not at all, and a peer that breaks a rule loses the connection.

use crate::frames::{FrameBytes, FrameFault, FrameReader, SendQueue, greeting};
use crate::{Key, LANES, Lane, Limits, SendError};
use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId, WriteError,
};

/// Codes with which a connection is closed: WIRE.md, "Codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// The endpoint goes away.
    Leaving = 0,
    /// The key is not in the membership any more, or it is barred.
    NotListed = 1,
    /// A stream did not begin with the greeting.
    Greeting = 2,
    /// A frame without bytes, or one that is too long.
    FrameLength = 3,
    /// A lane was ended, reset or stopped.
    LaneEnded = 4,
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The other side, the network or quinn-proto ended it.
    Lost(ConnectionError),
    /// The peer broke a rule of ours.
    Broken(CloseCode),
    /// We end it.
    Closed(CloseCode),
    /// A newer connection took its place, or nobody answered.
    Forgotten,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    /// We trust the peer, but do not know yet whether it trusts us.
    Greeting,
    Standing,
}

/// One connection.
pub(crate) struct Wire {
    pub(crate) key: Key,
    pub(crate) handle: ConnectionHandle,
    pub(crate) connection: Connection,
    /// Something happened: quinn-proto may have packets to send.
    pub(crate) is_dirty: bool,
    /// When `handle_timeout` is due.
    pub(crate) timer_ns: u64,
    phase: Phase,
    lanes: [LaneState; LANES],
}

struct LaneState {
    out: Option<StreamId>,
    queue: SendQueue,
    inward: Option<StreamId>,
    reader: FrameReader,
    is_readable: bool,
}

impl LaneState {
    fn new(lane: Lane, limits: &Limits) -> Self {
        LaneState {
            out: None,
            queue: SendQueue::default(),
            inward: None,
            reader: FrameReader::new(lane, limits.frame_bytes_max),
            is_readable: false,
        }
    }
}

impl Wire {
    pub(crate) fn new(key: Key, handle: ConnectionHandle, connection: Connection, limits: &Limits) -> Self {
        Wire {
            key,
            handle,
            connection,
            is_dirty: true,
            timer_ns: u64::MAX,
            phase: Phase::Handshake,
            lanes: [Lane::Urgent, Lane::Bulk].map(|lane| LaneState::new(lane, limits)),
        }
    }

    pub(crate) fn is_standing(&self) -> bool {
        self.phase == Phase::Standing
    }

    /// Whether `next_frame` may find something.
    pub(crate) fn is_readable(&self, lane: Lane) -> bool {
        self.is_standing() && self.lanes[lane.index()].is_readable
    }

    /// Handles what quinn-proto has to say. True: the connection has just come to stand.
    pub(crate) fn handle_events(&mut self) -> Result<bool, End> {
        while let Some(event) = self.connection.poll() {
            self.is_dirty = true;
            match event {
                Event::Connected => self.open()?,
                Event::ConnectionLost { reason } => return Err(End::Lost(reason)),
                Event::Stream(event) => self.handle_stream(event)?,
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
        if self.phase != Phase::Greeting {
            return Ok(false);
        }
        self.pull(Lane::Urgent)?;
        if self.lanes[Lane::Urgent.index()].reader.greet().map_err(broken)? {
            self.phase = Phase::Standing;
        }
        Ok(self.is_standing())
    }

    fn open(&mut self) -> Result<(), End> {
        self.phase = Phase::Greeting;
        for lane in [Lane::Urgent, Lane::Bulk] {
            // A peer that does not let us open two streams does not speak this version.
            let id = self.connection.streams().open(Dir::Uni).ok_or(End::Broken(CloseCode::Greeting))?;
            assert_eq!(id.index(), lane.index() as u64, "lanes are opened in their order, once a connection");
            let priority = if lane == Lane::Urgent { 1 } else { 0 };
            self.connection.send_stream(id).set_priority(priority).map_err(|_| ended())?;
            let state = &mut self.lanes[lane.index()];
            state.out = Some(id);
            state.queue.push_bytes(Bytes::copy_from_slice(&greeting(lane)));
            self.pump(lane)?;
        }
        Ok(())
    }

    fn handle_stream(&mut self, event: StreamEvent) -> Result<(), End> {
        match event {
            StreamEvent::Opened { dir } => {
                while let Some(id) = self.connection.streams().accept(dir) {
                    let state = self.lanes.get_mut(id.index() as usize).ok_or_else(ended)?;
                    state.inward = Some(id);
                    state.is_readable = true;
                }
            }
            StreamEvent::Readable { id } => {
                let state = self.lanes.get_mut(id.index() as usize).ok_or_else(ended)?;
                state.is_readable = true;
            }
            StreamEvent::Writable { id } => {
                let lane = if id.index() == 0 { Lane::Urgent } else { Lane::Bulk };
                self.pump(lane)?;
            }
            StreamEvent::Finished { .. } | StreamEvent::Stopped { .. } => return Err(ended()),
            StreamEvent::Available { .. } => {}
        }
        Ok(())
    }

    /// Takes a whole frame or none of it.
    pub(crate) fn send(&mut self, lane: Lane, frame: &[u8], bytes_max: usize) -> Result<(), SendError> {
        if !self.is_standing() {
            return Err(SendError::NotConnected);
        }
        if !self.lanes[lane.index()].queue.push(frame, bytes_max) {
            return Err(SendError::Full);
        }
        self.is_dirty = true;
        // A stream that was stopped is reported as an event too, and ends the connection there.
        let _ = self.pump(lane);
        Ok(())
    }

    /// Moves queued bytes into the stream, as far as its window goes.
    fn pump(&mut self, lane: Lane) -> Result<(), End> {
        let LaneState { out, queue, .. } = &mut self.lanes[lane.index()];
        let Some(id) = *out else { return Ok(()) };
        while !queue.chunks.is_empty() {
            let written = match self.connection.send_stream(id).write_chunks(queue.chunks.make_contiguous()) {
                Ok(written) => written,
                Err(WriteError::Blocked) => return Ok(()),
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Err(ended()),
            };
            self.is_dirty = true;
            queue.bytes -= written.bytes;
            queue.chunks.drain(..written.chunks);
        }
        Ok(())
    }

    /// The next whole frame of a lane. False: more must come first.
    pub(crate) fn next_frame(&mut self, lane: Lane, frame: &mut FrameBytes) -> Result<bool, End> {
        loop {
            if self.lanes[lane.index()].reader.next(frame).map_err(broken)? {
                return Ok(true);
            }
            if !self.pull(lane)? {
                self.lanes[lane.index()].is_readable = false;
                return Ok(false);
            }
        }
    }

    /// Moves bytes from the stream to the reader: as many as one turn may hold. False: there were none.
    fn pull(&mut self, lane: Lane) -> Result<bool, End> {
        let state = &mut self.lanes[lane.index()];
        let Some(id) = state.inward else { return Ok(false) };
        let mut stream = self.connection.recv_stream(id);
        let mut chunks = stream.read(true).map_err(|_| ended())?;
        let mut pulled = 0;
        let outcome = loop {
            if pulled >= PULL_BYTES {
                break Ok(true);
            }
            match chunks.next(PULL_BYTES) {
                Ok(Some(chunk)) => {
                    pulled += chunk.bytes.len();
                    state.reader.push(chunk.bytes);
                }
                Err(ReadError::Blocked) => break Ok(pulled > 0),
                Ok(None) | Err(ReadError::Reset(_)) => break Err(ended()),
            }
        };
        if chunks.finalize().should_transmit() {
            self.is_dirty = true;
        }
        outcome
    }
}

/// Bytes that leave a stream's window before they are frames.
const PULL_BYTES: usize = 64 * 1024;

fn ended() -> End {
    End::Broken(CloseCode::LaneEnded)
}

fn broken(fault: FrameFault) -> End {
    End::Broken(match fault {
        FrameFault::Greeting => CloseCode::Greeting,
        FrameFault::Length { .. } => CloseCode::FrameLength,
    })
}
