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
use std::time::Duration;

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
        let _ = rustix::io::write(&self.file, &1u64.to_ne_bytes());
    }

    /// Sleeps until the bell rings or `timeout` is over; whether it rang. May return early without a ring.
    ///
    /// Every holder of the descriptor could take a ring away, so the shard never sleeps without a timeout.
    pub fn wait(&self, timeout: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let _ = poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout));
        self.silence()
    }

    /// Takes back all rings so far; whether there were any.
    pub fn silence(&self) -> bool {
        rustix::io::read(&self.file, &mut [0u8; 8]).is_ok()
    }
}

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
