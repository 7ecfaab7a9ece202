//! Waking a sleeping shard: an eventfd that is rung only when the shard says it sleeps.
//!
//! Invariant: no wake-up is lost. The shard stores `parked = 1`, fences, and looks at its rings once more before it
//! sleeps; a client pushes, fences, and looks at `parked`. Both fences are sequentially consistent, so one of them
//! comes first: if the shard's does, the client sees `parked` and rings; if the client's does, the shard's last look
//! sees the push. (Each side stores before its fence and loads behind it: at least one load sees the other's store.)

use crate::hot;
use crate::sync::{Ordering::SeqCst, fence};
#[cfg(not(loom))]
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(not(loom))]
use std::{io::IoSliceMut, time::Duration};

/// A shard's bell.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct Bell {
    file: OwnedFd,
}

#[cfg(not(loom))]
impl Bell {
    /// A new bell.
    ///
    /// # Errors
    ///
    /// The kernel's, when no descriptor is left.
    pub fn create() -> std::io::Result<Bell> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Bell { file: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// The bell behind a descriptor from the node.
    pub fn from_fd(file: OwnedFd) -> Bell {
        Bell { file }
    }

    /// The descriptor to hand to clients, or to poll together with others.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Wakes the shard, whether it sleeps or not. A bell that cannot be rung any louder is rung enough.
    pub fn ring(&self) {
        use rustix::event::PollFlags;
        // A write to a full counter could wait: whether it does is up to every holder, see `silence`.
        if is_ready(&mut [self.poll_for(PollFlags::OUT)], Duration::ZERO) {
            let _ = rustix::io::write(&self.file, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps until the bell rings or `timeout` is over; whether it rang. May return early without a ring.
    ///
    /// Every holder of the descriptor could take a ring away, so the shard never sleeps without a timeout.
    pub fn wait(&self, timeout: Duration) -> bool {
        use rustix::event::PollFlags;
        is_ready(&mut [self.poll_for(PollFlags::IN)], timeout);
        self.silence()
    }

    /// As [`Bell::wait`], for this bell or another, such as one that no client holds.
    pub fn wait_either(&self, other: &Bell, timeout: Duration) -> bool {
        use rustix::event::PollFlags;
        is_ready(&mut [self.poll_for(PollFlags::IN), other.poll_for(PollFlags::IN)], timeout);
        self.silence() | other.silence()
    }

    /// Takes back all rings so far; whether there were any.
    ///
    /// Never waits: `O_NONBLOCK` belongs to the open file, which every holder may change, so this read asks for it
    /// by itself.
    pub fn silence(&self) -> bool {
        use rustix::io::{ReadWriteFlags, preadv2};
        let mut count = [0; 8];
        preadv2(&self.file, &mut [IoSliceMut::new(&mut count)], NO_OFFSET, ReadWriteFlags::NOWAIT).is_ok()
    }

    fn poll_for(&self, event: rustix::event::PollFlags) -> rustix::event::PollFd<'_> {
        rustix::event::PollFd::new(&self.file, event)
    }
}

/// Waits until one of the descriptors is ready, at most `timeout`; whether one is.
#[cfg(not(loom))]
fn is_ready(polled: &mut [rustix::event::PollFd<'_>], timeout: Duration) -> bool {
    let timeout = rustix::event::Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    rustix::event::poll(polled, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// An eventfd has no place to read from: "where it stands", says the kernel's page of preadv2.
#[cfg(not(loom))]
const NO_OFFSET: u64 = u64::MAX;

/// After a push: wakes the shard if it sleeps. Costs a fence and a load when it does not.
#[cfg(not(loom))]
#[inline]
pub fn ring_if_parked(reader: &hot::Reader, bell: &Bell) {
    if must_ring(reader) {
        bell.ring();
    }
}

/// After a push: whether the shard sleeps and must be woken.
#[inline]
pub fn must_ring(reader: &hot::Reader) -> bool {
    // Pairs with the fence in `hot::Writer::set_parked`; see the proof above.
    fence(SeqCst);
    reader.is_parked()
}
