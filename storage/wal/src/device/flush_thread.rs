//! Durable writes by a thread of its own: pwrite, then fdatasync.
//!
//! Invariant: a buffer and the file are in one place at a time: here, or with the thread that writes. They travel by
//! value, so handing over allocates nothing.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use super::buffer::AlignedBuffer;
use super::transfer::{Failure, Step, Transfer, as_result};
use crate::disk::Operation;
use crate::limits::BUFFERS;

/// The shard's side of the flush thread.
pub(crate) struct ThreadWriter {
    buffers: Vec<Option<AlignedBuffer>>,
    file: Option<File>,
    in_flight: bool,
    requests: Option<SyncSender<Request>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    index: usize,
    buffer: AlignedBuffer,
    file: File,
    offset: u64,
    bytes: usize,
}

struct Answer {
    index: usize,
    buffer: AlignedBuffer,
    file: File,
    outcome: Result<(), Failure>,
}

impl ThreadWriter {
    /// Starts the thread.
    pub(crate) fn new(buffer_bytes: usize) -> io::Result<Self> {
        // One batch is in flight at most, so neither side ever waits for room.
        let (requests, inbox) = sync_channel::<Request>(1);
        let (outbox, answers) = sync_channel::<Answer>(1);
        let thread = std::thread::Builder::new().name("wal-flush".to_owned()).spawn(move || {
            for request in inbox {
                if outbox.send(perform(request)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            buffers: (0..BUFFERS).map(|_| Some(AlignedBuffer::new(buffer_bytes))).collect(),
            file: None,
            in_flight: false,
            requests: Some(requests),
            answers,
            thread: Some(thread),
        })
    }

    pub(crate) fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        self.buffers[buffer].as_mut().expect("the flush thread has this buffer").bytes_mut()
    }

    pub(crate) fn activate(&mut self, file: File) {
        assert!(!self.in_flight, "a segment is changed only between batches");
        self.file = Some(file);
    }

    pub(crate) fn submit(&mut self, index: usize, offset: u64, bytes: usize) -> Result<(), Failure> {
        assert!(!self.in_flight, "one durable write at a time");
        let buffer = self.buffers[index].take().expect("the flush thread has this buffer");
        let file = self.file.take().expect("a segment is active");
        let requests = self.requests.as_ref().expect("open until dropped");
        self.in_flight = true;
        requests.send(Request { index, buffer, file, offset, bytes }).map_err(|_| thread_is_gone())
    }

    pub(crate) fn poll(&mut self) -> Result<bool, Failure> {
        if !self.in_flight {
            return Ok(false);
        }
        match self.answers.try_recv() {
            Ok(answer) => {
                self.in_flight = false;
                self.buffers[answer.index] = Some(answer.buffer);
                self.file = Some(answer.file);
                answer.outcome.map(|()| true)
            }
            Err(TryRecvError::Empty) => {
                // On a small machine the flush thread may be waiting for this very core.
                rustix::thread::sched_yield();
                Ok(false)
            }
            Err(TryRecvError::Disconnected) => Err(thread_is_gone()),
        }
    }
}

impl Drop for ThreadWriter {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It ends after the write in hand; a panic in it was told by `poll` already.
            let _ = thread.join();
        }
    }
}

fn perform(request: Request) -> Answer {
    let outcome = write_and_flush(&request.file, &request.buffer.bytes()[..request.bytes], request.offset);
    Answer { index: request.index, buffer: request.buffer, file: request.file, outcome }
}

/// Writes the bytes and makes them durable, blocking.
pub(crate) fn write_and_flush(file: &File, bytes: &[u8], offset: u64) -> Result<(), Failure> {
    let mut transfer = Transfer::new(bytes.len());
    let mut step = Step::Write { from: 0 };
    loop {
        step = match step {
            Step::Write { from } => transfer.handle_write(as_result(rustix::io::pwrite(
                file,
                &bytes[from..],
                offset + from as u64,
            )))?,
            Step::Flush => transfer.handle_flush(as_result(rustix::fs::fdatasync(file).map(|()| 0)))?,
            Step::Done => return Ok(()),
        };
    }
}

fn thread_is_gone() -> Failure {
    (Operation::Flush, io::Error::other("the flush thread has ended"))
}
