//! What follows from each answer of the kernel to a durable write. Pure: the ring and the flush thread both ask it.
//!
//! Invariant: a transfer is done only after a flush that succeeded and was started after its last write had ended.

use std::io;

use rustix::io::Errno;

use crate::disk::Operation;
use crate::limits::SECTOR_BYTES;

/// A failed operation and what the system said.
pub(crate) type Failure = (Operation, io::Error);

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write the buffer from this byte on.
    Write {
        /// First byte that is not known to be written.
        from: usize,
    },
    /// Flush.
    Flush,
    /// Everything is durable.
    Done,
}

/// Answers in a row that bring nothing forward before it counts as an error: a device that says `EAGAIN` that often does
/// not mean "soon".
const STALLS_MAX: u32 = 10_000;

/// One buffer on its way to the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    bytes: usize,
    written: usize,
    stalls: u32,
}

impl Transfer {
    /// A transfer of this many bytes, of which none is written.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, written: 0, stalls: 0 }
    }

    /// The kernel answered a write: bytes written, or a negated error number.
    pub(crate) fn handle_write(&mut self, result: i32) -> Result<Step, Failure> {
        let Ok(bytes) = usize::try_from(result) else {
            return self.again(result, Operation::Write);
        };
        if bytes == 0 {
            return Err((Operation::Write, io::ErrorKind::WriteZero.into()));
        }
        self.stalls = 0;
        self.written += bytes;
        if self.written >= self.bytes {
            return Ok(Step::Flush);
        }
        // A sector that was written in part is written again: O_DIRECT takes whole ones only.
        self.written -= self.written % SECTOR_BYTES;
        Ok(Step::Write { from: self.written })
    }

    /// The kernel answered a flush: zero, or a negated error number.
    pub(crate) fn handle_flush(&mut self, result: i32) -> Result<Step, Failure> {
        if result >= 0 {
            return Ok(Step::Done);
        }
        // A flush that did not run says nothing about the write before it: do both again.
        self.written = 0;
        self.again(result, Operation::Flush)
    }

    fn again(&mut self, result: i32, operation: Operation) -> Result<Step, Failure> {
        let errno = Errno::from_raw_os_error(result.saturating_neg());
        let transient = matches!(errno, Errno::INTR | Errno::AGAIN | Errno::CANCELED);
        self.stalls += 1;
        if !transient || self.stalls > STALLS_MAX {
            return Err((operation, errno.into()));
        }
        Ok(Step::Write { from: self.written })
    }
}

/// The kernel's way of saying it, from a system call that was made.
pub(crate) fn as_result(answer: Result<usize, Errno>) -> i32 {
    match answer {
        Ok(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
        Err(errno) => -errno.raw_os_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 4 * SECTOR_BYTES;

    fn no(errno: Errno) -> i32 {
        -errno.raw_os_error()
    }

    #[test]
    fn a_whole_write_and_a_flush_are_done() {
        let mut transfer = Transfer::new(BYTES);
        assert_eq!(transfer.handle_write(BYTES as i32).unwrap(), Step::Flush);
        assert_eq!(transfer.handle_flush(0).unwrap(), Step::Done);
    }

    #[test]
    fn a_short_write_goes_on_at_the_sector_it_broke_off_in() {
        let mut transfer = Transfer::new(BYTES);
        let short = SECTOR_BYTES as i32 + 512;
        assert_eq!(transfer.handle_write(short).unwrap(), Step::Write { from: SECTOR_BYTES });
        assert_eq!(transfer.handle_write(3 * SECTOR_BYTES as i32).unwrap(), Step::Flush);
    }

    #[test]
    fn an_interrupted_write_is_written_again() {
        for errno in [Errno::INTR, Errno::AGAIN] {
            let mut transfer = Transfer::new(BYTES);
            transfer.handle_write(2 * SECTOR_BYTES as i32).unwrap();
            assert_eq!(transfer.handle_write(no(errno)).unwrap(), Step::Write { from: 2 * SECTOR_BYTES });
        }
    }

    #[test]
    fn an_interrupted_flush_is_never_repeated_without_its_write() {
        for errno in [Errno::INTR, Errno::AGAIN, Errno::CANCELED] {
            let mut transfer = Transfer::new(BYTES);
            transfer.handle_write(BYTES as i32).unwrap();
            assert_eq!(transfer.handle_flush(no(errno)).unwrap(), Step::Write { from: 0 });
        }
    }

    #[test]
    fn a_real_error_is_final() {
        let (operation, error) = Transfer::new(BYTES).handle_write(no(Errno::IO)).unwrap_err();
        assert_eq!((operation, error.raw_os_error()), (Operation::Write, Some(Errno::IO.raw_os_error())));
        let (operation, _) = Transfer::new(BYTES).handle_flush(no(Errno::IO)).unwrap_err();
        assert_eq!(operation, Operation::Flush);
        assert!(Transfer::new(BYTES).handle_write(0).is_err(), "a write of nothing is no progress");
    }

    #[test]
    fn endless_stalling_becomes_an_error() {
        let mut transfer = Transfer::new(BYTES);
        let stalls = (0..=STALLS_MAX).take_while(|_| transfer.handle_write(no(Errno::AGAIN)).is_ok()).count();
        assert_eq!(stalls, STALLS_MAX as usize);
    }
}
