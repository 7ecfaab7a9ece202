//! The helper that makes segments ahead of their use, on a thread of its own.
//!
//! Invariant: a segment gets its name only after all its bytes were allocated, zeroed and flushed. No space is not an
//! error here but a reason to try again later.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::buffer::AlignedBuffer;
use super::directory::Directory;
use crate::disk::{DiskError, Operation};
use crate::format::{SegmentHeader, SegmentNumber};
use crate::limits::{SECTOR_BYTES, SEGMENTS_AHEAD_MAX};

/// Bytes zeroed by one write: enough for bandwidth, short enough to let a batch in between.
const CHUNK_BYTES: usize = 256 << 10;

/// The shard's side of the helper.
pub(crate) struct Preparer {
    requests: Option<SyncSender<SegmentHeader>>,
    answers: Receiver<Result<SegmentNumber, DiskError>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    /// Starts the thread.
    pub(crate) fn start(directory: Directory, retry: Duration) -> io::Result<Self> {
        // Room for all that may be asked for: asking neither waits nor allocates.
        let (requests, inbox) = sync_channel(SEGMENTS_AHEAD_MAX + 1);
        let (outbox, answers) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let helper = Helper { directory, stop: Arc::clone(&stop), outbox, retry };
        let thread =
            std::thread::Builder::new().name("wal-prepare".to_owned()).spawn(move || helper.run(&inbox))?;
        Ok(Self { requests: Some(requests), answers, stop, thread: Some(thread) })
    }

    pub(crate) fn prepare(&self, header: SegmentHeader) {
        // A helper that has ended is told by `poll`.
        let _ = self.requests.as_ref().expect("open until dropped").send(header);
    }

    pub(crate) fn poll(&self) -> Option<Result<SegmentNumber, DiskError>> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(DiskError::new(
                Operation::Prepare,
                None,
                io::Error::other("the helper thread has ended"),
            ))),
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.requests = None;
        // Release pairs with the Acquire in `is_stopping`; nothing else is handed over.
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there costs no durability, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

struct Helper {
    directory: Directory,
    stop: Arc<AtomicBool>,
    outbox: Sender<Result<SegmentNumber, DiskError>>,
    retry: Duration,
}

impl Helper {
    fn run(&self, inbox: &Receiver<SegmentHeader>) {
        for header in inbox {
            while let Err(source) = self.attempt(&header) {
                if self.is_stopping() {
                    return;
                }
                let error = DiskError::new(Operation::Prepare, header.number, source);
                if self.outbox.send(Err(error)).is_err() {
                    return;
                }
                std::thread::park_timeout(self.retry);
            }
            if self.outbox.send(Ok(header.number)).is_err() {
                return;
            }
        }
    }

    fn attempt(&self, header: &SegmentHeader) -> io::Result<()> {
        let number = header.number;
        let file = self.directory.create_unfinished(number)?;
        let made = self.fill(&file, header).and_then(|()| self.directory.finish(number));
        if made.is_err() {
            // Gives its space back; a leftover is also removed at the next start.
            let _ = self.directory.abandon(number);
        }
        made
    }

    fn fill(&self, file: &File, header: &SegmentHeader) -> io::Result<()> {
        allocate(file, header.bytes)?;
        let mut chunk = AlignedBuffer::new(CHUNK_BYTES);
        chunk.bytes_mut()[..SECTOR_BYTES].copy_from_slice(&header.encode()[..]);
        let mut offset = 0;
        while offset < header.bytes {
            if self.is_stopping() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let bytes = (header.bytes - offset).min(CHUNK_BYTES as u64) as usize;
            write_all(file, &chunk.bytes()[..bytes], offset)?;
            chunk.bytes_mut()[..SECTOR_BYTES].fill(0);
            offset += bytes as u64;
        }
        file.sync_all()
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Allocates all extents at once, so that they lie together and a lack of space shows before any byte is written.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::INTR) => {}
            // Without allocation the writes below find out.
            Err(Errno::OPNOTSUPP) => return Ok(()),
            answer => return Ok(answer?),
        }
    }
}

/// Writes whole sectors, blocking, without flushing.
pub(crate) fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // A sector written in part is written again: O_DIRECT takes whole ones only.
            Ok(written) if done + written < bytes.len() => {
                let reached = done + written;
                done = reached - reached % SECTOR_BYTES;
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
