//! Durable writes through one io_uring: a linked write and flush, or one write with RWF_DSYNC.
//!
//! Invariant: a buffer belongs to the kernel from the submission of its write until every completion of it was seen;
//! in between nobody is given the buffer, and dropping the ring waits.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::buffer::AlignedBuffer;
use super::transfer::{Failure, Step, Transfer};
use crate::disk::Operation;
use crate::limits::BUFFERS;

/// A write and a flush at most are in flight; the queue is twice that.
const ENTRIES: u32 = 4;
const WRITE: u64 = 1;
const FLUSH: u64 = 2;
/// RWF_DSYNC of pwritev2(2): the write is durable when it completes.
const RWF_DSYNC: i32 = 2;

/// A ring on the thread that made it.
pub(crate) struct RingWriter {
    ring: IoUring,
    buffers: Vec<AlignedBuffer>,
    /// Whether the kernel has the buffers mapped; otherwise it maps them for each write.
    registered: bool,
    file: Option<File>,
    fua: bool,
    busy: Option<Busy>,
    enter_retries: u64,
    /// The ring was set up for its maker's thread alone.
    _stays_here: PhantomData<*const ()>,
}

struct Busy {
    buffer: usize,
    offset: u64,
    bytes: usize,
    transfer: Transfer,
    /// Completions that the kernel still owes.
    owed: u32,
    /// Entries were pushed but the kernel has not taken them.
    unsubmitted: bool,
    /// The kernel took the write without its flush: the two are linked no more, and the flush may run first.
    link_broken: bool,
    write_result: Option<i32>,
    flush_result: Option<i32>,
}

impl Busy {
    /// The kernel took so many entries and left the queue like this.
    fn note_taken(&mut self, taken: usize, is_queue_empty: bool) {
        self.unsubmitted = !is_queue_empty;
        // A link holds only among entries that are taken together.
        self.link_broken |= taken > 0 && !is_queue_empty;
    }

    /// What the flush proves about the write. One that was not linked behind it proves nothing: it counts as not run.
    fn flush_after_write(&self) -> i32 {
        let answer = self.flush_result.expect("all completions are here");
        if self.link_broken && answer >= 0 { -Errno::CANCELED.raw_os_error() } else { answer }
    }
}

impl RingWriter {
    /// Sets up the ring and registers its buffers and its one file slot.
    pub(crate) fn new(buffer_bytes: usize, fua: bool) -> io::Result<Self> {
        let ring = build_ring()?;
        ring.submitter().register_files_sparse(1)?;
        let buffers: Vec<AlignedBuffer> = (0..BUFFERS).map(|_| AlignedBuffer::new(buffer_bytes)).collect();
        let vectors: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer.bytes())).collect();
        // SAFETY: an `IoSlice` has the layout of the system's iovec, which is what this call takes. The buffers are
        // kept beside the ring and freed after it (`drop` waits for the kernel first).
        let registered = unsafe {
            let vectors = std::slice::from_raw_parts(vectors.as_ptr().cast(), vectors.len());
            ring.submitter().register_buffers(vectors).is_ok()
        };
        drop(vectors);
        if !registered {
            tracing::warn!(
                "log buffers could not be registered (locked memory limit?); they are mapped anew for each write"
            );
        }
        Ok(Self {
            ring,
            buffers,
            registered,
            file: None,
            fua,
            busy: None,
            enter_retries: 0,
            _stays_here: PhantomData,
        })
    }

    /// How often the kernel put an entry off (EAGAIN, EBUSY, EINTR).
    pub(crate) fn enter_retries(&self) -> u64 {
        self.enter_retries
    }

    pub(crate) fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        assert!(self.busy.as_ref().is_none_or(|busy| busy.buffer != buffer), "the kernel has this buffer");
        self.buffers[buffer].bytes_mut()
    }

    /// Puts a file into the ring's slot. Nothing may be in flight.
    pub(crate) fn activate(&mut self, file: File) -> io::Result<()> {
        assert!(self.busy.is_none(), "a segment is changed only between batches");
        self.ring.submitter().register_files_update(0, &[file.as_raw_fd()])?;
        self.file = Some(file);
        Ok(())
    }

    pub(crate) fn submit(&mut self, buffer: usize, offset: u64, bytes: usize) -> Result<(), Failure> {
        assert!(self.busy.is_none(), "one durable write at a time");
        assert!(bytes <= self.buffers[buffer].len(), "a write ends within its buffer");
        self.busy = Some(Busy {
            buffer,
            offset,
            bytes,
            transfer: Transfer::new(bytes),
            owed: 0,
            unsubmitted: false,
            link_broken: false,
            write_result: None,
            flush_result: None,
        });
        self.push_from(0)
    }

    /// Whether the write is durable. Gives the core away when it is not: the kernel flushes on a worker thread of its
    /// own, which a spinning caller would keep waiting for a whole scheduler tick.
    pub(crate) fn poll(&mut self) -> Result<bool, Failure> {
        if self.busy.is_none() {
            return Ok(false);
        }
        self.enter_if_needed()?;
        if !self.reap() {
            rustix::thread::sched_yield();
            return Ok(false);
        }
        let busy = self.busy.as_mut().expect("checked above");
        if busy.owed > 0 {
            return Ok(false);
        }
        match next_step(busy, self.fua)? {
            Step::Done => {
                self.busy = None;
                Ok(true)
            }
            Step::Write { from } => self.push_from(from).map(|()| false),
            Step::Flush => unreachable!("the flush is linked to its write"),
        }
    }

    fn push_from(&mut self, from: usize) -> Result<(), Failure> {
        let busy = self.busy.as_mut().expect("only called with a transfer under way");
        let entries = entries(busy, from, &self.buffers[busy.buffer], self.registered, self.fua);
        let count = if self.fua { 1 } else { 2 };
        (busy.write_result, busy.flush_result) = (None, None);
        // SAFETY: the entries point into `self.buffers[busy.buffer]`, within its length (`submit` checked it), which
        // stays allocated and untouched until all `owed` completions were seen: `buffer` refuses it, `drop` waits.
        unsafe { self.ring.submission().push_multiple(&entries[..count]) }
            .map_err(|_| (Operation::Write, io::Error::other("the submission queue is full")))?;
        let busy = self.busy.as_mut().expect("set above");
        busy.owed = count as u32;
        (busy.unsubmitted, busy.link_broken) = (true, false);
        self.enter_if_needed()
    }

    /// Enters the kernel when it has entries to take or completions to hand over; otherwise costs a load.
    fn enter_if_needed(&mut self) -> Result<(), Failure> {
        let unsubmitted = self.busy.as_ref().is_some_and(|busy| busy.unsubmitted);
        let queue = self.ring.submission();
        let needed = unsubmitted || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        if !needed {
            return Ok(());
        }
        match self.ring.submit() {
            Ok(taken) => {
                let is_queue_empty = self.ring.submission().is_empty();
                if let Some(busy) = &mut self.busy {
                    busy.note_taken(taken, is_queue_empty);
                }
                Ok(())
            }
            // Not now: the next poll tries again.
            Err(error) if is_transient(&error) => {
                self.enter_retries += 1;
                Ok(())
            }
            Err(error) => Err((Operation::Write, error)),
        }
    }

    /// Takes what completed; says whether anything did.
    fn reap(&mut self) -> bool {
        let Some(busy) = &mut self.busy else { return false };
        let owed = busy.owed;
        for completion in self.ring.completion() {
            match completion.user_data() {
                WRITE => busy.write_result = Some(completion.result()),
                _ => busy.flush_result = Some(completion.result()),
            }
            busy.owed -= 1;
        }
        busy.owed < owed
    }
}

impl Drop for RingWriter {
    fn drop(&mut self) {
        while self.busy.as_ref().is_some_and(|busy| busy.owed > 0) {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {
                    self.reap();
                }
                Err(error) if is_transient(&error) => {}
                Err(_) => {
                    // The kernel may still read the buffers: they are given up rather than freed.
                    std::mem::forget(std::mem::take(&mut self.buffers));
                    return;
                }
            }
        }
    }
}

fn next_step(busy: &mut Busy, fua: bool) -> Result<Step, Failure> {
    let written = busy.write_result.expect("all completions are here");
    let step = busy.transfer.handle_write(written)?;
    if step != Step::Flush {
        return Ok(step);
    }
    if fua {
        return Ok(Step::Done);
    }
    busy.transfer.handle_flush(busy.flush_after_write())
}

fn entries(
    busy: &Busy,
    from: usize,
    buffer: &AlignedBuffer,
    registered: bool,
    fua: bool,
) -> [squeue::Entry; 2] {
    let file = types::Fixed(0);
    let bytes = &buffer.bytes()[from..busy.bytes];
    let (start, length) = (bytes.as_ptr(), bytes.len() as u32);
    let offset = busy.offset + from as u64;
    let rw_flags = if fua { RWF_DSYNC } else { 0 };
    let write = if registered {
        let write = opcode::WriteFixed::new(file, start, length, busy.buffer as u16);
        write.offset(offset).rw_flags(rw_flags).build()
    } else {
        opcode::Write::new(file, start, length).offset(offset).rw_flags(rw_flags).build()
    };
    let write = write.user_data(WRITE);
    let write = if fua { write } else { write.flags(squeue::Flags::IO_LINK) };
    let flush = opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build().user_data(FLUSH);
    [write, flush]
}

fn build_ring() -> io::Result<IoUring> {
    let mut modern = IoUring::builder();
    modern.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    match modern.build(ENTRIES) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => IoUring::new(ENTRIES),
        built => built,
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SECTOR_BYTES;

    /// A ring on a new file of eight sectors, or none where io_uring is not to be had.
    fn ring_on(path: &std::path::Path, writable: bool, fua: bool) -> Option<RingWriter> {
        std::fs::write(path, vec![0; 8 * SECTOR_BYTES]).unwrap();
        let file = File::options().read(true).write(writable).open(path).unwrap();
        let mut ring = match RingWriter::new(2 * SECTOR_BYTES, fua) {
            Ok(ring) => ring,
            Err(error) => {
                println!("skipped: no io_uring here: {error}");
                return None;
            }
        };
        ring.activate(file).unwrap();
        Some(ring)
    }

    fn wait(ring: &mut RingWriter) -> Result<(), Failure> {
        while !ring.poll()? {}
        Ok(())
    }

    fn busy() -> Busy {
        Busy {
            buffer: 0,
            offset: 0,
            bytes: SECTOR_BYTES,
            transfer: Transfer::new(SECTOR_BYTES),
            owed: 0,
            unsubmitted: true,
            link_broken: false,
            write_result: Some(SECTOR_BYTES as i32),
            flush_result: Some(0),
        }
    }

    #[test]
    fn a_flush_that_was_taken_later_than_its_write_counts_for_nothing() {
        let mut torn = busy();
        torn.note_taken(1, false);
        assert!(torn.unsubmitted);
        torn.note_taken(1, true);
        assert!(!torn.unsubmitted);
        assert_eq!(next_step(&mut torn, false).unwrap(), Step::Write { from: 0 }, "written and flushed anew");
        // A flush that failed says so, linked or not.
        let mut failed = Busy { link_broken: true, flush_result: Some(-Errno::IO.raw_os_error()), ..busy() };
        assert_eq!(next_step(&mut failed, false).unwrap_err().0, Operation::Flush);
    }

    #[test]
    fn a_pair_that_is_taken_whole_is_durable_even_when_it_was_put_off_first() {
        let mut late = busy();
        late.note_taken(0, false);
        late.note_taken(2, true);
        assert_eq!(next_step(&mut late, false).unwrap(), Step::Done);
    }

    #[test]
    fn both_buffers_reach_their_places() {
        let directory = tempfile::tempdir().unwrap();
        for fua in [false, true] {
            let path = directory.path().join(fua.to_string());
            let Some(mut ring) = ring_on(&path, true, fua) else { return };
            for (buffer, value) in [(0, 3), (1, 4)] {
                ring.buffer(buffer).fill(value);
                ring.submit(buffer, (buffer * 2 * SECTOR_BYTES) as u64, 2 * SECTOR_BYTES).unwrap();
                wait(&mut ring).unwrap();
            }
            let file = std::fs::read(&path).unwrap();
            assert!(file[..2 * SECTOR_BYTES].iter().all(|byte| *byte == 3));
            assert!(file[2 * SECTOR_BYTES..4 * SECTOR_BYTES].iter().all(|byte| *byte == 4));
            assert!(file[4 * SECTOR_BYTES..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_refused_write_is_an_error_and_its_flush_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let Some(mut ring) = ring_on(&directory.path().join("file"), false, false) else { return };
        ring.submit(0, 0, SECTOR_BYTES).unwrap();
        let (operation, error) = wait(&mut ring).unwrap_err();
        assert_eq!((operation, error.raw_os_error()), (Operation::Write, Some(Errno::BADF.raw_os_error())));
    }

    #[test]
    #[should_panic(expected = "the kernel has this buffer")]
    fn a_buffer_in_flight_is_given_to_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let Some(mut ring) = ring_on(&directory.path().join("file"), true, false) else {
            panic!("the kernel has this buffer: skipped, no io_uring here");
        };
        ring.submit(0, 0, SECTOR_BYTES).unwrap();
        ring.buffer(1).fill(1);
        ring.buffer(0).fill(1);
    }

    #[test]
    fn dropping_a_ring_waits_for_the_write_in_flight() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let path = directory.path().join("file");
            let Some(mut ring) = ring_on(&path, true, false) else { return };
            ring.buffer(0).fill(9);
            ring.submit(0, 0, 2 * SECTOR_BYTES).unwrap();
            drop(ring);
            let file = std::fs::read(&path).unwrap();
            assert!(file[..2 * SECTOR_BYTES].iter().all(|byte| *byte == 9));
        }
    }
}
